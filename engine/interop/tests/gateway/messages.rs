use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nym_gateway_requests::text_request::{ClientControlRequest, ClientRequest as TheirPrivate};
use nym_gateway_requests::{
    BandwidthResponse, GatewayRequestsError, RegistrationHandshake, SendResponse,
    SensitiveServerResponse, ServerResponse as TheirResponse, SimpleGatewayRequestsError,
};
use nym_statistics_common::types::SessionType as TheirSession;
use phix_proto::gateway::authentication::AuthenticationError;
use phix_proto::gateway::registration::HandshakeMessage;
use phix_proto::gateway::{
    Authentication, ClientRequest, PrivateRequest, PrivateResponse, ServerResponse, SessionType,
    TypedError,
};
use serde_json::Value;

use crate::common::{identity, shared};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// One message, as each side writes it: the texts say the same, and each side reads the other's.
fn same_request(ours: &ClientRequest, theirs: ClientControlRequest) {
    let name = theirs.name();
    let theirs: String = theirs.try_into().unwrap();
    assert_eq!(json(&ours.to_text()), json(&theirs), "{name}");
    assert_eq!(&ClientRequest::parse(&theirs).unwrap(), ours, "{name}");
    let read = ClientControlRequest::try_from(ours.to_text()).unwrap();
    assert_eq!(read.name(), name);
    let again: String = read.try_into().unwrap();
    assert_eq!(json(&again), json(&theirs), "{name}");
}

#[test]
fn every_request_is_written_and_read_alike() {
    let bytes = || vec![0, 1, 127, 128, 255];
    let text = || "text".to_owned();
    let nonce = || vec![7; 12];
    same_request(&ClientRequest::SupportedProtocol {}, ClientControlRequest::SupportedProtocol {});
    same_request(
        &ClientRequest::ClaimFreeTestnetBandwidth,
        ClientControlRequest::ClaimFreeTestnetBandwidth,
    );
    same_request(
        &ClientRequest::RegisterHandshakeInitRequest { protocol_version: 6, data: bytes() },
        ClientControlRequest::RegisterHandshakeInitRequest { protocol_version: 6, data: bytes() },
    );
    same_request(
        &ClientRequest::EcashCredential { enc_credential: bytes(), nonce: nonce() },
        ClientControlRequest::EcashCredential { enc_credential: bytes(), nonce: nonce() },
    );
    same_request(
        &ClientRequest::UpgradeModeJWT { token: text() },
        ClientControlRequest::UpgradeModeJWT { token: text() },
    );
    same_request(
        &ClientRequest::EncryptedRequest { ciphertext: bytes(), nonce: nonce() },
        ClientControlRequest::EncryptedRequest { ciphertext: bytes(), nonce: nonce() },
    );
    for version in [None, Some(3)] {
        same_request(
            &ClientRequest::Authenticate {
                protocol_version: version,
                address: text(),
                enc_address: text(),
                iv: text(),
            },
            ClientControlRequest::Authenticate {
                protocol_version: version,
                address: text(),
                enc_address: text(),
                iv: text(),
            },
        );
    }
    same_request(
        &ClientRequest::BandwidthCredential { enc_credential: bytes(), iv: nonce() },
        ClientControlRequest::BandwidthCredential { enc_credential: bytes(), iv: nonce() },
    );
    same_request(
        &ClientRequest::BandwidthCredentialV2 { enc_credential: bytes(), iv: nonce() },
        ClientControlRequest::BandwidthCredentialV2 { enc_credential: bytes(), iv: nonce() },
    );
}

#[test]
fn every_response_is_written_and_read_alike() {
    let pairs = [
        (
            ServerResponse::SupportedProtocol { version: 6 },
            TheirResponse::SupportedProtocol { version: 6 },
        ),
        (
            ServerResponse::Authenticate {
                protocol_version: 5,
                status: true,
                bandwidth_remaining: -1,
                upgrade_mode: false,
            },
            TheirResponse::Authenticate {
                protocol_version: 5,
                status: true,
                bandwidth_remaining: -1,
                upgrade_mode: false,
            },
        ),
        (
            ServerResponse::Register { protocol_version: 6, status: true, upgrade_mode: true },
            TheirResponse::Register { protocol_version: 6, status: true, upgrade_mode: true },
        ),
        (
            ServerResponse::EncryptedResponse { ciphertext: vec![1, 2], nonce: vec![3; 12] },
            TheirResponse::EncryptedResponse { ciphertext: vec![1, 2], nonce: vec![3; 12] },
        ),
        (
            ServerResponse::Bandwidth { available_total: i64::MAX, upgrade_mode: false },
            TheirResponse::Bandwidth(BandwidthResponse {
                available_total: i64::MAX,
                upgrade_mode: false,
            }),
        ),
        (
            ServerResponse::Send { remaining_bandwidth: 42, upgrade_mode: true },
            TheirResponse::Send(SendResponse { remaining_bandwidth: 42, upgrade_mode: true }),
        ),
        (ServerResponse::error("why"), TheirResponse::new_error("why")),
        (
            ServerResponse::TypedError {
                error: TypedError::OutOfBandwidth { required: 2413, available: 5 },
            },
            TheirResponse::TypedError {
                error: SimpleGatewayRequestsError::OutOfBandwidth { required: 2413, available: 5 },
            },
        ),
        (
            ServerResponse::TypedError { error: TypedError::TicketReplay },
            TheirResponse::TypedError { error: SimpleGatewayRequestsError::TicketReplay },
        ),
    ];
    for (ours, theirs) in pairs {
        let written = serde_json::to_string(&theirs).unwrap();
        assert_eq!(json(&ours.to_text()), json(&written));
        assert_eq!(ServerResponse::parse(&written).unwrap(), ours);
        assert_eq!(TheirResponse::try_from(ours.to_text()).unwrap(), theirs);
    }
}

#[test]
fn fields_that_older_versions_lack_are_read_as_absent() {
    let text = r#"{"type":"send","remaining_bandwidth":7}"#;
    let expected = ServerResponse::Send { remaining_bandwidth: 7, upgrade_mode: false };
    assert_eq!(ServerResponse::parse(text), Ok(expected));
    let text = r#"{"type":"handshakePayload","data":[1]}"#;
    let expected =
        ClientRequest::RegisterHandshakeInitRequest { protocol_version: 0, data: vec![1] };
    assert_eq!(ClientRequest::parse(text), Ok(expected));
    let text = r#"{"type":"ecashCredential","enc_credential":[1],"nonce":[2]}"#;
    let expected = ClientRequest::EcashCredential { enc_credential: vec![1], nonce: vec![2] };
    assert_eq!(ClientRequest::parse(text), Ok(expected));
}

#[test]
fn handshake_messages_are_written_and_read_alike() {
    let ours = HandshakeMessage::HandshakePayload { protocol_version: 6, data: vec![9; 80] };
    let theirs = String::from(RegistrationHandshake::new_payload(vec![9; 80], 6));
    assert_eq!(json(&ours.to_text()), json(&theirs));
    assert_eq!(HandshakeMessage::parse(&theirs).unwrap(), ours);
    let ours = HandshakeMessage::HandshakeError { message: "over".into() };
    let theirs = String::from(RegistrationHandshake::new_error("over"));
    assert_eq!(json(&ours.to_text()), json(&theirs));
    assert_eq!(HandshakeMessage::parse(&theirs).unwrap(), ours);
}

#[test]
fn our_authentication_is_accepted_by_theirs() {
    let (key, client) = (shared(3), identity(5));
    let ours = Authentication::new(6, &key.ours, &client.ours, [8; 12], now());
    let text = ours.into_request().to_text();
    let ClientControlRequest::AuthenticateV2(read) =
        ClientControlRequest::try_from(text.clone()).unwrap()
    else {
        panic!("it is an authentication: {text}");
    };
    read.verify_timestamp(Duration::from_secs(120)).unwrap();
    read.verify_signature().unwrap();
    read.verify_ciphertext(&key.theirs).unwrap();
    assert!(read.verify_ciphertext(&shared(4).theirs).is_err());
    let previous = read.content.request_timestamp();
    assert!(read.ensure_timestamp_not_reused(previous).is_err());
}

#[test]
fn their_authentication_is_accepted_by_ours() {
    let (key, client) = (shared(3), identity(5));
    let theirs = ClientControlRequest::new_authenticate_v2(&key.theirs, &client.theirs, 6).unwrap();
    let text: String = theirs.try_into().unwrap();
    let ClientRequest::AuthenticateV2(read) = ClientRequest::parse(&text).unwrap() else {
        panic!("it is an authentication: {text}");
    };
    assert_eq!(read.client_identity, client.ours.verifying_key().to_bytes());
    assert_eq!(read.protocol_version, 6);
    assert_eq!(read.verify(&key.ours, now(), None), Ok(()));
    let last = Some(read.request_unix_timestamp);
    assert_eq!(read.verify(&key.ours, now(), last), Err(AuthenticationError::Replayed));
    let other = shared(4).ours;
    assert_eq!(read.verify(&other, now(), None), Err(AuthenticationError::Ciphertext));
    assert_eq!(json(&ClientRequest::AuthenticateV2(read).to_text()), json(&text));
}

#[test]
fn sealed_requests_and_responses_are_opened_by_the_other() -> Result<(), GatewayRequestsError> {
    let key = shared(9);
    let forget = PrivateRequest::ForgetMe { client: true, stats: false };
    let ClientRequest::EncryptedRequest { ciphertext, nonce } = forget.seal(&key.ours, [1; 12])
    else {
        panic!("a sealed request is an encrypted request");
    };
    let read = TheirPrivate::decrypt(&ciphertext, &nonce, &key.theirs)?;
    assert!(matches!(read, TheirPrivate::ForgetMe { client: true, stats: false }));

    let sessions = [
        (SessionType::Vpn, TheirSession::Vpn),
        (SessionType::Mixnet, TheirSession::Mixnet),
        (SessionType::Wasm, TheirSession::Wasm),
        (SessionType::Native, TheirSession::Native),
        (SessionType::Socks5, TheirSession::Socks5),
        (SessionType::Unknown, TheirSession::Unknown),
    ];
    for (ours, theirs) in sessions {
        let sealed = TheirPrivate::RememberMe { session_type: theirs }.encrypt(&key.theirs)?;
        let ClientControlRequest::EncryptedRequest { ciphertext, nonce } = sealed else {
            panic!("a sealed request is an encrypted request");
        };
        let read = PrivateRequest::open(&key.ours, &ciphertext, &nonce);
        assert_eq!(read, Ok(PrivateRequest::RememberMe { session_type: ours }));
    }

    for ours in [PrivateResponse::ForgetMeAck {}, PrivateResponse::RememberMeAck {}] {
        let ServerResponse::EncryptedResponse { ciphertext, nonce } = ours.seal(&key.ours, [2; 12])
        else {
            panic!("a sealed response is an encrypted response");
        };
        let theirs = SensitiveServerResponse::decrypt(&ciphertext, &nonce, &key.theirs)?;
        let TheirResponse::EncryptedResponse { ciphertext, nonce } = theirs.encrypt(&key.theirs)?
        else {
            panic!("a sealed response is an encrypted response");
        };
        assert_eq!(PrivateResponse::open(&key.ours, &ciphertext, &nonce), Ok(ours));
    }
    Ok(())
}
