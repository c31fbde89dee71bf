//! Removing a layer: the engine's open and strip against sphinx-packet, in one run.
//!
//! `peel/TIER/BATCH` is the whole layer: parse, both X25519, key derivation, MAC, header, payload,
//! in place, secrets wiped. `peel/sphinx-packet/1` is from_bytes, process and to_bytes.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use phix_bench::packets;
use phix_bench::peel::{VERSION, secret, yardstick};
use phix_engine::crypto::tiers;
use phix_engine::sphinx::{KeyChoice, Peeler};
use phix_engine::wire::geometry::PacketSize;

fn oracle(c: &mut Criterion) {
    let packet = packets(&secret(), PacketSize::Regular, VERSION, 1).remove(0);
    let mut group = c.benchmark_group("peel");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sphinx-packet/1", |b| b.iter(|| yardstick(black_box(&packet))));
    group.finish();
}

fn engine(c: &mut Criterion) {
    let key = secret();
    let mut group = c.benchmark_group("peel");
    let cases = tiers().into_iter().flat_map(|tier| [1, 8, 16, 64].map(|batch| (tier, batch)));
    for (kernels, batch) in cases {
        let fresh = packets(&key, PacketSize::Regular, VERSION, batch);
        let keys: Vec<KeyChoice<'_>> =
            (0..batch).map(|_| KeyChoice { first: &key, second: None }).collect();
        let mut peeler = Peeler::new(kernels);
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("{}/{batch}", kernels.name), |b| {
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
    targets = oracle, engine
}
criterion_main!(benches);
