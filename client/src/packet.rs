//! Builds Sphinx packets and frames them for the first hop.
//!
//! The packets are those of sphinx-packet 0.8.0, the frames those of nym-sphinx-framing 2.0.0.
//! Only the Sphinx layers protect the message: the last hop reads it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use phix_engine::limits::DELAY_MAX;
use phix_engine::units::Span;
use phix_engine::wire::address;
use phix_engine::wire::frame::{FrameHeader, FrameVersion, KeyRotation};
use phix_engine::wire::geometry::{MAX_HOPS, PacketSize};
use rand::{Rng, SeedableRng};
use sphinx_packet::SphinxPacketBuilder;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::Version;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::stats;
use crate::topology::Hop;

/// The Sphinx versions that the network carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SphinxVersion {
    /// 258: payload keys straight from the shared secret.
    V258,
    /// 259: payload keys from seeds; what stock clients send.
    #[default]
    V259,
    /// 260: as 259, with SURBs of a single seed.
    V260,
}

impl SphinxVersion {
    /// Every version, oldest first.
    pub const ALL: [Self; 3] = [Self::V258, Self::V259, Self::V260];

    /// The number in the header.
    pub const fn number(self) -> u16 {
        match self {
            Self::V258 => 258,
            Self::V259 => 259,
            Self::V260 => 260,
        }
    }

    /// The version of this number, if the network carries it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.number() == number)
    }
}

/// What all packets of a factory have in common.
#[derive(Clone, Copy, Debug)]
pub struct PacketConfig {
    /// Size on the wire.
    pub size: PacketSize,
    /// Version in the header.
    pub version: SphinxVersion,
    /// Mean of the exponential delay at each hop but the last. Zero: no delays.
    pub mean_delay: Duration,
    /// Layout of the frame.
    pub frames: FrameVersion,
    /// Rotation that the route's keys belong to. Not written into version 7 frames.
    pub rotation: KeyRotation,
}

impl Default for PacketConfig {
    /// A regular packet of version 259 in version 8 frames, 50 ms per hop, rotation not known.
    fn default() -> Self {
        Self {
            size: PacketSize::Regular,
            version: SphinxVersion::default(),
            mean_delay: Duration::from_millis(50),
            frames: FrameVersion::Current,
            rotation: KeyRotation::Unknown,
        }
    }
}

/// A packet, ready to be sent.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Frame header and Sphinx packet.
    pub frame: Vec<u8>,
    /// Where to send it.
    pub first_hop: SocketAddr,
    /// The sum of the delays that the hops are asked for.
    pub delays: Span,
}

/// Why a packet cannot be built.
#[derive(Debug)]
pub enum BuildError {
    /// The message does not fit into a packet of this size.
    MessageTooLong {
        /// Its bytes.
        len: usize,
        /// Bytes that would fit.
        max: usize,
    },
    /// The route has no hop or more than a header has room for.
    RouteLength(usize),
    /// The first hop is an address that nothing can be sent to.
    FirstHop(SocketAddr),
    /// The Sphinx builder refused.
    Sphinx(sphinx_packet::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageTooLong { len, max } => write!(
                f,
                "the message has {len} bytes and a packet of this size carries {max}; \
                 choose a larger size or a shorter message"
            ),
            Self::RouteLength(len) => write!(f, "a route has 1 to {MAX_HOPS} hops, this one {len}"),
            Self::FirstHop(hop) => write!(f, "packets cannot be sent to the first hop, {hop}"),
            Self::Sphinx(error) => write!(f, "the packet cannot be built: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

/// Builds packets of one kind.
#[derive(Debug)]
pub struct Factory {
    config: PacketConfig,
    rng: ChaCha20Rng,
}

impl Factory {
    /// A factory whose secrets come from the operating system's generator.
    ///
    /// # Panics
    /// If the operating system gives no random bytes.
    pub fn new(config: PacketConfig) -> Self {
        Self::seeded(config, *os_seed())
    }

    /// A factory that draws the same delays and secrets again from the same seed. For tests and
    /// demonstrations only: who knows the seed can open every packet. (The unused room in a header
    /// is filled with other random bytes each time, so that the packets still differ.)
    pub fn seeded(config: PacketConfig, seed: [u8; 32]) -> Self {
        Self { config, rng: ChaCha20Rng::from_seed(seed) }
    }

    /// What its packets have in common.
    pub const fn config(&self) -> &PacketConfig {
        &self.config
    }

    /// The generator that it draws from; for routes.
    pub const fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    /// Packs `message` for `destination`, the 32-byte address of a client, along `route`.
    ///
    /// # Errors
    /// If the message is too long or the route too short, too long or without a usable first hop.
    pub fn build(
        &mut self,
        message: &[u8],
        route: &[Hop],
        destination: [u8; 32],
    ) -> Result<Packet, BuildError> {
        let size = self.config.size;
        if message.len() > size.message_len() {
            let (len, max) = (message.len(), size.message_len());
            return Err(BuildError::MessageTooLong { len, max });
        }
        let first_hop = match route {
            [first, ..] if route.len() <= MAX_HOPS => first.address,
            _ => return Err(BuildError::RouteLength(route.len())),
        };
        if !address::routable(&first_hop) {
            return Err(BuildError::FirstHop(first_hop));
        }
        let delays = self.draw_delays(route.len());
        let sphinx = self.build_sphinx(message, route, destination, &delays)?;
        let total = delays.iter().map(Delay::to_nanos).sum();
        Ok(Packet { frame: self.framed(&sphinx), first_hop, delays: Span::from_nanos(total) })
    }

    /// One delay per hop. The builder wants one for the last hop too, and does not write it.
    fn draw_delays(&mut self, hops: usize) -> Vec<Delay> {
        let mean = self.config.mean_delay.as_nanos() as f64;
        let draw = |_| {
            let nanos = stats::exponential(&mut self.rng, mean);
            Delay::new_from_nanos((nanos as u64).min(DELAY_MAX.as_nanos()))
        };
        (1..hops).map(draw).chain([Delay::new_from_nanos(0)]).collect()
    }

    fn build_sphinx(
        &mut self,
        message: &[u8],
        route: &[Hop],
        destination: [u8; 32],
        delays: &[Delay],
    ) -> Result<Vec<u8>, BuildError> {
        let node = |hop: &Hop| {
            let field = NodeAddressBytes::from_bytes(address::encode(hop.address));
            Node::new(field, PublicKey::from(hop.key))
        };
        let route: Vec<Node> = route.iter().map(node).collect();
        let address = DestinationAddressBytes::from_bytes(destination);
        let mut secret = Zeroizing::new([0; 32]);
        self.rng.fill_bytes(&mut *secret);
        let packet = SphinxPacketBuilder::new()
            .with_version(Version::new(self.config.version.number()))
            .with_payload_size(self.config.size.payload_len())
            .with_initial_secret(&StaticSecret::from(*secret))
            .build_packet(message, &route, &Destination::new(address, [0; 16]), delays);
        packet.map(|packet| packet.to_bytes()).map_err(BuildError::Sphinx)
    }

    fn framed(&self, sphinx: &[u8]) -> Vec<u8> {
        let PacketConfig { size, frames, rotation, .. } = self.config;
        let header = match frames {
            FrameVersion::Legacy => FrameHeader::legacy(size),
            FrameVersion::Current => FrameHeader::current(size, rotation),
        };
        let mut frame = vec![0; header.frame_len()];
        let front = header.write(&mut frame);
        frame[front..].copy_from_slice(sphinx);
        frame
    }
}

/// A seed that nobody can guess.
pub(crate) fn os_seed() -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).expect("the operating system gives random bytes");
    seed
}

#[cfg(test)]
mod tests {
    use phix_engine::wire::frame::{FrameParser, Piece};
    use sphinx_packet::{ProcessedPacketData, SphinxPacket};

    use super::*;

    fn route(hops: usize) -> (Vec<Hop>, Vec<StaticSecret>) {
        let secrets: Vec<_> = (0..hops).map(|i| StaticSecret::from([i as u8 + 1; 32])).collect();
        let hop = |(secret, i): (&StaticSecret, u16)| Hop {
            node: i.into(),
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + i)),
            key: PublicKey::from(secret).to_bytes(),
        };
        (secrets.iter().zip(0..).map(hop).collect(), secrets)
    }

    /// Takes a packet through its route; gives its message and the sum of its delays.
    fn travel(packet: &Packet, config: &PacketConfig, hops: &[Hop], secrets: &[StaticSecret]) {
        let mut input = &packet.frame[..];
        let mut parser = FrameParser::new();
        let Ok(Some(Piece::Start(header))) = parser.next(&mut input) else { panic!("no frame") };
        assert_eq!((header.version, header.size), (config.frames, config.size));
        assert_eq!(header.rotation, config.rotation);
        let mut sphinx = SphinxPacket::from_bytes(input).unwrap();
        let mut delays = 0;
        for (secret, next) in secrets.iter().zip(hops.iter().map(Some).skip(1).chain([None])) {
            let processed = sphinx.process(secret).unwrap();
            assert_eq!(processed.version.value(), config.version.number());
            match (processed.data, next) {
                (
                    ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay },
                    Some(next),
                ) => {
                    assert_eq!(next_hop_address.to_bytes(), address::encode(next.address));
                    delays += delay.to_nanos();
                    sphinx = next_hop_packet;
                }
                (ProcessedPacketData::FinalHop { destination, payload, .. }, None) => {
                    assert_eq!(destination.as_bytes(), [9; 32]);
                    assert_eq!(payload.recover_plaintext().unwrap(), b"a message");
                    assert_eq!(delays, packet.delays.as_nanos());
                    return;
                }
                _ => panic!("the hop is not of the kind that the route says"),
            }
        }
    }

    #[test]
    fn every_hop_recovers_its_part() {
        for size in PacketSize::ALL {
            for version in SphinxVersion::ALL {
                for hops in 1..=MAX_HOPS {
                    let rotation = KeyRotation::Odd;
                    let config = PacketConfig { size, version, rotation, ..Default::default() };
                    let (route, secrets) = route(hops);
                    let mut factory = Factory::new(config);
                    let packet = factory.build(b"a message", &route, [9; 32]).unwrap();
                    assert_eq!(packet.first_hop, route[0].address);
                    travel(&packet, &config, &route, &secrets);
                }
            }
        }
    }

    #[test]
    fn legacy_frames_are_a_byte_shorter() {
        let (route, secrets) = route(4);
        let config = PacketConfig { frames: FrameVersion::Legacy, ..Default::default() };
        let packet = Factory::new(config).build(b"a message", &route, [9; 32]).unwrap();
        assert_eq!(packet.frame.len(), 2416);
        travel(&packet, &config, &route, &secrets);
    }

    #[test]
    fn delays_are_exponential_and_reproducible() {
        let (route, _) = route(2);
        let mut factory = Factory::seeded(PacketConfig::default(), [5; 32]);
        let mut again = Factory::seeded(PacketConfig::default(), [5; 32]);
        let draw =
            |factory: &mut Factory| factory.build(&[], &route, [0; 32]).unwrap().delays.as_nanos();
        let delays: Vec<_> = (0..200).map(|_| draw(&mut factory)).collect();
        assert!(delays.iter().all(|&delay| delay == draw(&mut again)));
        let sample: Vec<f64> = delays.iter().map(|&delay| delay as f64 / 1e6).collect();
        let theory = stats::Erlang::new(1, 50.0);
        let distance = stats::ks_distance(&sample, |x| theory.cdf(x));
        assert!(distance < stats::ks_critical(200, 0.001), "{distance}");
    }

    #[test]
    fn absurd_requests_are_refused() {
        let (hops, _) = route(6);
        let mut factory = Factory::new(PacketConfig::default());
        let mut refused = |message: &[u8], hops: &[Hop]| {
            factory.build(message, hops, [0; 32]).unwrap_err().to_string()
        };
        assert!(refused(&[0; 2049], &hops[..4]).contains("2049 bytes"));
        assert!(refused(&[], &hops).contains("this one 6"));
        assert!(refused(&[], &[]).contains("this one 0"));
        let nowhere = Hop { address: "0.0.0.0:1789".parse().unwrap(), ..hops[0] };
        assert!(refused(&[], &[nowhere]).contains("0.0.0.0:1789"));
        assert!(factory.build(&[0; 2048], &hops[..5], [0; 32]).is_ok());
        let slow = PacketConfig { mean_delay: Duration::MAX, ..Default::default() };
        let packet = Factory::new(slow).build(&[], &hops[..3], [0; 32]).unwrap();
        assert_eq!(packet.delays.as_nanos(), 2 * DELAY_MAX.as_nanos());
    }
}
