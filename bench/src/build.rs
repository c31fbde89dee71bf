//! `phix-bench build`: building packets, every tier and batch size against sphinx-packet.

use std::hint::black_box;

use phix_engine::crypto::Kernels;
use phix_engine::secret::{InitialSecret, NodeSecret};
use phix_engine::sphinx::build::{Builder, Hop, PADDING_MAX, Request};
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::geometry::PacketSize;
use rand::Rng;

use crate::peel::{BATCHES, VERSION};
use crate::timing::Job;
use crate::{HOPS, contenders, packets};

/// Packets of one [`Builder`] call.
const CALL_MAX: usize = 64;

/// What a batch is made of.
struct Materials {
    route: [Hop; HOPS],
    secrets: Vec<InitialSecret>,
    paddings: Vec<[u8; PADDING_MAX]>,
    message: Vec<u8>,
    out: Vec<Vec<u8>>,
}

impl Materials {
    fn new(batch: usize) -> Self {
        let key = NodeSecret::from_bytes([9; 32]).public();
        let address = address::encode(([127, 0, 0, 1], 1789).into());
        let hop = Hop { address, public_key: key, delay: Span::from_millis(50) };
        let mut rng = rand::rng();
        let mut bytes = || {
            let mut bytes = [0; 32];
            rng.fill_bytes(&mut bytes);
            bytes
        };
        let secrets = (0..batch).map(|_| InitialSecret::from_bytes(bytes())).collect();
        let size = PacketSize::Regular;
        Self {
            route: [hop; HOPS],
            secrets,
            paddings: vec![[0x5a; PADDING_MAX]; batch],
            message: vec![3; size.message_len()],
            out: vec![vec![0; size.packet_len()]; batch],
        }
    }

    /// Builds every packet, a call's worth at a time.
    fn build(&mut self, builder: &mut Builder) {
        let Self { route, secrets, paddings, message, out } = self;
        let chunks = secrets.chunks(CALL_MAX).zip(paddings.chunks(CALL_MAX));
        for ((secrets, paddings), out) in chunks.zip(out.chunks_mut(CALL_MAX)) {
            let requests: Vec<Request<'_>> = secrets
                .iter()
                .zip(paddings)
                .map(|(secret, padding)| Request {
                    route: &route[..],
                    destination: [7; 32],
                    identifier: [0; 16],
                    version: VERSION,
                    secret,
                    padding,
                    message,
                })
                .collect();
            let mut slices: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
            builder.build(black_box(&requests), &mut slices).expect("four hops, and it fits");
        }
    }
}

fn packets_of(kernels: Kernels, batch: usize) -> impl FnMut() {
    let mut materials = Materials::new(batch);
    let mut builder = Builder::new(kernels);
    move || materials.build(&mut builder)
}

/// The table's rows: sphinx-packet, then each tier at each batch size.
pub fn jobs() -> Vec<Job<'static>> {
    let key = NodeSecret::from_bytes([9; 32]);
    let one = move || {
        black_box(packets(&key, PacketSize::Regular, VERSION, 1));
    };
    let mut jobs = vec![Job { name: "sphinx-packet/1".into(), per_call: 1, call: Box::new(one) }];
    for (tier, kernels) in contenders() {
        for batch in BATCHES {
            let name = format!("{tier}/{batch}");
            let call = Box::new(packets_of(kernels, batch));
            jobs.push(Job { name, per_call: batch, call });
        }
    }
    jobs
}
