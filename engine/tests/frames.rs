//! The frame parser on streams of every kind, cut in every way.

use phix_engine::wire::frame::{
    FRAME_HEADER_MAX, FrameError, FrameHeader, FrameParser, FrameVersion, KeyRotation, Piece,
};
use phix_engine::wire::geometry::PacketSize;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};

/// What a stream amounts to: its frames, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    frames: Vec<(FrameHeader, Vec<u8>, bool)>,
    error: Option<FrameError>,
    between: bool,
}

/// Every header that can be written.
fn all_headers() -> Vec<FrameHeader> {
    let legacy = PacketSize::ALL.map(FrameHeader::legacy);
    let current = PacketSize::ALL
        .into_iter()
        .flat_map(|size| KeyRotation::ALL.map(|rotation| FrameHeader::current(size, rotation)));
    legacy.into_iter().chain(current).collect()
}

fn header_bytes(header: &FrameHeader) -> Vec<u8> {
    let mut out = [0xa5; FRAME_HEADER_MAX];
    let len = header.write(&mut out);
    assert_eq!(len, header.encoded_len());
    assert!(out[len..].iter().all(|&byte| byte == 0xa5), "no more than that is written");
    out[..len].to_vec()
}

/// A frame whose packet is filled from a counter.
fn frame(header: &FrameHeader, seed: u8) -> Vec<u8> {
    let mut bytes = header_bytes(header);
    bytes.extend((0..header.size.packet_len()).map(|i| (i as u8).wrapping_mul(31) ^ seed));
    bytes
}

/// Feeds `parts` to one parser and checks on the way that no byte is lost or made up.
fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut parser = FrameParser::new();
    let mut reading = Reading::default();
    for mut part in parts {
        loop {
            let before = part;
            match parser.next(&mut part) {
                Ok(Some(Piece::Start(header))) => reading.frames.push((header, Vec::new(), false)),
                Ok(Some(Piece::Body { bytes, last })) => {
                    assert!(!bytes.is_empty());
                    assert_eq!(bytes, &before[..before.len() - part.len()]);
                    let frame = reading.frames.last_mut().expect("a body has a start");
                    assert!(!frame.2, "nothing follows the last piece of a packet");
                    frame.1.extend_from_slice(bytes);
                    frame.2 = last;
                    assert_eq!(last, frame.1.len() == frame.0.size.packet_len());
                }
                Ok(None) => {
                    assert!(part.is_empty());
                    break;
                }
                Err(error) => {
                    assert!(reading.error.is_none_or(|first| first == error));
                    reading.error = Some(error);
                    break;
                }
            }
        }
    }
    reading.between = parser.is_between_frames();
    reading
}

/// Cuts `bytes` at the places that `cuts` choose; places may coincide, so parts may be empty.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut from = 0;
    places.into_iter().map(|to| &bytes[core::mem::replace(&mut from, to)..to]).collect()
}

/// Bytes that are frames for a while: whole frames, good headers, and noise.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let small: Vec<FrameHeader> =
        all_headers().into_iter().filter(|header| header.size <= PacketSize::Regular).collect();
    let part = prop_oneof![
        6 => (select(small), any::<u8>()).prop_map(|(header, seed)| frame(&header, seed)),
        1 => (select(all_headers()), any::<u8>()).prop_map(|(header, seed)| frame(&header, seed)),
        1 => vec(prop_oneof![0_u8..10, any::<u8>()], 0..12),
    ];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

#[test]
fn every_header_reads_as_it_was_written() {
    for header in all_headers() {
        let bytes = frame(&header, 7);
        assert_eq!(bytes.len(), header.frame_len());
        let reading = read([bytes.as_slice()]);
        let body = bytes[header.encoded_len()..].to_vec();
        assert_eq!(reading.frames, [(header, body, true)]);
        assert_eq!((reading.error, reading.between), (None, true));
    }
}

#[test]
fn a_legacy_header_has_no_rotation() {
    let mut header = FrameHeader::legacy(PacketSize::Regular);
    header.rotation = KeyRotation::Odd;
    assert_eq!(header_bytes(&header), [7, 1, 0]);
    let reading = read([&[7, 1, 0][..]]);
    assert_eq!(reading.frames[0].0, FrameHeader::legacy(PacketSize::Regular));
}

/// The verdict on a whole header, from a table instead of a state machine.
fn judge(bytes: [u8; 4]) -> Result<FrameHeader, FrameError> {
    let [version, tag, kind, rotation] = bytes;
    let version = match version {
        0..7 => return Err(FrameError::TooOld),
        7 => FrameVersion::Legacy,
        8 => FrameVersion::Current,
        _ => return Err(FrameError::TooNew),
    };
    let rotation = match (version, rotation) {
        (FrameVersion::Legacy, _) | (_, 0) => KeyRotation::Unknown,
        (_, 1) => KeyRotation::Odd,
        (_, 2) => KeyRotation::Even,
        _ => return Err(FrameError::Rotation),
    };
    let size = PacketSize::ALL.into_iter().find(|size| size.tag() == tag);
    let size = size.ok_or(FrameError::Size)?;
    if kind == 0 { Ok(FrameHeader { version, size, rotation }) } else { Err(FrameError::Kind) }
}

#[test]
fn every_fault_has_its_reason_and_the_first_one_counts() {
    let interesting = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 127, 128, 255];
    let mut reasons = std::collections::BTreeSet::new();
    for version in interesting {
        for tag in interesting {
            for kind in interesting {
                for rotation in interesting {
                    let bytes = [version, tag, kind, rotation];
                    let reading = read([bytes.as_slice()]);
                    let found = reading.error.map_or_else(|| Ok(reading.frames[0].0), Err);
                    assert_eq!(found, judge(bytes), "{bytes:?}");
                    reasons.extend(found.err());
                }
            }
        }
    }
    assert_eq!(reasons.len(), 5);
    assert_eq!(judge([8, 6, 2, 3]), Err(FrameError::Rotation));
    assert_eq!(judge([8, 7, 2, 0]), Err(FrameError::Size));
    assert_eq!(judge([7, 1, 2, 9]), Err(FrameError::Kind));
}

#[test]
fn an_error_is_for_good() {
    let mut parser = FrameParser::new();
    let mut input: &[u8] = &[9];
    assert_eq!(parser.next(&mut input), Err(FrameError::TooNew));
    let good = frame(&FrameHeader::legacy(PacketSize::Ack), 0);
    let mut input = good.as_slice();
    assert_eq!(parser.next(&mut input), Err(FrameError::TooNew));
    assert_eq!(input.len(), good.len(), "and nothing more is taken");
    assert!(!parser.is_between_frames());
}

#[test]
fn between_frames_means_between() {
    let bytes = frame(&FrameHeader::current(PacketSize::Ack, KeyRotation::Even), 1);
    for end in 0..=bytes.len() {
        let reading = read([&bytes[..end]]);
        assert_eq!(reading.between, end == 0 || end == bytes.len(), "{end}");
    }
}

proptest! {
    #![proptest_config(Config {
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn cuts_change_nothing(bytes in streams(), cuts in vec(any::<Index>(), 0..40)) {
        prop_assert_eq!(read([bytes.as_slice()]), read(cut(&bytes, &cuts)));
    }

    #[test]
    fn single_bytes_change_nothing(bytes in streams()) {
        prop_assert_eq!(read([bytes.as_slice()]), read(bytes.chunks(1)));
    }

    #[test]
    fn noise_does_no_harm(bytes in vec(any::<u8>(), 0..200), cuts in vec(any::<Index>(), 0..9)) {
        prop_assert_eq!(read([bytes.as_slice()]), read(cut(&bytes, &cuts)));
    }

    #[test]
    fn frames_in_a_row_are_all_found(
        headers in vec((select(all_headers()), any::<u8>()), 0..6),
        cuts in vec(any::<Index>(), 0..40),
    ) {
        let frames: Vec<Vec<u8>> =
            headers.iter().map(|(header, seed)| frame(header, *seed)).collect();
        let reading = read(cut(&frames.concat(), &cuts));
        prop_assert_eq!(reading.error, None);
        prop_assert!(reading.between);
        prop_assert_eq!(reading.frames.len(), frames.len());
        for (found, sent) in reading.frames.iter().zip(&frames) {
            let mut bytes = header_bytes(&found.0);
            bytes.extend_from_slice(&found.1);
            prop_assert_eq!(&bytes, sent);
        }
    }
}
