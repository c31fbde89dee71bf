//! Target: all that one client reads of another: fragments, messages with reply blocks, addresses,
//! what a gateway pushes, and what an assembler makes of any fragments in any order.

use std::cell::OnceCell;

use phix_engine::units::{Span, Time};
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    ACK, ACK_PART, Assembled, Assembler, AssemblyLimits, ClientKeys, FinalPayload, Fragment,
    Message, RECIPIENT, Received, Recipient, ReplyKey, ReplySurb, SenderTag, SurbFormat, receive,
    split, unpad,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::input::Input;

/// What inputs have led to, by kind of input.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) read: [u64; KINDS],
    pub(crate) refused: [u64; KINDS],
}

/// Kinds of inputs.
pub(crate) const KINDS: usize = 7;

const TARGETS: [fn(&mut Input<'_>) -> bool; KINDS] =
    [fragment, message, block, recipient, final_payload, pushed, assembly];

#[cfg_attr(test, expect(dead_code, reason = "the entry for a fuzzer; tests observe"))]
pub(crate) fn run(data: &[u8]) {
    observe(data, &mut Seen::default());
}

pub(crate) fn observe(data: &[u8], seen: &mut Seen) {
    let mut input = Input::new(data);
    let kind = input.below(KINDS);
    match TARGETS[kind](&mut input) {
        true => seen.read[kind] += 1,
        false => seen.refused[kind] += 1,
    }
}

/// A fragment that is read is written as it was.
fn fragment(input: &mut Input<'_>) -> bool {
    let bytes = fragment_bytes(input);
    let Ok(fragment) = Fragment::parse(&bytes) else { return false };
    let mut written = Vec::new();
    fragment.write(&mut written);
    assert_eq!(written, bytes);
    assert_eq!(written.len(), fragment.encoded_len());
    true
}

fn fragment_bytes(input: &mut Input<'_>) -> Vec<u8> {
    let set = |input: &mut Input<'_>| {
        let flag = if input.below(8) == 0 { 0 } else { 0x80 };
        [flag, 0, 0, input.byte() % 4]
    };
    let mut bytes = set(input).to_vec();
    let total = [1, 2, 3, 255][input.below(4)];
    let position = [1, 2, 3, 255][input.below(4)];
    bytes.extend([total, position]);
    match input.below(2) {
        0 => bytes.push(0),
        _ => bytes.extend(set(input)),
    }
    bytes.extend(input.slice(20));
    if input.below(16) == 0 {
        bytes.truncate(input.below(10));
    }
    bytes
}

/// A message that is read is written and read again as the same.
fn message(input: &mut Input<'_>) -> bool {
    let mut bytes = vec![input.byte() % 4];
    if bytes[0] == 1 {
        bytes.extend(input.array::<16>());
        let kind = input.byte() % 7;
        let count = input.byte() % 3;
        let hops = [1, 2, 3, 4, 5, 6, 12][input.below(7)];
        bytes.push(kind);
        let len = if kind < 3 {
            bytes.extend([0, 0, 0, count]);
            SurbFormat::Keys.encoded_len(4)
        } else {
            bytes.extend([0, count, hops as u8, input.byte() % 4]);
            SurbFormat::Seeds.encoded_len(hops)
        };
        for _ in 0..count {
            bytes.extend(block_bytes(input, len));
        }
    } else {
        bytes.push(input.byte() % 3);
        let len = [0, 1, RECIPIENT + 4][input.below(3)];
        bytes.extend(input.stretched(len));
    }
    bytes.extend(input.slice(20));
    if input.below(8) == 0 {
        bytes.truncate(usize::from(u16::from_le_bytes(input.array())) % bytes.len());
    }
    let Ok(message) = Message::parse(&bytes) else { return false };
    let written = message.encode();
    // Where there are no blocks, nothing says of what kind they would have been.
    if !matches!(&message, Message::Repliable(repliable) if repliable.surbs.is_empty()) {
        assert!(bytes.starts_with(&written), "trailing bytes at most are passed over");
    }
    let again = Message::parse(&written).expect("what is written can be read");
    assert_eq!(again.encode(), written);
    true
}

/// Bytes of a reply block, whose first hop is nearly always an address.
fn block_bytes(input: &mut Input<'_>, len: usize) -> Vec<u8> {
    let mut bytes = input.stretched(len);
    if let Some(family) = bytes.get_mut(16 + 348) {
        *family = [4, 4, 4, 6, 6, 6, 6, 5][input.below(8)];
    }
    bytes
}

fn block(input: &mut Input<'_>) -> bool {
    let format = [SurbFormat::Keys, SurbFormat::Seeds][input.below(2)];
    let len = format.encoded_len(input.below(7)) + usize::from(input.below(8) == 0);
    let bytes = block_bytes(input, len);
    let Ok(surb) = ReplySurb::parse(&bytes, KeyRotation::ALL[input.below(3)]) else {
        return false;
    };
    let mut written = Vec::new();
    surb.write(&mut written);
    assert_eq!(written, bytes);
    assert_eq!(surb.format().encoded_len(surb.hops()), bytes.len());
    assert!(surb.first_hop().port() == u16::from_be_bytes([bytes[365], bytes[366]]));
    true
}

/// Addresses in bytes, and text that may be an address or a tag.
fn recipient(input: &mut Input<'_>) -> bool {
    let mut bytes = [0; RECIPIENT];
    for part in bytes.chunks_exact_mut(32) {
        // The base points, or what half of the time is no point.
        part.fill(if input.below(2) == 0 { 0x66 } else { input.byte() });
        if part[0] == 0x66 {
            part[0] = 0x58;
        }
    }
    let text = String::from_utf8_lossy(input.slice(100)).into_owned();
    assert!(text.parse::<Recipient>().is_err(), "nobody guesses an address: {text}");
    if let Ok(tag) = text.parse::<SenderTag>() {
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }
    let Ok(recipient) = Recipient::from_bytes(&bytes) else { return false };
    assert_eq!(recipient.to_bytes(), bytes);
    assert_eq!(recipient.to_string().parse(), Ok(recipient));
    true
}

fn final_payload(input: &mut Input<'_>) -> bool {
    let size = PacketSize::ALL[input.below(5)];
    let len = [0, 18, 19, 404, 405, 406, size.message_len()][input.below(7)];
    let mut bytes = input.stretched(len);
    if let Some(family) = bytes.first_mut() {
        *family = [4, 6, 0, 5][input.below(4)];
    }
    let Some(payload) = FinalPayload::parse(size, &bytes) else { return false };
    match payload.ack {
        None => assert!(size == PacketSize::Ack && payload.message == bytes),
        Some(ack) => {
            assert_eq!(ack.packet[..], bytes[19..ACK_PART]);
            assert_eq!(payload.message, &bytes[ACK_PART..]);
        }
    }
    true
}

/// What a gateway pushes, for this client or for nobody, as an acknowledgement, a reply or neither.
fn pushed(input: &mut Input<'_>) -> bool {
    thread_local!(static KEYS: OnceCell<ClientKeys> = const { OnceCell::new() });
    let len = [0, ACK - 1, ACK, ACK + 1, 31, 32, 33, 60, 1643][input.below(9)];
    let (mut bytes, is_reply) = (input.stretched(len), input.below(2) == 0);
    let key = ReplyKey::from_bytes([7; 16]);
    KEYS.with(|keys| {
        let generate = || ClientKeys::generate(&mut StdRng::seed_from_u64(1));
        let keys = keys.get_or_init(generate);
        match receive(keys, &mut bytes, |_| is_reply.then_some(key)) {
            Ok(Received::Ack(_)) => assert_eq!(len, ACK),
            Ok(Received::ReplyFragment(_)) => assert!(is_reply),
            Ok(Received::Fragment(_) | Received::Cover) => assert!(!is_reply),
            Err(_) => return false,
        }
        true
    })
}

/// Any fragments in any order, beside those of one message, which comes through if the assembler is
/// not pressed for room.
fn assembly(input: &mut Input<'_>) -> bool {
    let roomy = input.below(2) == 0;
    let limits = AssemblyLimits {
        bytes: if roomy { 1 << 20 } else { [2500, 4000][input.below(2)] },
        sets: if roomy { 100 } else { 3 },
        remembered: input.below(4) + 1,
        timeout: Span::from_millis(1000),
    };
    let mut assembler = Assembler::new(limits);
    let mut rng = StdRng::seed_from_u64(input.byte().into());
    let data = input.stretched(4000);
    let sent = Message::Plain(data.clone()).encode();
    let mut parts = split(sent, PacketSize::Regular, &mut rng);
    let mut complete = None;
    while !parts.is_empty() {
        let part = match input.below(3) {
            _ if input.is_empty() => parts.swap_remove(0),
            0 => parts.swap_remove(0),
            _ => match Fragment::parse(&fragment_bytes(input)) {
                Ok(part) => part,
                Err(_) => parts.swap_remove(parts.len() - 1),
            },
        };
        let now = Time::from_nanos(u64::from(input.byte()));
        if let Assembled::Complete(padded) = assembler.insert(part, now)
            && padded.len() > data.len()
        {
            complete = unpad(padded);
        }
        assert!(assembler.bytes() <= limits.bytes);
    }
    let whole = complete.is_some_and(
        |bytes| matches!(Message::parse(&bytes), Ok(Message::Plain(read)) if read == data),
    );
    assert!(whole || !roomy, "with room enough strangers' fragments keep no message from coming");
    assembler.expire(Time::from_nanos(2_000_000_000));
    assert_eq!((assembler.bytes(), assembler.expires_at()), (0, None));
    whole
}
