use ed25519_dalek::SigningKey;
use phix_engine::wire::frame::KeyRotation;

use super::authentication::AuthenticationError;
use super::binary::{BinaryError, Forward, open_pushed, seal_pushed};
use super::*;

const NONCE_7: Nonce = [7; NONCE];

fn key() -> SharedKey {
    SharedKey::from_bytes([3; 32])
}

#[test]
fn packets_come_through_in_both_forms() {
    for (len, hop) in [(386, "1.2.3.4:5"), (2413, "[2::1]:1789"), (33133, "127.0.0.1:1")] {
        for version in OLDEST_VERSION..=CURRENT_VERSION {
            let packet = vec![0xab; len];
            let sent = Forward::new(hop.parse().unwrap(), KeyRotation::Odd, &packet).unwrap();
            let mut message = sent.seal(version, &key(), &NONCE_7);
            let read = Forward::open(&key(), &mut message).unwrap();
            assert_eq!(
                (read.next_hop, read.packet, read.size),
                (sent.next_hop, &*packet, sent.size)
            );
            let old = version < KEY_ROTATION_VERSION;
            let expected = if old { KeyRotation::Unknown } else { KeyRotation::Odd };
            assert_eq!(read.rotation, expected);
        }
    }
}

#[test]
fn changed_binary_messages_are_refused() {
    let packet = vec![1; 386];
    let sent = Forward::new("1.2.3.4:5".parse().unwrap(), KeyRotation::Even, &packet).unwrap();
    let sealed = sent.seal(CURRENT_VERSION, &key(), &NONCE_7);
    for byte in 0..sealed.len() {
        let mut message = sealed.clone();
        message[byte] ^= 1 << (byte % 8);
        assert!(Forward::open(&key(), &mut message).is_err(), "byte {byte}");
    }
    for len in 0..sealed.len() {
        assert!(Forward::open(&key(), &mut sealed.clone()[..len]).is_err(), "{len} bytes");
    }
    let other = SharedKey::from_bytes([4; 32]);
    assert_eq!(Forward::open(&other, &mut { sealed }), Err(BinaryError::NotSealed));
}

#[test]
fn malformed_contents_are_refused_by_name() {
    let seal = |kind: u8, content: &[u8]| {
        let mut message = vec![kind, 1];
        message.extend_from_slice(&NONCE_7);
        message.extend_from_slice(&key().seal(&NONCE_7, content));
        message
    };
    let long = |head: &[u8], len: usize| [head, &vec![0; len]].concat();
    for (kind, content, error) in [
        (0, vec![], BinaryError::Kind(0)),
        (3, vec![], BinaryError::Kind(3)),
        (1, vec![], BinaryError::TooShort),
        (2, vec![0], BinaryError::TooShort),
        (1, vec![2; 400], BinaryError::PacketType(2)),
        (2, long(&[0, 3], 400), BinaryError::KeyRotation(3)),
        (2, long(&[0, 1, 5], 400), BinaryError::Address),
        (1, long(&[0], 400), BinaryError::Address),
        (2, vec![0, 1, 4, 1, 2, 3], BinaryError::TooShort),
        (2, long(&[0, 1, 4, 0, 9, 1, 2, 3, 4], 387), BinaryError::PacketLength(387)),
        (1, long(&[0, 4, 0, 9, 1, 2, 3, 4], 0), BinaryError::PacketLength(0)),
    ] {
        assert_eq!(Forward::open(&key(), &mut seal(kind, &content)), Err(error));
    }
    let mut open = vec![2, 0];
    open.resize(500, 0);
    assert_eq!(Forward::open(&key(), &mut open), Err(BinaryError::NotSealed));
}

#[test]
fn pushed_messages_come_through() {
    for message in [&b""[..], b"acknowledged", &[9; 33_000]] {
        let mut sealed = seal_pushed(&key(), &NONCE_7, message);
        assert_eq!(open_pushed(&key(), &mut sealed), Ok(message));
    }
}

#[test]
fn an_authentication_holds_for_its_client_its_time_and_once() {
    let identity = SigningKey::from_bytes(&[5; 32]);
    let sent = Authentication::new(6, &key(), &identity, NONCE_7, 1_000);
    for now in [880, 1_000, 1_120] {
        assert_eq!(sent.verify(&key(), now, Some(999)), Ok(()));
    }
    for now in [0, 879, 1_121, u64::MAX] {
        let refused = AuthenticationError::Skew { sent: 1_000, now };
        assert_eq!(sent.verify(&key(), now, None), Err(refused));
    }
    for last in [1_000, 1_001] {
        let refused = sent.verify(&key(), 1_000, Some(last));
        assert_eq!(refused, Err(AuthenticationError::Replayed));
    }
    let other = SharedKey::from_bytes([4; 32]);
    assert_eq!(sent.verify(&other, 1_000, None), Err(AuthenticationError::Ciphertext));
    let changes: [fn(&mut Authentication); 5] = [
        |it| it.protocol_version = 5,
        |it| it.client_identity = SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes(),
        |it| it.address_ciphertext.push(0),
        |it| it.nonce[0] ^= 1,
        |it| it.request_unix_timestamp += 1,
    ];
    for change in changes {
        let mut changed = sent.clone();
        change(&mut changed);
        assert_eq!(changed.verify(&key(), 1_000, None), Err(AuthenticationError::Signature));
    }
}

#[test]
fn sealed_requests_come_through() {
    let forget = PrivateRequest::ForgetMe { client: true, stats: false };
    let ClientRequest::EncryptedRequest { ciphertext, nonce } = forget.seal(&key(), NONCE_7) else {
        panic!("a sealed request is an encrypted request");
    };
    assert_eq!(PrivateRequest::open(&key(), &ciphertext, &nonce), Ok(forget));
    assert_eq!(PrivateRequest::open(&key(), &ciphertext[1..], &nonce), Err(SealedError::NotSealed));
    assert_eq!(PrivateRequest::open(&key(), &ciphertext, &nonce[1..]), Err(SealedError::Nonce));
    let newer = key().seal(&NONCE_7, br#"{"RememberMe":{"session_type":"Teleport"}}"#);
    let read = PrivateRequest::open(&key(), &newer, &NONCE_7);
    assert_eq!(read, Ok(PrivateRequest::RememberMe { session_type: SessionType::Unknown }));
}

#[test]
fn debug_output_shows_no_key() {
    assert_eq!(format!("{:?}", key()), "SharedKey(..)");
}
