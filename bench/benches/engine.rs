//! The stages around the cryptography: frame parsing, the replay filter, the wheel.

use std::hint::black_box;
use std::time::Duration;

use chacha20::ChaCha8Rng;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};

use phix_engine::counters::Counters;
use phix_engine::histogram::Spans;
use phix_engine::intake::{Assembler, Inbox, Intake};
use phix_engine::limits::BATCH_MAX;
use phix_engine::pool::Pool;
use phix_engine::replay::{ReplayFilter, Verdict};
use phix_engine::units::{Span, Time};
use phix_engine::wheel::Wheel;
use phix_engine::wire::frame::{FRAME_HEADER_MAX, FrameHeader, FrameParser, KeyRotation};
use phix_engine::wire::geometry::PacketSize;

fn frames(count: usize) -> Vec<u8> {
    let size = PacketSize::Regular;
    let mut head = [0; FRAME_HEADER_MAX];
    let front = FrameHeader::current(size, KeyRotation::Odd).write(&mut head);
    [&head[..front], &vec![1; size.packet_len()]].concat().repeat(count)
}

/// A read of 64 KiB holds 27 regular frames.
const PER_READ: usize = 27;

fn frame_parsing(c: &mut Criterion) {
    let bytes = frames(PER_READ);
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Elements(PER_READ as u64));
    group.bench_function("parse/27", |b| {
        let mut parser = FrameParser::new();
        b.iter(|| {
            let mut input = black_box(bytes.as_slice());
            let mut pieces = 0;
            while parser.next(&mut input).expect("frames").is_some() {
                pieces += 1;
            }
            pieces
        });
    });
    group.bench_function("assemble/27", |b| {
        let mut assembler = Assembler::default();
        b.iter_batched_ref(
            || (Pool::new([0, PER_READ, 0, 0, 0]), Inbox::default(), Counters::default()),
            |(pool, inbox, counters)| {
                assembler.push(black_box(&bytes), &mut Intake { pool, inbox, counters })
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Packets that the filter is made for: 64 MiB, far beyond the caches.
const REMEMBERED: usize = 1 << 24;

/// New tags, one look-up at a time and a batch at a time. The time is kept so short that the
/// filter stays below its design load: a full one behaves differently.
fn replay(c: &mut Criterion) {
    let mut drawn = 0_u64;
    let mut tag = || {
        drawn += 1;
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&drawn.to_le_bytes());
        tag
    };
    let mut group = c.benchmark_group("replay");
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for batch in [1, 16, 64] {
        let filter = ReplayFilter::new(REMEMBERED, [3; 32]);
        let (mut tags, mut verdicts) = (vec![[0; 32]; batch], vec![Verdict::New; batch]);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("new/{batch}"), |b| {
            b.iter(|| {
                tags.iter_mut().for_each(|place| *place = tag());
                filter.check_and_set_all(black_box(&tags), &mut verdicts);
                verdicts[0]
            });
        });
        assert!(filter.len() < REMEMBERED, "the filter was filled beyond its design load");
    }
    let filter = ReplayFilter::new(REMEMBERED, [3; 32]);
    let (mut tags, mut verdicts) = (vec![[0; 32]; BATCH_MAX], vec![Verdict::New; BATCH_MAX]);
    let mut marks = Vec::with_capacity(BATCH_MAX);
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    group.bench_function(format!("marked/{BATCH_MAX}"), |b| {
        b.iter(|| {
            tags.iter_mut().for_each(|place| *place = tag());
            marks.clear();
            filter.check_and_mark_all(black_box(&tags), &mut verdicts, |mark| marks.push(mark));
            marks.len()
        });
    });
    group.finish();
}

/// Packets in the wheel while it is measured.
const DELAYED: usize = 10_000;

fn wheel(c: &mut Criterion) {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut pool = Pool::new([DELAYED, 0, 0, 0, 0]);
    let mut wheel = Wheel::new(DELAYED, Time::ZERO);
    let mut draw = ChaCha8Rng::seed_from_u64(3);
    let mut delay = || Span::from_nanos(draw.random_range(0..100_000_000));
    while let Some(slot) = pool.take(PacketSize::Ack) {
        wheel.insert(slot, Time::ZERO.after(delay()));
    }
    let mut now = Time::ZERO;
    let mut moved = Vec::with_capacity(DELAYED);
    let mut group = c.benchmark_group("wheel");
    group.bench_function("millisecond/10000", |b| {
        b.iter(|| {
            now = now.after(Span::from_millis(1));
            wheel.turn(now, DELAYED, &mut random, &mut |slot, _| moved.push(slot));
            let count = moved.len();
            for slot in moved.drain(..) {
                wheel.insert(slot, now.after(delay()));
            }
            count
        });
    });
    group.finish();
}

/// Lengths of time that are measured, as many as packets leave in one turn at most.
const MEASURED: usize = 1024;

/// What a shard measures of each packet, without the reading of the clock, which is the turn's.
fn histograms(c: &mut Criterion) {
    let mut draw = ChaCha8Rng::seed_from_u64(4);
    let spans: Vec<Span> =
        (0..MEASURED).map(|_| Span::from_nanos(draw.random_range(0..10_000_000))).collect();
    let mut histogram = Spans::default();
    let mut group = c.benchmark_group("histogram");
    group.throughput(Throughput::Elements(MEASURED as u64));
    group.bench_function("note/1024", |b| {
        b.iter(|| {
            black_box(&spans).iter().for_each(|&span| histogram.note(span));
        });
    });
    group.finish();
}

criterion_group!(benches, frame_parsing, replay, wheel, histograms);
criterion_main!(benches);
