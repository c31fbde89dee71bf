//! Target: streams of frames, cut anywhere, into a parser and into an assembler with little memory.

use phix_engine::counters::{Counters, DropReason};
use phix_engine::intake::{Assembler, Inbox, Intake};
use phix_engine::pool::Pool;
use phix_engine::wire::frame::{
    FRAME_HEADER_MAX, FrameError, FrameHeader, FrameParser, KeyRotation, Piece,
};
use phix_engine::wire::geometry::PacketSize;

use crate::input::Input;

/// Slots of each size: fewer than a stream may hold frames.
const SLOTS: usize = 2;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts: [u8; 6] = input.array();
    let stream = stream(&mut input);
    let parts = cut(&stream, &cuts);
    let whole = parse([&stream[..]]);
    assert_eq!(parse(parts.iter().copied()), whole);
    let expected = expected(&whole);
    assert_eq!(assemble(&[&stream]), expected);
    assert_eq!(assemble(&parts), expected);
}

/// Frames whole and broken, with other bytes in between.
fn stream(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        match input.below(8) {
            0 => stream.extend(input.slice(64)),
            1 => {
                let frame = frame(input);
                let end = usize::from(u16::from_le_bytes(input.array())) % (frame.len() + 1);
                stream.extend(&frame[..end]);
            }
            _ => stream.extend(frame(input)),
        }
    }
    stream
}

fn frame(input: &mut Input<'_>) -> Vec<u8> {
    // The two largest sizes only slow this down.
    let size = PacketSize::ALL[input.below(3)];
    let header = match input.below(4) {
        3 => FrameHeader::legacy(size),
        rotation => FrameHeader::current(size, KeyRotation::ALL[rotation]),
    };
    let mut bytes = vec![0; FRAME_HEADER_MAX];
    let len = header.write(&mut bytes);
    bytes.truncate(len);
    bytes.extend(input.stretched(size.packet_len()));
    bytes
}

fn cut<'a>(stream: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> =
        cuts.iter().map(|cut| usize::from(*cut) * stream.len() / 255).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &stream[ends[0]..ends[1]]).collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    /// Header, bytes of the packet that came, and whether that was all.
    frames: Vec<(FrameHeader, Vec<u8>, bool)>,
    error: Option<FrameError>,
}

fn parse<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Parsed {
    let (mut parser, mut parsed) = (FrameParser::new(), Parsed::default());
    for mut part in parts {
        loop {
            match parser.next(&mut part) {
                Ok(None) => break,
                Ok(Some(Piece::Start(header))) => parsed.frames.push((header, Vec::new(), false)),
                Ok(Some(Piece::Body { bytes, last })) => {
                    let frame = parsed.frames.last_mut().expect("a frame begins with its header");
                    frame.1.extend(bytes);
                    frame.2 = last;
                }
                Err(error) => {
                    parsed.error = Some(error);
                    return parsed;
                }
            }
        }
    }
    parsed
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Assembled {
    taken: usize,
    /// Whole frames for which there was no slot.
    skipped: u64,
    error: Option<FrameError>,
}

/// What an assembler makes of these frames: each takes a slot of its size while there are any.
fn expected(parsed: &Parsed) -> Assembled {
    let mut free = [SLOTS; PacketSize::ALL.len()];
    let mut expected = Assembled { error: parsed.error, ..Assembled::default() };
    for (header, _, is_whole) in &parsed.frames {
        let free = &mut free[header.size.index()];
        if *free == 0 {
            expected.skipped += u64::from(*is_whole);
        } else {
            *free -= 1;
            expected.taken += usize::from(*is_whole);
        }
    }
    expected
}

/// Also checks that every slot is in the inbox or comes back.
fn assemble(parts: &[&[u8]]) -> Assembled {
    let mut pool = Pool::new([SLOTS; PacketSize::ALL.len()]);
    let (mut inbox, mut counters) = (Inbox::default(), Counters::default());
    let mut assembler = Assembler::default();
    let mut error = None;
    for part in parts {
        let mut intake = Intake { pool: &mut pool, inbox: &mut inbox, counters: &mut counters };
        match assembler.push(part, &mut intake) {
            Ok(used) => assert_eq!(used, part.len(), "the inbox has room"),
            Err(found) => {
                error = Some(found);
                break;
            }
        }
    }
    assembler.finish(&mut pool);
    assert_eq!(pool.free() + inbox.len(), pool.capacity());
    let skipped = counters.dropped(DropReason::PoolEmpty);
    Assembled { taken: inbox.len(), skipped, error }
}
