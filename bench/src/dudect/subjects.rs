//! What is examined: each kernel of each tier on the secrets that it sees in the engine, the
//! comparison of MACs, building, and a function that is known to leak.

use std::hint::black_box;

use phix_engine::crypto::x25519::Multiples;
use phix_engine::crypto::{HopKeys, Kernels, PAYLOAD_KEY, PORTABLE};
use phix_engine::secret::{InitialSecret, NodeSecret};
use phix_engine::sphinx::build::{Builder, Hop, PADDING_MAX, Request};
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::geometry::{BETA_LEN, PacketSize, STREAM_LEN};
use subtle::ConstantTimeEq;

use super::Subject;
use crate::peel::VERSION;
use crate::{HOPS, contenders};

/// Lanes of a call: enough for two groups of the widest vectors, which some kernels interleave, and
/// little enough for many calls.
const LANES: usize = 32;

/// The u-coordinate of X25519's base point.
const BASE_POINT: [u8; 32] = {
    let mut point = [0; 32];
    point[0] = 9;
    point
};

/// MACs compared in a call, which would be too short otherwise.
const COMPARISONS: usize = 64;

/// The name of the subject that leaks, to show that leaks are found.
const CONTROL: &str = "control/early_exit";

/// All subjects, the controls first.
pub fn subjects() -> Vec<Subject<'static>> {
    let mut subjects = vec![leaky_control(), blind_control(), comparison()];
    for (tier, kernels) in contenders() {
        // With AWS-LC a tier differs in X25519 only, and in batches of one if it has vectors.
        match (kernels.lone_x25519, kernels.x25519_lanes) {
            (Some(_), 1) => subjects.push(x25519(&tier, kernels, LANES)),
            (Some(_), _) => subjects.push(x25519(&tier, kernels, 1)),
            (None, _) => subjects.extend(of_tier(&tier, kernels)),
        }
    }
    subjects
}

/// Whether a subject is the one that must be found to leak.
pub fn is_control(name: &str) -> bool {
    name == CONTROL
}

fn of_tier(tier: &str, kernels: Kernels) -> [Subject<'static>; 8] {
    [
        x25519(tier, kernels, LANES),
        multiply_again(tier, kernels),
        expand(tier, kernels),
        header_macs(tier, kernels),
        header_stream(tier, kernels),
        payload_keys(tier, kernels),
        lioness(tier, kernels),
        build(tier, kernels),
    ]
}

fn subject(
    tier: &str,
    step: &str,
    fixed: Vec<u8>,
    call: impl FnMut(&[u8]) + 'static,
) -> Subject<'static> {
    Subject { name: format!("{tier}/{step}"), fixed, call: Box::new(call) }
}

/// The rows that a secret consists of.
fn rows<const N: usize>(secret: &[u8]) -> &[[u8; N]] {
    let (rows, rest) = secret.as_chunks();
    assert!(rest.is_empty(), "a secret is whole rows");
    rows
}

fn x25519(tier: &str, kernels: Kernels, lanes: usize) -> Subject<'static> {
    let points = vec![[9; 32]; lanes];
    let mut products = points.clone();
    subject(tier, "x25519", vec![0; 32 * lanes], move |secret| {
        kernels.multiply(black_box(rows(secret)), &points, &mut products);
    })
}

/// The points are public, and so are their multiples.
fn multiply_again(tier: &str, kernels: Kernels) -> Subject<'static> {
    let mut products = [[0; 32]; LANES];
    let mut points = Multiples::new();
    kernels.multiply(&[[7; 32]; LANES], &[BASE_POINT; LANES], &mut products);
    kernels.prepare(products.iter().copied(), &mut points);
    let wanted: [usize; LANES] = std::array::from_fn(|lane| lane);
    subject(tier, "multiply_again", vec![0; 32 * LANES], move |secret| {
        kernels.multiply_again(black_box(rows(secret)), &wanted, &points, &mut products);
    })
}

fn expand(tier: &str, kernels: Kernels) -> Subject<'static> {
    let mut keys = [const { HopKeys::empty() }; LANES];
    subject(tier, "expand", vec![0; 32 * LANES], move |secret| {
        (kernels.expand)(black_box(rows(secret)), &mut keys);
    })
}

fn header_macs(tier: &str, kernels: Kernels) -> Subject<'static> {
    let mut macs = [[0; 16]; LANES];
    subject(tier, "header_macs", vec![0; 16 * LANES], move |secret| {
        let beta = [0x5a; BETA_LEN];
        (kernels.header_macs)(black_box(rows(secret)), &[&beta; LANES], &mut macs);
    })
}

fn header_stream(tier: &str, kernels: Kernels) -> Subject<'static> {
    let mut blocks = [[0; STREAM_LEN]; LANES];
    subject(tier, "header_stream", vec![0; 16 * LANES], move |secret| {
        (kernels.header_stream)(black_box(rows(secret)), &mut blocks);
    })
}

fn payload_keys(tier: &str, kernels: Kernels) -> Subject<'static> {
    let mut keys = [[0; PAYLOAD_KEY]; LANES];
    subject(tier, "payload_keys", vec![0; 16 * LANES], move |secret| {
        (kernels.payload_keys)(black_box(rows(secret)), &mut keys);
    })
}

/// Keys and the payloads themselves: both are secret.
fn lioness(tier: &str, kernels: Kernels) -> Subject<'static> {
    let payload = PacketSize::Regular.payload_len();
    let mut payloads = vec![0; payload * LANES];
    let fixed = vec![0; (PAYLOAD_KEY + payload) * LANES];
    subject(tier, "lioness_decrypt", fixed, move |secret| {
        let (keys, data) = secret.split_at(PAYLOAD_KEY * LANES);
        payloads.copy_from_slice(data);
        let mut slices: Vec<&mut [u8]> = payloads.chunks_mut(payload).collect();
        (kernels.lioness_decrypt)(black_box(rows(keys)), &mut slices);
    })
}

/// A packet of four hops from an initial secret: also the arithmetic on scalars.
fn build(tier: &str, kernels: Kernels) -> Subject<'static> {
    let public_key = NodeSecret::from_bytes([9; 32]).public();
    let address = address::encode(([127, 0, 0, 1], 1789).into());
    let route = [Hop { address, public_key, delay: Span::from_millis(50) }; HOPS];
    let mut packet = vec![0; PacketSize::Ack.packet_len()];
    let mut builder = Builder::new(kernels);
    subject(tier, "build", vec![0; 32], move |secret| {
        let secret = InitialSecret::from_bytes(*secret.first_chunk().expect("32 bytes"));
        let request = Request {
            route: &route,
            destination: [7; 32],
            identifier: [0; 16],
            version: VERSION,
            secret: &secret,
            padding: &[0x5a; PADDING_MAX],
            message: &[],
        };
        builder.build(black_box(&[request]), &mut [&mut packet]).expect("four hops");
    })
}

/// The comparison that decides over a MAC. The fixed class is equal to what it is compared with.
fn comparison() -> Subject<'static> {
    let own = vec![0x5a; 16 * COMPARISONS];
    subject("subtle", "mac_comparison", own.clone(), move |secret| {
        for (mac, own) in rows::<16>(secret).iter().zip(rows::<16>(&own)) {
            black_box(bool::from(black_box(mac)[..].ct_eq(&black_box(own)[..])));
        }
    })
}

/// The same with a comparison that stops at the first difference.
fn leaky_control() -> Subject<'static> {
    let own = vec![0x5a; 16 * COMPARISONS];
    Subject {
        name: CONTROL.into(),
        fixed: own.clone(),
        call: Box::new(move |secret| {
            for (mac, own) in rows::<16>(secret).iter().zip(rows::<16>(&own)) {
                let differs = black_box(mac).iter().zip(black_box(own)).any(|(a, b)| a != b);
                black_box(differs);
            }
        }),
    }
}

/// Real work that takes no notice of the secret: what is found here comes from the instrument.
fn blind_control() -> Subject<'static> {
    let seeds = [[0x5a; 16]; LANES];
    let mut keys = [[0; PAYLOAD_KEY]; LANES];
    subject("control", "blind", vec![0; 16 * LANES], move |secret| {
        black_box(secret);
        (PORTABLE.payload_keys)(black_box(&seeds), &mut keys);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_runs_on_both_classes_and_one_is_the_control() {
        let mut subjects = subjects();
        for subject in &mut subjects {
            let random = vec![0xa7; subject.fixed.len()];
            (subject.call)(&subject.fixed);
            (subject.call)(&random);
        }
        assert_eq!(subjects.iter().filter(|subject| is_control(&subject.name)).count(), 1);
        assert!(subjects.iter().any(|subject| subject.name == "portable+aws-lc/x25519"));
    }
}
