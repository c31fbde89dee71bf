//! Removing a layer: the engine's open and strip against sphinx-packet, in one run.
//!
//! `peel/TIER/BATCH` is the whole layer: parse, both X25519, key derivation, MAC, header, payload,
//! in place, secrets wiped. `peel/sphinx-packet/1` is from_bytes, process and to_bytes.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

use phix_bench::packets;
use phix_engine::crypto::PORTABLE;
use phix_engine::secret::NodeSecret;
use phix_engine::sphinx::{KeyChoice, Peeler};
use phix_engine::wire::geometry::PacketSize;
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use x25519_dalek::StaticSecret;

/// The version that stock clients of today's crates put on the wire.
const VERSION: u16 = 259;

fn secret() -> NodeSecret {
    NodeSecret::from_bytes([5; 32])
}

fn oracle(c: &mut Criterion) {
    let packet = packets(&secret(), PacketSize::Regular, VERSION, 1).remove(0);
    let key = StaticSecret::from(*secret().as_bytes());
    let mut group = c.benchmark_group("peel");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sphinx-packet/1", |b| {
        b.iter(|| {
            let packet = SphinxPacket::from_bytes(black_box(&packet)).unwrap();
            let ProcessedPacketData::ForwardHop { next_hop_packet, .. } =
                packet.process(&key).unwrap().data
            else {
                unreachable!("the first of four hops")
            };
            next_hop_packet.to_bytes()
        });
    });
    group.finish();
}

fn portable(c: &mut Criterion) {
    let key = secret();
    let mut group = c.benchmark_group("peel");
    for batch in [1, 8, 16, 64] {
        let fresh = packets(&key, PacketSize::Regular, VERSION, batch);
        let keys: Vec<KeyChoice<'_>> =
            (0..batch).map(|_| KeyChoice { first: &key, second: None }).collect();
        let mut peeler = Peeler::new(PORTABLE);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("portable/{batch}"), |b| {
            b.iter_batched_ref(
                || fresh.clone(),
                |packets| {
                    let mut slices: Vec<&mut [u8]> =
                        packets.iter_mut().map(Vec::as_mut_slice).collect();
                    let opened = peeler.open(&mut slices, &keys);
                    assert!(opened.iter().all(Result::is_ok));
                    peeler.strip(&mut slices, &vec![true; batch]);
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = oracle, portable
}
criterion_main!(benches);
