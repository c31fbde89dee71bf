//! Clients that do what they should not: refused, counted by reason, and of no consequence for
//! others.

use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use futures_util::SinkExt;
use phix_engine::wire::frame::KeyRotation;
use phix_node::entry::counts::Refusal;
use phix_node::entry::delivery::Message;
use phix_proto::gateway::registration::{ClientHandshake, HandshakeMessage};
use phix_proto::gateway::{
    Authentication, CURRENT_VERSION, ClientRequest, MAX_MESSAGE, ServerResponse, SharedKey,
    TypedError,
};
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::clients::{Client, Line};
use crate::scene::{NextHop, OPEN, Scene, Ways, identity, until};

fn message(len: usize) -> Message {
    Message { bytes: vec![7; len].into(), acknowledgement: None }
}

/// A connection from another source than the usual one.
async fn from(source: [u8; 4], to: SocketAddr) -> Line {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    Line::over(socket.connect(to).await.unwrap(), to).await
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_first_words_are_refused() {
    let scene = Scene::new(OPEN);
    let texts = ["", "{", "[]", "{\"type\":\"nonsense\"}", "{\"type\":\"authenticateV2\"}", "\0"];
    for text in texts {
        let mut line = Line::new(scene.address()).await;
        line.say(text).await;
        line.ends_with_an_error().await;
    }
    let deep = "[".repeat(60_000);
    let mut line = Line::new(scene.address()).await;
    line.say(&deep).await;
    line.ends_with_an_error().await;
    assert_eq!(scene.refused(Refusal::Text), texts.len() as u64 + 1);
    for text in [
        r#"{"type":"claimFreeTestnetBandwidth"}"#,
        r#"{"type":"encryptedRequest","ciphertext":[],"nonce":[]}"#,
        r#"{"type":"authenticate","address":"","enc_address":"","iv":""}"#,
    ] {
        let mut line = Line::new(scene.address()).await;
        line.say(text).await;
        line.ends_with_an_error().await;
    }
    let mut line = Line::new(scene.address()).await;
    line.send(vec![2, 1, 0]).await;
    line.ends_with_an_error().await;
    assert_eq!(scene.refused(Refusal::Unexpected), 4);
    until("the end of all", || scene.counts().connections.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_wrong_are_refused() {
    let scene = Scene::new(OPEN);
    let first = |version: u8, len: usize| HandshakeMessage::HandshakePayload {
        protocol_version: version,
        data: vec![9; len],
    };
    for (message, why) in [
        (first(6, 79), Refusal::Registration),
        (first(6, 81), Refusal::Registration),
        (first(6, 10_000), Refusal::Registration),
        (first(3, 80), Refusal::Version),
    ] {
        let before = scene.refused(why);
        let mut line = Line::new(scene.address()).await;
        line.say(&message.to_text()).await;
        line.ends_with_an_error().await;
        assert_eq!(scene.refused(why), before + 1);
    }
    // A client that does not have the identity that it claims.
    let (claimed, own) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let gateway = identity().verifying_key();
    let (state, first) = ClientHandshake::start(&own, gateway, 6, &mut rand::rng());
    let HandshakeMessage::HandshakePayload { protocol_version, mut data } = first else {
        panic!("a handshake begins with a payload");
    };
    data[..32].copy_from_slice(claimed.verifying_key().as_bytes());
    let first = HandshakeMessage::HandshakePayload { protocol_version, data };
    let mut line = Line::new(scene.address()).await;
    line.say(&first.to_text()).await;
    let answer = HandshakeMessage::parse(&line.text().await).unwrap();
    let (_, proof) = state.answer(&answer, &mut rand::rng()).unwrap();
    line.say(&proof.to_text()).await;
    line.ends_with_an_error().await;
    assert_eq!(scene.refused(Refusal::Registration), 4);
    assert_eq!(scene.counts().clients.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn authentications_that_prove_nothing_are_refused() {
    let scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    drop(client.line);
    client.line = Line::new(scene.address()).await;
    until("the end of the session", || scene.counts().sessions.get() == 0).await;
    let (time, other) = (scene.now(), SigningKey::from_bytes(&[9; 32]));
    let changed = |change: fn(&mut Authentication)| {
        let mut authentication = client.authentication(time);
        change(&mut authentication);
        authentication
    };
    let stranger = Authentication::new(CURRENT_VERSION, &client.key, &other, [0; 12], time);
    let wrong_key = SharedKey::from_bytes([3; 32]);
    let forged = Authentication::new(6, &wrong_key, &client.identity, [0; 12], time);
    let short = Authentication::new(3, &client.key, &client.identity, [0; 12], time);
    for (authentication, why) in [
        (changed(|it| it.request_signature[5] ^= 1), Refusal::Proof),
        (changed(|it| it.client_identity[0] ^= 1), Refusal::Proof),
        (changed(|it| it.nonce.clear()), Refusal::Proof),
        (changed(|it| it.address_ciphertext = vec![0; 40_000]), Refusal::Proof),
        (forged, Refusal::Proof),
        (stranger, Refusal::Stranger),
        (short, Refusal::Version),
        (client.authentication(time - 125), Refusal::Clock),
        (client.authentication(time + 150), Refusal::Clock),
        (client.authentication(0), Refusal::Clock),
        (client.authentication(u64::MAX), Refusal::Clock),
    ] {
        let before = scene.refused(why);
        let mut line = Line::new(scene.address()).await;
        line.say(&authentication.into_request().to_text()).await;
        line.ends_with_an_error().await;
        assert_eq!(scene.refused(why), before + 1, "{why:?}");
    }
    assert_eq!(scene.counts().authenticated.get(), 0);

    // What was heard once does not count again, nor does anything before it.
    let heard = client.authentication(time).into_request().to_text();
    let mut line = Line::new(scene.address()).await;
    line.say(&heard).await;
    assert!(matches!(line.response().await, ServerResponse::Authenticate { status: true, .. }));
    drop(line);
    let earlier = client.authentication(time - 1).into_request().to_text();
    for text in [heard, earlier] {
        let mut line = Line::new(scene.address()).await;
        line.say(&text).await;
        line.ends_with_an_error().await;
    }
    assert_eq!(scene.refused(Refusal::Replayed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_too_long_and_frames_that_are_broken_end_the_connection() {
    let scene = Scene::new(OPEN);
    let mut line = Line::new(scene.address()).await;
    line.say(&" ".repeat(MAX_MESSAGE + 1)).await;
    assert_eq!(line.next().await, None);
    let mut client = Client::register(scene.address()).await;
    // The entry may have closed before all of it is written.
    let _ = client.line.0.send(Frame::binary(vec![0; MAX_MESSAGE + 1])).await;
    assert_eq!(client.line.next().await, None);
    until("both to be counted", || scene.refused(Refusal::Frames) == 2).await;

    let mut line = Line::new(scene.address()).await;
    // A frame from a client that is not masked (RFC 6455, 5.1).
    let stream = line.0.get_mut();
    stream.write_all(&[0x81, 2, b'{', b'}']).await.unwrap();
    assert_eq!(line.next().await, None);
    until("it to be counted", || scene.refused(Refusal::Frames) == 3).await;

    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..], &[0xff; 100], b"\x16\x03\x01\x02\x00"]
    {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // Closed or reset, either way it comes to an end.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    until("all to be counted", || scene.refused(Refusal::Upgrade) == 3).await;
    until("the end of all", || scene.counts().connections.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_what_is_refused_in_it() {
    let scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    for text in ["{", "null", r#"{"type":"encryptedRequest","ciphertext":[1],"nonce":[2]}"#] {
        client.line.say(text).await;
        let response = client.line.response().await;
        assert!(matches!(response, ServerResponse::Error { .. }), "{response:?}");
    }
    assert_eq!(scene.refused(Refusal::Text), 3);
    let again = client.authentication(scene.now()).into_request();
    let response = client.ask(again).await;
    assert!(matches!(response, ServerResponse::Error { .. }), "{response:?}");
    assert_eq!(scene.refused(Refusal::Unexpected), 1);
    let hop = "127.0.0.1:9".parse().unwrap();
    let right = client.sealed(hop, KeyRotation::Odd, &[1; 386]);
    let mut wrong = vec![Vec::new(), vec![2, 1], right[..100].to_vec(), vec![2; 500]];
    for byte in [0, 1, 5, 20, right.len() - 1] {
        let mut message = right.clone();
        message[byte] ^= 0x10;
        wrong.push(message);
    }
    let count = wrong.len() as u64;
    for message in wrong {
        client.line.send(message).await;
        let response = client.line.response().await;
        assert!(matches!(response, ServerResponse::Error { .. }), "{response:?}");
    }
    assert_eq!(scene.refused(Refusal::Binary), count);
    let claimed = client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    assert!(matches!(claimed, ServerResponse::Bandwidth { .. }), "{claimed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_first_hops_and_packets_without_bandwidth_are_refused() {
    let closed = Ways { private_hops: false, ..OPEN };
    let scene = Scene::new(closed);
    let mut client = Client::register(scene.address()).await;
    let public = "198.51.99.1:1789".parse().unwrap();
    let (_, answer) = client.forward(public, KeyRotation::Odd, 2413).await;
    let error = TypedError::OutOfBandwidth { required: 2413, available: 0 };
    assert_eq!(answer, ServerResponse::TypedError { error });
    assert_eq!(scene.refused(Refusal::Bandwidth), 1);
    client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let private = [
        "127.0.0.1:1789",
        "10.1.2.3:1789",
        "192.168.0.1:22",
        "169.254.169.254:80",
        "[::1]:1789",
        "[::ffff:10.0.0.1]:1789",
        "[fd00::1]:1789",
        "0.0.0.0:1789",
        "224.0.0.1:1789",
    ];
    for hop in private {
        let (_, answer) = client.forward(hop.parse().unwrap(), KeyRotation::Odd, 386).await;
        assert!(matches!(answer, ServerResponse::Error { .. }), "{hop}: {answer:?}");
    }
    assert_eq!(scene.refused(Refusal::PrivateHop), private.len() as u64);
    let (_, answer) = client.forward("8.8.8.8:0".parse().unwrap(), KeyRotation::Odd, 386).await;
    assert!(matches!(answer, ServerResponse::Error { .. }), "{answer:?}");
    assert_eq!(scene.refused(Refusal::Hop), 1);
    assert_eq!(scene.counts().forwarded.get(), 0, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn bandwidth_is_not_given_where_it_costs() {
    let scene = Scene::new(Ways { free_bandwidth: false, ..OPEN });
    let mut client = Client::register(scene.address()).await;
    let answer = client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    assert!(matches!(answer, ServerResponse::Error { .. }), "{answer:?}");
    let ticket = ClientRequest::ecash_credential(&client.key, [0; 12], b"no ticket at all");
    let unsealed = ClientRequest::EcashCredential { enc_credential: vec![0; 40], nonce: vec![0] };
    for request in [ticket, unsealed] {
        let answer = client.ask(request).await;
        assert!(matches!(answer, ServerResponse::Error { .. }), "{answer:?}");
    }
    assert_eq!(scene.refused(Refusal::FreeBandwidth), 1);
    assert_eq!(scene.refused(Refusal::Ticket), 2);
}

/// Most of the thousand are turned away at once, because they all come from one source; the rest
/// when their time is over. Meanwhile, others are served.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_never_finish_the_handshake_hinder_nobody() {
    let scene = Scene::new(OPEN);
    let mut idle = Vec::new();
    for number in 0..1_000 {
        let mut stream = TcpStream::connect(scene.address()).await.unwrap();
        if number % 3 == 1 {
            // It may be closed already.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await;
        }
        idle.push(stream);
    }
    let line = from([127, 0, 0, 2], scene.address()).await;
    let identity = SigningKey::from_bytes(&rand::rng().random());
    let mut client = Client::register_as(identity, line).await;
    assert!(scene.refused(Refusal::Unproved) > 0);
    // Those who become a WebSocket and then say nothing.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(from([127, 0, 0, 3], scene.address()).await);
    }
    until("the end of all but one", || scene.counts().connections.get() == 1).await;
    let refused = scene.refused(Refusal::Unproved) + scene.refused(Refusal::Upgrade);
    assert_eq!((refused, scene.refused(Refusal::Silent)), (1_000, 20));
    let claimed = client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    assert!(matches!(claimed, ServerResponse::Bandwidth { .. }), "{claimed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_have_a_bound() {
    let scene = Scene::new(Ways { connections_max: 2, ..OPEN });
    let (first, _second) =
        (Client::register(scene.address()).await, Client::register(scene.address()).await);
    let mut third = TcpStream::connect(scene.address()).await.unwrap();
    assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)), "it is closed");
    assert_eq!(scene.refused(Refusal::Connections), 1);
    drop(first);
    until("room", || scene.counts().connections.get() == 1).await;
    Client::register(scene.address()).await;
}

/// Registers a new client from `source`; whether it was taken.
async fn registers(source: [u8; 4], scene: &Scene) -> bool {
    let identity = SigningKey::from_bytes(&rand::rng().random());
    let line = from(source, scene.address()).await;
    let (_, response) = Client::try_register(identity, line).await;
    matches!(response, ServerResponse::Register { status: true, .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_cannot_fill_the_entry_with_clients() {
    let scene = Scene::new(Ways { registrations_per_source: Some(4), ..OPEN });
    let (many, other) = ([127, 0, 0, 4], [127, 0, 0, 5]);
    let line = from(many, scene.address()).await;
    let identity = SigningKey::from_bytes(&[7; 32]);
    let known = Client::register_as(identity.clone(), line).await;
    drop(known.line);
    for number in 1..20 {
        assert_eq!(registers(many, &scene).await, number < 4, "{number}");
    }
    assert_eq!((scene.refused(Refusal::Newcomers), scene.counts().clients.get()), (16, 4));
    assert!(registers(other, &scene).await);
    // Who is known may come back.
    until("the end of all sessions", || scene.counts().sessions.get() == 0).await;
    Client::register_as(identity, from(many, scene.address()).await).await;
    scene.pass(6 * 3_600);
    assert!(registers(many, &scene).await);
    assert!(!registers(many, &scene).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_clients_have_a_bound_and_who_is_long_gone_makes_room() {
    let scene = Scene::new(Ways { clients_max: 3, ..OPEN });
    let source = [127, 0, 0, 1];
    for number in 0..5 {
        assert_eq!(registers(source, &scene).await, number < 3, "{number}");
    }
    assert_eq!((scene.refused(Refusal::Clients), scene.counts().clients.get()), (2, 3));
    until("the end of all sessions", || scene.counts().sessions.get() == 0).await;
    scene.pass(91 * 86_400);
    assert!(registers(source, &scene).await);
    assert_eq!(scene.counts().clients.get(), 1);
}

/// What waits for a client that never reads stops at its own bounds.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_up_nobody() {
    let scene = Scene::new(OPEN);
    let sessions = scene.entry().sessions();
    let slow = Client::register(scene.address()).await;
    let mut other = Client::register(scene.address()).await;
    let mut taken = 0_u64;
    while sessions.push(&slow.id(), message(16_000)).is_ok() {
        taken += 1;
        assert!(taken < 10_000, "what waits has a bound");
        tokio::task::yield_now().await;
    }
    // As many that it has not confirmed, and as many behind them.
    assert!(scene.counts().queued.get() <= 2 * 128 * 16_000);
    for _ in 0..100 {
        sessions.push(&other.id(), message(16_000)).unwrap();
        assert_eq!(other.delivered().await.len(), 16_000);
    }
    let claimed = other.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    assert!(matches!(claimed, ServerResponse::Bandwidth { .. }), "{claimed:?}");
    drop(slow);
    until("the end of the slow one", || scene.counts().sessions.get() == 1).await;
    until("nothing to wait", || scene.counts().queued.get() == 0).await;
}

/// Requests of a client that does not read the answers wait in its own socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_writes_slows_down_itself() {
    let scene = Scene::new(OPEN);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.set_send_buffer_size(8 << 10).unwrap();
    let stream = socket.connect(scene.address()).await.unwrap();
    let identity = SigningKey::from_bytes(&rand::rng().random());
    let line = Line::over(stream, scene.address()).await;
    let mut client = Client::register_as(identity, line).await;
    let mut other = Client::register(scene.address()).await;
    other.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let text = r#"{"type":"supportedProtocol"}"#;
    let mut stalled = false;
    for _ in 0..2_000_000 {
        let wait = std::time::Duration::from_secs(2);
        if tokio::time::timeout(wait, client.line.0.send(Frame::text(text))).await.is_err() {
            stalled = true;
            break;
        }
    }
    assert!(stalled, "it has to stop writing");
    let hop = NextHop::new();
    let (packet, _) = other.forward(hop.address(), KeyRotation::Odd, 386).await;
    assert_eq!(hop.packets(&[386]).await, [(1, packet)]);
}
