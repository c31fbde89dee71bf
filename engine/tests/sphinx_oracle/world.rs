//! Nodes, packets built by sphinx-packet, and what sphinx-packet makes of a packet.

use phix_engine::crypto::{HopKeys, PORTABLE};
use phix_engine::secret::NodeSecret;
use phix_engine::sphinx::{KeyChoice, Opened, Peeler, Rejected, Route};
use phix_engine::units::Span;
use phix_engine::wire::geometry::{BETA, BETA_LEN, HEADER, MAC, PacketSize, STREAM_LEN};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sphinx_packet::crypto::PrivateKey;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;
use sphinx_packet::{ProcessedPacketData, SphinxPacket, SphinxPacketBuilder};

/// A few nodes and the randomness of one test.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) nodes: Vec<(Node, NodeSecret)>,
}

/// A packet on its way, and the node that it is at.
#[derive(Clone)]
pub(crate) struct Flight {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: usize,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..8)
            .map(|_| {
                let secret = NodeSecret::from_bytes(rng.random());
                let address = NodeAddressBytes::from_bytes(rng.random());
                (Node::new(address, secret.public().into()), secret)
            })
            .collect();
        Self { rng, nodes }
    }

    /// A packet of `hops` hops with random nodes, delays, destination and message.
    pub(crate) fn build(&mut self, version: u16, size: PacketSize, hops: usize) -> Flight {
        let path: Vec<usize> =
            (0..hops).map(|_| self.rng.random_range(0..self.nodes.len())).collect();
        let route: Vec<Node> = path.iter().map(|&node| self.nodes[node].0.clone()).collect();
        let delays: Vec<Delay> =
            (0..hops).map(|_| Delay::new_from_nanos(self.rng.random())).collect();
        let address = DestinationAddressBytes::from_bytes(self.rng.random());
        let destination = Destination::new(address, self.rng.random());
        let mut message = vec![0; self.rng.random_range(0..=size.message_len())];
        self.rng.fill_bytes(&mut message);
        let secret = PrivateKey::from(self.rng.random::<[u8; 32]>());
        let packet = SphinxPacketBuilder::new()
            .with_version(Version::new(version))
            .with_payload_size(size.payload_len())
            .with_initial_secret(&secret)
            .build_packet(message, &route, &destination, &delays)
            .unwrap();
        Flight { bytes: packet.to_bytes(), at: path[0] }
    }

    /// A packet of the usual kind, at its first of `hops` hops.
    pub(crate) fn regular(&mut self, hops: usize) -> Flight {
        self.build(259, PacketSize::Regular, hops)
    }

    pub(crate) fn secret(&self, node: usize) -> &NodeSecret {
        &self.nodes[node].1
    }

    pub(crate) fn node_at(&self, address: &[u8; 32]) -> usize {
        self.nodes.iter().position(|(node, _)| node.address.as_bytes() == address).unwrap()
    }
}

/// What became of an accepted packet: the header's findings, and the bytes that matter from here
/// on (the whole packet where it goes on, the payload where it has arrived).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peeled {
    pub(crate) route: Route,
    pub(crate) replay_tag: [u8; 32],
    pub(crate) version: u16,
    pub(crate) bytes: Vec<u8>,
}

/// What sphinx-packet makes of a packet; `None` if it refuses it.
pub(crate) fn oracle(bytes: &[u8], secret: &NodeSecret) -> Option<Peeled> {
    let secret = PrivateKey::from(*secret.as_bytes());
    let packet = SphinxPacket::from_bytes(bytes).unwrap();
    let replay_tag = *packet.header.compute_expanded_shared_secret(&secret).replay_tag();
    let processed = packet.process(&secret).ok()?;
    let (route, bytes) = match processed.data {
        ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay } => {
            let delay = Span::from_nanos(delay.to_nanos());
            let next_hop = next_hop_address.to_bytes();
            (Route::Forward { next_hop, delay }, next_hop_packet.to_bytes())
        }
        ProcessedPacketData::FinalHop { destination, identifier, payload } => {
            let destination = destination.as_bytes();
            (Route::Final { destination, identifier }, payload.into_bytes())
        }
    };
    Some(Peeled { route, replay_tag, version: processed.version.value(), bytes })
}

/// What `Peeler` makes of one packet, alone in its batch.
pub(crate) fn peel(bytes: &[u8], secret: &NodeSecret) -> Result<Peeled, Rejected> {
    let choice = KeyChoice { first: secret, second: None };
    peel_batch(&[bytes.to_vec()], &[choice]).pop().unwrap()
}

/// What `Peeler` makes of a batch. Checks that rejected packets are left as they came.
pub(crate) fn peel_batch(
    packets: &[Vec<u8>],
    keys: &[KeyChoice<'_>],
) -> Vec<Result<Peeled, Rejected>> {
    let mut peeler = Peeler::new(PORTABLE);
    let mut bytes = packets.to_vec();
    let mut slices: Vec<&mut [u8]> = bytes.iter_mut().map(Vec::as_mut_slice).collect();
    let results = peeler.open(&mut slices, keys).to_vec();
    let keep: Vec<bool> = results.iter().map(Result::is_ok).collect();
    peeler.strip(&mut slices, &keep);
    let mut peeled = Vec::new();
    for ((result, before), after) in results.into_iter().zip(packets).zip(&bytes) {
        assert!(result.is_ok() || before == after, "a rejected packet has changed");
        peeled.push(result.map(|opened| Peeled::new(&opened, after)));
    }
    peeled
}

impl Peeled {
    pub(crate) fn new(opened: &Opened, after: &[u8]) -> Self {
        let bytes = match opened.route {
            Route::Forward { .. } => after.to_vec(),
            Route::Final { .. } => after[HEADER..].to_vec(),
        };
        let Opened { route, replay_tag, version, .. } = *opened;
        Self { route, replay_tag, version, bytes }
    }
}

/// A packet whose header decrypts to `plain`, made without a sender: for headers that no sender
/// builds.
pub(crate) fn forge(
    alpha: [u8; 32],
    secret: &NodeSecret,
    plain: &[u8; BETA_LEN],
    payload: &[u8],
) -> Vec<u8> {
    let mut shared = [[0; 32]];
    (PORTABLE.x25519)(&[*secret.as_bytes()], &[alpha], &mut shared);
    let mut keys = [HopKeys::empty()];
    (PORTABLE.expand)(&shared, &mut keys);
    let mut block = [[0; STREAM_LEN]];
    block[0][..BETA_LEN].copy_from_slice(plain);
    (PORTABLE.header_stream)(&[*keys[0].stream()], &mut block);
    let mut packet = [&alpha[..], &[0; 16], &block[0][..BETA_LEN], payload].concat();
    let beta = packet[BETA].try_into().unwrap();
    let mut mac = [[0; 16]];
    (PORTABLE.header_macs)(&[*keys[0].mac()], &[&beta], &mut mac);
    packet[MAC].copy_from_slice(&mac[0]);
    packet
}
