//! Probe packets: real Sphinx packets that pass the node under test and come back here.

use std::net::SocketAddr;

use phix_engine::crypto::Kernels;
use phix_engine::limits::BATCH_MAX;
use phix_engine::secret::{InitialSecret, NodeSecret};
use phix_engine::sphinx::build::{Builder, Hop, PADDING_MAX, Request};
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::frame::{FrameHeader, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_proto::directory::NodeId;
use rand::Rng;
use rand::rngs::StdRng;

use crate::directory::desk::Target;

const SIZE: PacketSize = PacketSize::Regular;
/// The Sphinx version that stock clients send.
const VERSION: u16 = 259;

/// How a returned packet is recognised: the front of its alpha.
pub(super) type Token = [u8; 16];

/// A hash of all bytes of a packet.
pub(super) type Digest = [u8; 32];

/// One packet, and what it must be when it comes back.
#[derive(Debug)]
pub(super) struct Probe {
    pub node: NodeId,
    /// Frame header and packet.
    pub frame: Vec<u8>,
    pub token: Token,
    pub digest: Digest,
}

/// Builds probes that come back to one place.
pub(super) struct Maker {
    builder: Builder,
    home: Hop,
    rng: StdRng,
}

impl Maker {
    /// Probes come back to `home`. They are encrypted to a key of their own, which nobody needs
    /// once they are built: what they must look like when they are back is known beforehand.
    pub(super) fn new(kernels: Kernels, home: SocketAddr, mut rng: StdRng) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let public_key = NodeSecret::from_bytes(secret).public();
        let home = Hop { address: address::encode(home), public_key, delay: Span::ZERO };
        Self { builder: Builder::new(kernels), home, rng }
    }

    /// `each` probes for every target, with keys of `rotation`. Targets that nothing can be sent
    /// to have none.
    pub(super) fn make(&mut self, targets: &[Target], each: usize, rotation: u32) -> Vec<Probe> {
        let routable = targets.iter().filter(|target| address::routable(&target.address));
        let all: Vec<&Target> =
            routable.flat_map(|target| std::iter::repeat_n(target, each)).collect();
        let header = FrameHeader::current(SIZE, KeyRotation::from_id(rotation));
        all.chunks(BATCH_MAX).flat_map(|targets| self.batch(targets, header)).collect()
    }

    fn batch(&mut self, targets: &[&Target], header: FrameHeader) -> Vec<Probe> {
        let mut secrets = Vec::with_capacity(targets.len());
        let mut paddings = vec![[0; PADDING_MAX]; targets.len()];
        for padding in &mut paddings {
            let mut secret = [0; 32];
            self.rng.fill_bytes(&mut secret);
            secrets.push(InitialSecret::from_bytes(secret));
            self.rng.fill_bytes(padding);
        }
        let routes: Vec<[Hop; 2]> = targets
            .iter()
            .map(|target| {
                let address = address::encode(target.address);
                [Hop { address, public_key: target.key.0, delay: Span::ZERO }, self.home]
            })
            .collect();
        let requests: Vec<Request<'_>> = routes
            .iter()
            .zip(&secrets)
            .zip(&paddings)
            .map(|((route, secret), padding)| Request {
                route,
                destination: [0; 32],
                identifier: [0; 16],
                version: VERSION,
                secret,
                padding,
                message: &[],
            })
            .collect();
        let front = header.encoded_len();
        let mut frames = vec![vec![0; header.frame_len()]; targets.len()];
        let mut arrivals = vec![vec![0; SIZE.packet_len()]; targets.len()];
        let mut packets: Vec<&mut [u8]> =
            frames.iter_mut().map(|frame| &mut frame[front..]).collect();
        let mut back: Vec<&mut [u8]> = arrivals.iter_mut().map(Vec::as_mut_slice).collect();
        self.builder
            .build_with_arrivals(&requests, &mut packets, &mut back)
            .expect("an empty message over two hops fits into a packet");
        let frames = frames.into_iter().map(|mut frame| {
            header.write(&mut frame);
            frame
        });
        let rows = targets.iter().zip(frames).zip(&arrivals);
        rows.map(|((target, frame), arrival)| Probe {
            node: target.node,
            frame,
            token: token(arrival),
            digest: digest(arrival),
        })
        .collect()
    }
}

/// The token of a packet.
pub(super) fn token(packet: &[u8]) -> Token {
    *packet.first_chunk().expect("a packet is longer than its token")
}

/// The hash of a packet.
pub(super) fn digest(packet: &[u8]) -> Digest {
    *blake3::hash(packet).as_bytes()
}
