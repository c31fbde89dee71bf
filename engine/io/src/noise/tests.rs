//! Two ends of our own, with everything that can go wrong between them; and the same protocol by
//! another library, which has the records to itself.

use phix_engine::secret::NodeSecret;
use sha2::{Digest, Sha256};
use snow::{Builder, HandshakeState, TransportState};

use super::record::{BODY_MAX, HEADER_LEN, Kind, Pattern, RecordHeader, TAG_LEN};
use super::*;

const PATTERNS: [Pattern; 2] = [Pattern::XkPsk3, Pattern::IkPsk2];

fn key(byte: u8) -> NoiseKey {
    NoiseKey::new(NodeSecret::from_bytes([byte; 32]))
}

/// What both ends of a handshake have.
struct Ends {
    initiator: Session,
    responder: Session,
}

/// Lets two ends talk, each message in pieces of `step` bytes.
fn talk(
    (mut initiator, first): (Greeting, Message),
    mut responder: Greeting,
    step: usize,
) -> Result<Ends, GreetingError> {
    let (mut ours, mut theirs) = (None, None);
    let mut message = Some(first);
    let mut to_responder = true;
    while let Some(bytes) = message.take() {
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            let end = if to_responder { &mut responder } else { &mut initiator };
            match end.hear(&mut rest)? {
                Heard::Part => {}
                Heard::Reply(reply) => message = Some(reply),
                Heard::Done(reply, session) => {
                    message = reply;
                    *(if to_responder { &mut theirs } else { &mut ours }) = Some(*session);
                }
            }
            assert!(rest.is_empty(), "a handshake takes all bytes of its messages");
        }
        to_responder = !to_responder;
    }
    let (initiator, responder) = (ours.unwrap(), theirs.unwrap());
    Ok(Ends { initiator, responder })
}

fn ends(pattern: Pattern) -> Ends {
    let (one, two) = (key(1), key(2));
    let begun = Greeting::initiate(&one, pattern, two.public()).unwrap();
    talk(begun, Greeting::respond(&two, pattern, Some(*one.public())), 1000).unwrap()
}

fn seal(sealer: &mut Sealer, text: &[u8]) -> Vec<u8> {
    let mut record = [&[0; HEADER_LEN], text, &[0; TAG_LEN]].concat();
    sealer.seal(&mut record).unwrap();
    record
}

#[test]
fn another_reader_goes_on_where_one_stopped() {
    for pattern in PATTERNS {
        let Ends { mut initiator, responder } = ends(pattern);
        let records: Vec<u8> =
            (0..3).flat_map(|byte| seal(&mut initiator.sealer, &[byte; 40])).collect();
        let mut reader = Reader::new(responder.opener);
        let (mut gathering, mut text) = (Gathering::default(), Vec::new());
        for &byte in &records {
            reader
                .push(&mut [byte], &mut gathering, |some| {
                    text.extend_from_slice(some);
                    Ok::<_, ()>(some.len())
                })
                .unwrap();
            let (key, mut bytes) = reader.begun().expect("no plaintext waits");
            reader.finish(&mut gathering);
            reader = Reader::resume(key);
            let used = reader.push(&mut bytes, &mut gathering, |_| Err(())).unwrap();
            assert_eq!(used, bytes.len());
        }
        assert_eq!(text, [[0; 40], [1; 40], [2; 40]].concat());
    }
}

/// Feeds a reader piece by piece; gives what came out.
fn read(reader: &mut Reader, bytes: &[u8], step: usize) -> Result<Vec<u8>, RecordError<()>> {
    let mut gathering = Gathering::default();
    let mut text = Vec::new();
    for piece in bytes.chunks(step) {
        let mut piece = piece.to_vec();
        let used = reader.push(&mut piece, &mut gathering, |some| {
            text.extend_from_slice(some);
            Ok(some.len())
        })?;
        assert_eq!(used, piece.len());
    }
    assert!(!reader.is_inside());
    Ok(text)
}

#[test]
fn two_ends_agree_however_their_messages_are_cut() {
    for pattern in PATTERNS {
        for step in 1..=104 {
            let (one, two) = (key(1), key(2));
            let begun = Greeting::initiate(&one, pattern, two.public()).unwrap();
            let responder = Greeting::respond(&two, pattern, Some(*one.public()));
            let mut ends = talk(begun, responder, step).unwrap();
            let record = seal(&mut ends.initiator.sealer, b"there");
            let mut reader = Reader::new(ends.responder.opener);
            assert_eq!(read(&mut reader, &record, 100).unwrap(), b"there");
            let record = seal(&mut ends.responder.sealer, b"and back");
            let mut reader = Reader::new(ends.initiator.opener);
            assert_eq!(read(&mut reader, &record, 100).unwrap(), b"and back");
        }
    }
}

#[test]
fn every_message_with_a_bit_turned_ends_the_handshake() {
    for pattern in PATTERNS {
        let messages = if pattern == Pattern::XkPsk3 { 3 } else { 2 };
        for turned in 0..messages {
            for at in 0..48 + HEADER_LEN {
                // What is reserved in a header may change.
                if !(5..HEADER_LEN).contains(&at) {
                    assert!(turned_handshake(pattern, turned, at), "message {turned}, byte {at}");
                }
            }
        }
    }
}

/// Whether a handshake fails, or waits for more, if byte `at` of message `turned` is another.
fn turned_handshake(pattern: Pattern, turned: usize, at: usize) -> bool {
    let (one, two) = (key(1), key(2));
    let (mut initiator, first) = Greeting::initiate(&one, pattern, two.public()).unwrap();
    let mut responder = Greeting::respond(&two, pattern, Some(*one.public()));
    let mut message = first;
    for number in 0.. {
        if number == turned {
            message[at] ^= 0x40;
        }
        let end = if number % 2 == 0 { &mut responder } else { &mut initiator };
        match end.hear(&mut &message[..]) {
            Err(_) => return number == turned,
            Ok(Heard::Part) => return number == turned && (3..5).contains(&at),
            Ok(Heard::Reply(reply) | Heard::Done(Some(reply), _)) => message = reply,
            Ok(Heard::Done(None, _)) => return false,
        }
    }
    unreachable!("handshakes end")
}

#[test]
fn the_responder_knows_whom_it_speaks_with() {
    for pattern in PATTERNS {
        let (one, two, three) = (key(1), key(2), key(3));
        // Of the key of another node than the one at its address.
        let begun = Greeting::initiate(&three, pattern, two.public()).unwrap();
        let ended = talk(begun, Greeting::respond(&two, pattern, Some(*one.public())), 1000);
        assert_eq!(ended.err(), Some(GreetingError::Stranger));
        // For another responder, and with another pre-shared key by that.
        let begun = Greeting::initiate(&one, pattern, three.public()).unwrap();
        let ended = talk(begun, Greeting::respond(&two, pattern, Some(*one.public())), 1000);
        assert_eq!(ended.err(), Some(GreetingError::Message));
    }
}

#[test]
fn both_ends_speak_one_pattern() {
    for (ours, theirs) in [(PATTERNS[0], PATTERNS[1]), (PATTERNS[1], PATTERNS[0])] {
        let (one, two) = (key(1), key(2));
        let begun = Greeting::initiate(&one, ours, two.public()).unwrap();
        let ended = talk(begun, Greeting::respond(&two, theirs, Some(*one.public())), 1000);
        assert_eq!(ended.err(), Some(GreetingError::Record));
    }
}

#[test]
fn a_handshake_has_no_other_records_and_no_long_ones() {
    let (one, two) = (key(1), key(2));
    let head = |kind, len| RecordHeader { pattern: Pattern::XkPsk3, kind, len }.bytes();
    let heard = |bytes: &[u8]| {
        Greeting::respond(&two, Pattern::XkPsk3, Some(*one.public())).hear(&mut &bytes[..]).err()
    };
    assert_eq!(heard(&head(Kind::Data, 48)), Some(GreetingError::Record));
    assert_eq!(heard(&head(Kind::Handshake, 129)), Some(GreetingError::Record));
    assert_eq!(heard(&head(Kind::Handshake, 0)), Some(GreetingError::Message));
    assert_eq!(heard(&head(Kind::Handshake, 128)), None);
    // What a node says that knows nothing of Noise.
    assert_eq!(heard(&[8, 1, 0, 0, 9, 9, 9, 9]), Some(GreetingError::Record));
}

/// A key with which every shared secret is zero.
#[test]
fn a_useless_key_is_no_panic() {
    let one = key(1);
    for pattern in PATTERNS {
        // Whether the library refuses it at once or goes on is its matter.
        let _begun = Greeting::initiate(&one, pattern, &[0; 32]);
    }
}

#[test]
fn records_cut_anywhere_and_of_any_length() {
    for pattern in PATTERNS {
        let lengths = [0, 1, 15, 16, 17, 390, 2417, 4080, 4081, 5000];
        for step in (1..40).chain([2440, 2441, 4096, 4105, 100_000]) {
            let Ends { mut initiator, responder } = ends(pattern);
            let texts = lengths.map(|len| vec![len as u8; len]);
            let stream: Vec<u8> =
                texts.iter().flat_map(|text| seal(&mut initiator.sealer, text)).collect();
            let mut reader = Reader::new(responder.opener);
            assert_eq!(read(&mut reader, &stream, step).unwrap(), texts.concat(), "{step}");
        }
        let Ends { mut initiator, responder } = ends(pattern);
        let longest = vec![5; BODY_MAX - TAG_LEN];
        let stream = [seal(&mut initiator.sealer, &longest), seal(&mut initiator.sealer, b"x")];
        let mut reader = Reader::new(responder.opener);
        let got = read(&mut reader, &stream.concat(), 16 * 1024).unwrap();
        assert_eq!(got, [&longest[..], b"x"].concat());
    }
}

#[test]
fn what_has_no_room_waits_and_comes_whole() {
    let Ends { mut initiator, responder } = ends(Pattern::XkPsk3);
    let text: Vec<u8> = (0..200_u8).cycle().take(9_000).collect();
    let stream: Vec<u8> =
        text.chunks(4500).flat_map(|part| seal(&mut initiator.sealer, part)).collect();
    let (mut reader, mut gathering) = (Reader::new(responder.opener), Gathering::default());
    let (mut got, mut rest) = (Vec::new(), stream);
    let mut turns = 0;
    while got.len() < text.len() {
        turns += 1;
        let mut room = 7;
        let step = rest.len().min(3000);
        let used = reader.push(&mut rest[..step], &mut gathering, |some| {
            let taken = some.len().min(room);
            room -= taken;
            got.extend_from_slice(&some[..taken]);
            Ok::<_, ()>(taken)
        });
        assert!(used == Ok(step) || reader.waits());
        rest.drain(..used.unwrap());
    }
    assert!(turns > 1000 && got == text);
    assert!(!reader.is_inside());
    assert_eq!(gathering.large_lent(), 0);
}

#[test]
fn a_record_with_a_bit_turned_is_refused_in_every_part() {
    for pattern in PATTERNS {
        let len = HEADER_LEN + 20 + TAG_LEN;
        for at in (0..5).chain(HEADER_LEN..len) {
            for step in [1, 7, 1000] {
                let Ends { mut initiator, responder } = ends(pattern);
                let mut stream = seal(&mut initiator.sealer, &[3; 20]);
                // If the length grows, this is what it grows into.
                stream.extend(vec![0; BODY_MAX]);
                stream[at] ^= 1;
                let mut reader = Reader::new(responder.opener);
                assert_eq!(read(&mut reader, &stream, step), Err(RecordError::Forged), "{at}");
            }
        }
    }
}

#[test]
fn records_come_once_in_order_and_from_the_other_end() {
    for pattern in PATTERNS {
        let forged = |stream: &[Vec<u8>], opener| {
            let ended = read(&mut Reader::new(opener), &stream.concat(), 1000);
            assert_eq!(ended, Err(RecordError::Forged));
        };
        let Ends { mut initiator, responder } = ends(pattern);
        let first = seal(&mut initiator.sealer, b"first");
        let second = seal(&mut initiator.sealer, b"second");
        forged(&[first.clone(), first], responder.opener);
        forged(&[second], ends(pattern).responder.opener);
        // Of one's own, sent back.
        let Ends { mut initiator, .. } = ends(pattern);
        forged(&[seal(&mut initiator.sealer, b"mine")], initiator.opener);
        // Handshake records, other patterns, and bodies shorter than a tag have no place here.
        let heads = [
            RecordHeader { pattern, kind: Kind::Handshake, len: 48 },
            RecordHeader { pattern: other(pattern), kind: Kind::Data, len: 48 },
            RecordHeader { pattern, kind: Kind::Data, len: 15 },
        ];
        for head in heads {
            let record = [&head.bytes()[..], &[0; 48]].concat();
            forged(&[record], ends(pattern).responder.opener);
        }
    }
}

fn other(pattern: Pattern) -> Pattern {
    if pattern == Pattern::XkPsk3 { Pattern::IkPsk2 } else { Pattern::XkPsk3 }
}

#[test]
fn nonces_end_and_are_never_used_twice() {
    for pattern in PATTERNS {
        let Ends { mut initiator, responder } = ends(pattern);
        let mut opener = responder.opener;
        initiator.sealer.skip_to(u64::MAX - 1);
        opener.skip_to(u64::MAX - 1);
        let mut record = seal(&mut initiator.sealer, b"last");
        assert_eq!(opener.open(&mut record[HEADER_LEN..]), Ok(&mut [*b"last"][0][..]));
        assert_eq!(initiator.sealer.seal(&mut record), Err(Exhausted));
        assert_eq!(opener.open(&mut record[HEADER_LEN..]), Err(Forged));
    }
}

#[test]
fn large_buffers_are_bounded_and_come_back() {
    let (mut gathering, mut readers) = (Gathering::default(), Vec::new());
    let Ends { mut initiator, .. } = ends(Pattern::XkPsk3);
    let record = seal(&mut initiator.sealer, &[0; 5000]);
    let mut crowded = false;
    while !crowded {
        assert!(readers.len() <= 256, "no bound");
        let mut reader = Reader::new(ends(Pattern::XkPsk3).responder.opener);
        let pushed = reader
            .push(&mut record[..100].to_vec(), &mut gathering, |text| Ok::<_, ()>(text.len()));
        crowded = pushed == Err(RecordError::Crowded);
        readers.push(reader);
    }
    assert_eq!(gathering.large_lent(), 256);
    readers.iter_mut().for_each(|reader| reader.finish(&mut gathering));
    assert_eq!(gathering.large_lent(), 0);
}

#[test]
fn what_may_be_read_at_once_fits_or_ends_the_record() {
    let Ends { mut initiator, responder } = ends(Pattern::XkPsk3);
    let mut record = seal(&mut initiator.sealer, &[0; 5000]);
    let (mut reader, mut gathering) = (Reader::new(responder.opener), Gathering::default());
    assert_eq!(reader.allowance(700), 700);
    let mut none = |_: &[u8]| Ok::<_, ()>(0);
    reader.push(&mut record[..HEADER_LEN + 1000], &mut gathering, &mut none).unwrap();
    assert_eq!(reader.allowance(100_000), 99_000);
    assert_eq!(reader.allowance(700), 4016);
}

#[test]
fn whom_is_spoken_to() {
    let peers: NoisePeers = [("::ffff:10.0.0.1".parse().unwrap(), [7; 32])].into_iter().collect();
    let noise = |key, plain| Noise {
        key,
        pattern: Pattern::XkPsk3,
        peers: std::sync::Arc::new(peers.clone()),
        plain,
    };
    let own = || Some(std::sync::Arc::new(key(1)));
    let (known, unknown) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let mapped = "::ffff:10.0.0.1".parse().unwrap();
    let with = noise(own(), Plain::Allowed);
    for address in [known, mapped, unknown] {
        let begin = with.accepted(address);
        let Begin::Noise(Answer::Either(either)) = begin else { panic!("{begin:?}") };
        // A frame of either version, a handshake, and what is neither.
        assert_eq!(
            [7, 8, 1, 0, 2].map(|first| either.told_by(first).is_some()),
            [false, false, true, false, false]
        );
    }
    assert!(matches!(with.connected(known), Ok(Begin::Noise(_))));
    assert!(matches!(with.connected(unknown), Ok(Begin::Plain)));
    let only = noise(own(), Plain::Refused);
    for address in [known, mapped] {
        assert!(matches!(only.accepted(address), Begin::Noise(Answer::Greeting(_))));
    }
    assert!(matches!(only.accepted(unknown), Begin::Refused));
    assert!(matches!(only.connected(unknown), Ok(Begin::Refused)));
    assert!(only.speaks_with(known) && !only.speaks_with(unknown) && with.speaks_with(unknown));
    let without = noise(None, Plain::Allowed);
    assert!(matches!(without.accepted(known), Begin::Plain));
}

/// The other end is snow, with its own transport, and a pre-shared key made here by hand.
fn snow(pattern: Pattern, remote: Option<&[u8; 32]>, responder: &[u8; 32]) -> HandshakeState {
    let prefix = b"NYMTECH_NOISE_dQw4w9WgXcQ";
    let psk = Sha256::digest([&prefix[..], &responder[..]].concat()).into();
    let secret = if remote.is_some() { [1; 32] } else { [2; 32] };
    let (name, position) = match pattern {
        Pattern::XkPsk3 => ("Noise_XKpsk3_25519_AESGCM_SHA256", 3),
        Pattern::IkPsk2 => ("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", 2),
    };
    let builder = Builder::new(name.parse().unwrap()).local_private_key(&secret).unwrap();
    let builder = builder.psk(position, &psk).unwrap();
    match remote {
        Some(key) => builder.remote_public_key(key).unwrap().build_initiator().unwrap(),
        None => builder.build_responder().unwrap(),
    }
}

fn record(pattern: Pattern, kind: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [&[1, pattern as u8, kind, len[0], len[1], 0, 0, 0], body].concat()
}

/// A handshake of ours with one of snow's; says what both have.
fn mixed(pattern: Pattern, ours_initiates: bool) -> (Session, TransportState) {
    let (one, two) = (key(1), key(2));
    let mut theirs = snow(pattern, (!ours_initiates).then_some(two.public()), two.public());
    let mut body = [0; 1024];
    let (mut ours, mut message) = if ours_initiates {
        let (greeting, first) = Greeting::initiate(&one, pattern, two.public()).unwrap();
        theirs.read_message(&first[HEADER_LEN..], &mut body).unwrap();
        (greeting, None)
    } else {
        (Greeting::respond(&two, pattern, Some(*one.public())), None::<Vec<u8>>)
    };
    loop {
        if theirs.is_my_turn() && !theirs.is_handshake_finished() {
            let len = theirs.write_message(&[], &mut body).unwrap();
            message = Some(record(pattern, 0, &body[..len]));
        }
        let sent = message.take().expect("a message is under way until the end");
        let (reply, session) = match ours.hear(&mut &sent[..]).unwrap() {
            Heard::Part => panic!("the message was whole"),
            Heard::Reply(reply) => (Some(reply), None),
            Heard::Done(reply, session) => (reply, Some(session)),
        };
        if let Some(reply) = reply {
            assert_eq!(reply[..3], [1, pattern as u8, 0]);
            theirs.read_message(&reply[HEADER_LEN..], &mut [0; 1024]).unwrap();
        }
        if let Some(session) = session {
            return (*session, theirs.into_transport_mode().unwrap());
        }
    }
}

#[test]
fn another_library_reads_and_writes_our_records() {
    for pattern in PATTERNS {
        for ours_initiates in [true, false] {
            let (mut session, mut theirs) = mixed(pattern, ours_initiates);
            let mut reader = Reader::new(session.opener);
            // More than 256, so that the order of a nonce's bytes counts.
            for number in 0..600_u32 {
                let text = number.to_le_bytes();
                let sealed = seal(&mut session.sealer, &text);
                let mut got = [0; 64];
                let len = theirs.read_message(&sealed[HEADER_LEN..], &mut got).unwrap();
                assert_eq!(got[..len], text);
                let len = theirs.write_message(&text, &mut got).unwrap();
                let sealed = record(pattern, 1, &got[..len]);
                assert_eq!(read(&mut reader, &sealed, 64).unwrap(), text);
            }
        }
    }
}
