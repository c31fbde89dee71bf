//! Frames: the stock codec and ours, each reading what the other has written.

use bytes::{Bytes, BytesMut};
use nym_sphinx_framing::codec::{NymCodec, NymCodecError};
use nym_sphinx_framing::packet::FramedNymPacket;
use nym_sphinx_params::{PacketSize as StockSize, PacketType, SphinxKeyRotation};
use nym_sphinx_types::NymPacket;
use phix_engine::wire::frame::{
    FRAME_HEADER_MAX, FrameError, FrameHeader, FrameParser, FrameVersion, KeyRotation, Piece,
};
use phix_engine::wire::geometry::PacketSize;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};
use tokio_util::codec::{Decoder, Encoder};

/// A frame's header and its packet.
type Frame = (FrameHeader, Vec<u8>);

/// Every header that can be written.
fn all_headers() -> Vec<FrameHeader> {
    let legacy = PacketSize::ALL.map(FrameHeader::legacy);
    let current = PacketSize::ALL
        .into_iter()
        .flat_map(|size| KeyRotation::ALL.map(|rotation| FrameHeader::current(size, rotation)));
    legacy.into_iter().chain(current).collect()
}

const fn stock_rotation(rotation: KeyRotation) -> SphinxKeyRotation {
    match rotation {
        KeyRotation::Unknown => SphinxKeyRotation::Unknown,
        KeyRotation::Odd => SphinxKeyRotation::OddRotation,
        KeyRotation::Even => SphinxKeyRotation::EvenRotation,
    }
}

const fn stock_size(size: PacketSize) -> StockSize {
    match size {
        PacketSize::Ack => StockSize::AckPacket,
        PacketSize::Regular => StockSize::RegularPacket,
        PacketSize::Extended8 => StockSize::ExtendedPacket8,
        PacketSize::Extended16 => StockSize::ExtendedPacket16,
        PacketSize::Extended32 => StockSize::ExtendedPacket32,
    }
}

/// A packet that neither side looks into.
fn packet(size: PacketSize, seed: u8) -> Vec<u8> {
    (0..size.packet_len()).map(|i| (i as u8).wrapping_mul(29) ^ (i >> 8) as u8 ^ seed).collect()
}

fn our_bytes((header, packet): &Frame) -> Vec<u8> {
    let mut front = [0; FRAME_HEADER_MAX];
    let len = header.write(&mut front);
    [&front[..len], packet].concat()
}

fn stock_bytes((header, packet): &Frame) -> Vec<u8> {
    let packet = NymPacket::sphinx_from_bytes(packet).unwrap();
    let legacy = header.version == FrameVersion::Legacy;
    let rotation = stock_rotation(header.rotation);
    let framed = FramedNymPacket::new(packet, PacketType::Mix, rotation, legacy);
    let mut bytes = BytesMut::new();
    NymCodec.encode(framed, &mut bytes).unwrap();
    bytes.to_vec()
}

/// What our parser finds in a stream that comes in `parts`.
fn our_reading(parts: &[Bytes]) -> (Vec<Frame>, Option<FrameError>) {
    let (mut parser, mut frames, mut whole) = (FrameParser::new(), Vec::<Frame>::new(), 0);
    for part in parts {
        let mut input = part.as_ref();
        loop {
            match parser.next(&mut input) {
                Ok(Some(Piece::Start(header))) => frames.push((header, Vec::new())),
                Ok(Some(Piece::Body { bytes, last })) => {
                    frames.last_mut().unwrap().1.extend_from_slice(bytes);
                    whole += usize::from(last);
                }
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    frames.truncate(whole);
    (frames, None)
}

/// What the stock codec finds in the same.
fn stock_reading(parts: &[Bytes]) -> (Vec<Frame>, Option<FrameError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            match NymCodec.decode(&mut buffer) {
                Ok(Some(framed)) => frames.push(from_stock(&framed)),
                Ok(None) => break,
                Err(error) => return (frames, Some(reason(&error))),
            }
        }
    }
    (frames, None)
}

fn from_stock(framed: &FramedNymPacket) -> Frame {
    let header = framed.header();
    assert_eq!(header.packet_type, PacketType::Mix);
    let size = PacketSize::ALL.into_iter().find(|&size| stock_size(size) == header.packet_size);
    let rotation = KeyRotation::ALL
        .into_iter()
        .find(|&rotation| stock_rotation(rotation) == header.key_rotation);
    let version = match header.packet_version.as_u8() {
        7 => FrameVersion::Legacy,
        8 => FrameVersion::Current,
        other => panic!("version {other} was accepted"),
    };
    let header = FrameHeader { version, size: size.unwrap(), rotation: rotation.unwrap() };
    (header, framed.packet().to_bytes().unwrap())
}

/// Our name for the stock codec's reason.
fn reason(error: &NymCodecError) -> FrameError {
    match error {
        NymCodecError::InvalidPacketVersion(_) => FrameError::TooOld,
        NymCodecError::UnsupportedPacketVersion { .. } => FrameError::TooNew,
        NymCodecError::InvalidPacketSize(_) => FrameError::Size,
        NymCodecError::InvalidPacketType(_) | NymCodecError::OutfoxNotSupported => FrameError::Kind,
        NymCodecError::InvalidSphinxKeyRotation(_) => FrameError::Rotation,
        other => panic!("{other}"),
    }
}

/// Cuts `bytes` at the places that `cuts` choose.
fn cut(bytes: &[u8], cuts: &[Index]) -> Vec<Bytes> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut from = 0;
    let mut part = |to| Bytes::copy_from_slice(&bytes[core::mem::replace(&mut from, to)..to]);
    places.into_iter().map(&mut part).collect()
}

#[test]
fn both_write_the_same_bytes() {
    for header in all_headers() {
        let frame = (header, packet(header.size, 1));
        assert_eq!(our_bytes(&frame), stock_bytes(&frame), "{header:?}");
    }
    let mut header = FrameHeader::legacy(PacketSize::Ack);
    header.rotation = KeyRotation::Even;
    let frame = (header, packet(header.size, 2));
    assert_eq!(our_bytes(&frame), stock_bytes(&frame), "a legacy frame cannot say its rotation");
}

#[test]
fn each_reads_what_the_other_wrote() {
    for header in all_headers() {
        let frame = (header, packet(header.size, 3));
        let expected = (vec![frame.clone()], None);
        assert_eq!(our_reading(&[stock_bytes(&frame).into()]), expected);
        assert_eq!(stock_reading(&[our_bytes(&frame).into()]), expected);
    }
}

#[test]
fn sizes_and_rotations_are_the_same() {
    for size in PacketSize::ALL {
        assert_eq!(size.packet_len(), stock_size(size).size());
        assert_eq!(size.tag(), stock_size(size) as u8);
        assert_eq!(size.message_len(), stock_size(size).plaintext_size());
    }
    for tag in 0..=255 {
        let stock = StockSize::try_from(tag).ok();
        assert_eq!(PacketSize::from_tag(tag).map(stock_size), stock, "{tag}");
    }
    for id in (0..50).chain(u32::MAX - 50..=u32::MAX) {
        let stock = SphinxKeyRotation::from_key_rotation_id(id);
        assert_eq!(stock_rotation(KeyRotation::from_id(id)), stock, "{id}");
    }
}

#[test]
fn both_refuse_the_same_headers_for_the_same_reason() {
    let body = packet(PacketSize::Extended32, 4);
    let (mut accepted, mut refused) = (0, 0);
    for version in (0..=10).chain([127, 128, 255]) {
        for tag in (0..=9).chain([255]) {
            for kind in (0..=3).chain([255]) {
                for rotation in (0..=3).chain([255]) {
                    let bytes = [&[version, tag, kind, rotation][..], &body].concat();
                    let parts = [Bytes::from(bytes)];
                    let ((ours, our_error), (stock, stock_error)) =
                        (our_reading(&parts), stock_reading(&parts));
                    // What follows a frame shorter than the body is noise, and refused as well.
                    assert_eq!(ours.first().map(|frame| frame.0), stock.first().map(|it| it.0));
                    if ours.is_empty() {
                        assert_eq!(our_error, stock_error, "{version} {tag} {kind} {rotation}");
                        refused += 1;
                    } else {
                        accepted += 1;
                    }
                }
            }
        }
    }
    // Version 7 ignores the fourth byte, which belongs to the packet: 5 sizes * 5 values of it.
    // Version 8: 5 sizes * 3 rotations.
    assert_eq!((accepted, accepted + refused), (25 + 15, 14 * 11 * 5 * 5));
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let frame = (select(all_headers()), any::<u8>())
        .prop_map(|(header, seed)| (header, packet(header.size, seed)));
    vec(frame, 0..8)
}

proptest! {
    #![proptest_config(Config {
        cases: 128,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn mixed_streams_read_the_same_however_they_are_cut(
        frames in frames(),
        cuts in vec(any::<Index>(), 0..30),
    ) {
        let stock: Vec<u8> = frames.iter().flat_map(stock_bytes).collect();
        let parts = cut(&stock, &cuts);
        prop_assert_eq!(our_reading(&parts), (frames.clone(), None));
        prop_assert_eq!(stock_reading(&parts), (frames, None));
    }

    #[test]
    fn a_spoilt_header_ends_both_streams_alike(
        frames in frames(),
        spoilt in any::<Index>(),
        at in 0..FRAME_HEADER_MAX,
        with in prop_oneof![0..10_u8, any::<u8>()],
        cuts in vec(any::<Index>(), 0..30),
    ) {
        prop_assume!(!frames.is_empty());
        let spoilt = spoilt.index(frames.len());
        let mut bytes: Vec<Vec<u8>> = frames.iter().map(our_bytes).collect();
        bytes[spoilt][at] = with;
        // An Outfox packet is refused here before it has come in, and there when it has. Zeros at
        // the end, which begin no frame, let both come to their conclusion.
        bytes.push(vec![0; PacketSize::Extended32.packet_len() + FRAME_HEADER_MAX]);
        let parts = cut(&bytes.concat(), &cuts);
        let (ours, stock) = (our_reading(&parts), stock_reading(&parts));
        prop_assert_eq!(ours.1, stock.1);
        prop_assert!(ours.1.is_some());
        prop_assert_eq!(whole(ours.0), stock.0);
    }
}

/// The frames that are complete.
fn whole(mut frames: Vec<Frame>) -> Vec<Frame> {
    frames.retain(|(header, packet)| packet.len() == header.size.packet_len());
    frames
}
