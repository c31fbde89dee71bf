//! `phix-bench peel`: removing a layer, every tier and batch size against sphinx-packet.

use std::hint::black_box;

use phix_engine::crypto::x25519::Multiples;
use phix_engine::crypto::{HopKeys, Kernels, PAYLOAD_KEY};
use phix_engine::secret::NodeSecret;
use phix_engine::sphinx::{KeyChoice, Peeler};
use phix_engine::wire::geometry::{BETA, BETA_LEN, HEADER, PacketSize, STREAM_LEN};
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use x25519_dalek::StaticSecret;

use crate::timing::Job;
use crate::{contenders, packets};

/// The version that stock clients of today's crates put on the wire.
pub const VERSION: u16 = 259;

/// Batch sizes of the table. A batch holds 64 packets at most; 256 are four in a row.
pub const BATCHES: [usize; 6] = [1, 8, 16, 32, 64, 256];

/// Packets of one [`Peeler`] call.
const CALL_MAX: usize = 64;

/// The key that all packets here are for.
pub fn secret() -> NodeSecret {
    NodeSecret::from_bytes([5; 32])
}

/// The yardstick: from_bytes, process and to_bytes of sphinx-packet, one packet.
///
/// # Panics
/// If the packet is not a forward hop for [`secret`].
pub fn yardstick(packet: &[u8]) -> Vec<u8> {
    let key = StaticSecret::from(*secret().as_bytes());
    let packet = SphinxPacket::from_bytes(black_box(packet)).expect("a packet");
    match packet.process(&key).expect("a packet for this key").data {
        ProcessedPacketData::ForwardHop { next_hop_packet, .. } => next_hop_packet.to_bytes(),
        ProcessedPacketData::FinalHop { .. } => panic!("the packet has more hops"),
    }
}

/// Whole layers of `fresh`, batch by batch, in place, copies of the packets included.
fn layers(kernels: Kernels, fresh: Vec<Vec<u8>>) -> impl FnMut() {
    let key = secret();
    let mut peeler = Peeler::new(kernels);
    let mut work = fresh.clone();
    move || {
        for (work, fresh) in work.chunks_mut(CALL_MAX).zip(fresh.chunks(CALL_MAX)) {
            work.iter_mut().zip(fresh).for_each(|(work, fresh)| work.copy_from_slice(fresh));
            let mut slices: Vec<&mut [u8]> = work.iter_mut().map(Vec::as_mut_slice).collect();
            let choice = KeyChoice { first: &key, second: None };
            let keys = vec![choice; slices.len()];
            let opened = peeler.open(&mut slices, black_box(&keys));
            assert!(opened.iter().all(Result::is_ok), "every packet opens");
            peeler.strip(&mut slices, &vec![true; keys.len()]);
        }
    }
}

/// The table's rows: sphinx-packet, then each tier at each batch size.
pub fn jobs(packets: &[Vec<u8>]) -> Vec<Job<'_>> {
    let one = Box::new(|| drop(black_box(yardstick(&packets[0]))));
    let mut jobs = vec![Job { name: "sphinx-packet/1".into(), per_call: 1, call: one }];
    for (tier, kernels) in contenders() {
        for batch in BATCHES {
            let name = format!("{tier}/{batch}");
            let call = Box::new(layers(kernels, packets[..batch].to_vec()));
            jobs.push(Job { name, per_call: batch, call });
        }
    }
    jobs
}

/// The packets that [`jobs`] needs.
pub fn make_packets() -> Vec<Vec<u8>> {
    packets(&secret(), PacketSize::Regular, VERSION, BATCHES[BATCHES.len() - 1])
}

/// The steps of a layer for each tier, at a batch of 64; X25519 is done twice with each
/// alpha, as a layer does. A tier with vectors has no lane that stands alone in such a batch, and
/// is there once.
pub fn steps(packets: &[Vec<u8>]) -> Vec<Job<'_>> {
    contenders()
        .into_iter()
        .filter(|(_, kernels)| kernels.x25519_lanes == 1 || kernels.lone_x25519.is_none())
        .flat_map(|(tier, kernels)| steps_of(&tier, kernels, &packets[..CALL_MAX]))
        .collect()
}

fn steps_of<'p>(tier: &str, kernels: Kernels, packets: &'p [Vec<u8>]) -> Vec<Job<'p>> {
    const N: usize = CALL_MAX;
    let alphas: Vec<[u8; 32]> =
        packets.iter().map(|packet| *packet.first_chunk().expect("a packet")).collect();
    let seeds: Vec<[u8; 16]> = alphas.iter().map(|a| *a.first_chunk().expect("32")).collect();
    let betas: Vec<&[u8; BETA_LEN]> =
        packets.iter().map(|p| p[BETA].first_chunk().expect("beta")).collect();
    let mut payloads: Vec<Vec<u8>> = packets.iter().map(|p| p[HEADER..].to_vec()).collect();
    let (scalars, points) = (alphas.clone(), alphas.clone());
    let lanes: Vec<usize> = (0..N).collect();
    let mut multiples = Multiples::new();
    let macs = seeds.clone();
    let mut products = vec![[0; 32]; N];
    let mut keys: Vec<HopKeys> = (0..N).map(|_| HopKeys::empty()).collect();
    let mut long = vec![[0; PAYLOAD_KEY]; N];
    let mut tags = vec![[0; 16]; N];
    let mut blocks = vec![[0; STREAM_LEN]; N];
    let lioness_keys = vec![[7; PAYLOAD_KEY]; N];
    let row = |step: &str, call: Box<dyn FnMut() + 'p>| Job {
        name: format!("{tier}/{step}"),
        per_call: N,
        call,
    };
    let stream_keys = seeds.clone();
    let x25519 = move || {
        kernels.prepare(black_box(&points).iter().copied(), &mut multiples);
        for _ in 0..2 {
            kernels.multiply_again(&scalars, &lanes, &multiples, &mut products);
        }
    };
    let expand = move || (kernels.expand)(black_box(&alphas), &mut keys);
    let header_macs = move || (kernels.header_macs)(black_box(&macs), &betas, &mut tags);
    let header_stream = move || (kernels.header_stream)(black_box(&stream_keys), &mut blocks);
    let payload_keys = move || (kernels.payload_keys)(black_box(&seeds), &mut long);
    let lioness = move || {
        let mut slices: Vec<&mut [u8]> = payloads.iter_mut().map(Vec::as_mut_slice).collect();
        (kernels.lioness_decrypt)(black_box(&lioness_keys), &mut slices);
    };
    vec![
        row("x25519, twice", Box::new(x25519)),
        row("expand", Box::new(expand)),
        row("header_macs", Box::new(header_macs)),
        row("header_stream", Box::new(header_stream)),
        row("payload_keys", Box::new(payload_keys)),
        row("lioness_decrypt", Box::new(lioness)),
    ]
}
