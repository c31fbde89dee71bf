use ed25519_dalek::SigningKey;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::{CURRENT_VERSION, OLDEST_VERSION, SharedKey};
use super::*;

fn payload(message: &mut HandshakeMessage) -> (&mut u8, &mut Vec<u8>) {
    match message {
        HandshakeMessage::HandshakePayload { protocol_version, data } => (protocol_version, data),
        HandshakeMessage::HandshakeError { message } => panic!("{message}"),
    }
}

/// Runs a handshake in which `tamper` may change each of the four messages.
fn run(
    proposed: u8,
    mut tamper: impl FnMut(usize, &mut HandshakeMessage),
) -> Result<(SharedKey, u8, Registration), (usize, HandshakeError)> {
    let mut rng = StdRng::seed_from_u64(7);
    let client = SigningKey::from_bytes(&[1; 32]);
    let gateway = SigningKey::from_bytes(&[2; 32]);
    let (state, mut first) =
        ClientHandshake::start(&client, gateway.verifying_key(), proposed, &mut rng);
    tamper(1, &mut first);
    let (version, data) = payload(&mut first);
    let (server, mut second) =
        GatewayHandshake::start(&gateway, *version, data, &mut rng).map_err(|error| (1, error))?;
    tamper(2, &mut second);
    let (finish, mut third) = state.answer(&second, &mut rng).map_err(|error| (2, error))?;
    tamper(3, &mut third);
    let (registration, mut last) = server.finish(&third).map_err(|error| (3, error))?;
    tamper(4, &mut last);
    let (key, version) = finish.finish(&last).map_err(|error| (4, error))?;
    Ok((key, version, registration))
}

#[test]
fn both_sides_end_with_one_key_and_one_version() {
    for proposed in OLDEST_VERSION..=u8::MAX {
        let (key, version, registration) = run(proposed, |_, _| ()).unwrap();
        assert_eq!(key, registration.key);
        assert_eq!(version, proposed.min(CURRENT_VERSION));
        assert_eq!(version, registration.version);
        assert_eq!(
            registration.client,
            SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes()
        );
    }
    for proposed in 0..OLDEST_VERSION {
        assert_eq!(run(proposed, |_, _| ()).unwrap_err(), (1, HandshakeError::Version(proposed)));
    }
}

#[test]
fn a_changed_byte_ends_the_handshake() {
    for (message, len) in [(1, 80), (2, 124), (3, 92), (4, 1)] {
        for byte in 0..len {
            let result = run(CURRENT_VERSION, |number, text| {
                if number == message {
                    payload(text).1[byte] ^= 0x40;
                }
            });
            // The gateway cannot tell a wrong identity or salt before the client answers.
            let (at, _) = result.expect_err("a changed message was taken");
            assert!(at >= message, "message {message}, byte {byte}: noticed at {at}");
        }
    }
}

#[test]
fn other_lengths_are_refused() {
    for (message, len) in [(1, 80), (2, 124), (3, 92), (4, 1)] {
        for other in [0, len - 1, len + 1, 4096] {
            let result = run(CURRENT_VERSION, |number, text| {
                if number == message {
                    payload(text).1.resize(other, 0);
                }
            });
            let expected = HandshakeError::Length { received: other, expected: len };
            assert_eq!(result.unwrap_err(), (message, expected));
        }
    }
}

#[test]
fn a_key_that_anyone_knows_is_refused() {
    for (message, key) in [(1, 32..64), (2, 0..32)] {
        let result = run(CURRENT_VERSION, |number, text| {
            if number == message {
                payload(text).1[key.clone()].fill(0);
            }
        });
        assert_eq!(result.unwrap_err(), (message, HandshakeError::Key));
    }
}

#[test]
fn the_other_sides_reason_is_told() {
    for at in [2, 3, 4] {
        let over = HandshakeMessage::HandshakeError { message: "no room".into() };
        let result = run(CURRENT_VERSION, |number, text| {
            if number == at {
                *text = over.clone();
            }
        });
        assert_eq!(result.unwrap_err(), (at, HandshakeError::Remote("no room".into())));
    }
}
