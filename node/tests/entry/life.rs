//! Sessions as they should be.

use ed25519_dalek::SigningKey;
use phix_engine::wire::frame::KeyRotation;
use phix_node::entry::counts::Refusal;
use phix_node::entry::delivery::{Acknowledgement, Message};
use phix_proto::gateway::{
    ClientRequest, PrivateRequest, PrivateResponse, ServerResponse, TypedError,
};
use rand::RngExt;
use tokio_tungstenite::tungstenite::Message as Read;

use crate::clients::{Client, Line};
use crate::scene::{NextHop, OPEN, Scene, until};

const FREE: i64 = 64 << 30;

fn authenticated(bandwidth_remaining: i64) -> ServerResponse {
    let (protocol_version, status, upgrade_mode) = (6, true, false);
    ServerResponse::Authenticate { protocol_version, status, bandwidth_remaining, upgrade_mode }
}

fn message(text: &str) -> Message {
    Message { bytes: text.as_bytes().into(), acknowledgement: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_registers_sends_is_written_to_and_comes_back() {
    let scene = Scene::new(OPEN);
    let mut line = Line::new(scene.address()).await;
    line.say(r#"{"type":"supportedProtocol"}"#).await;
    assert_eq!(line.response().await, ServerResponse::SupportedProtocol { version: 6 });
    let identity = SigningKey::from_bytes(&rand::rng().random());
    let mut client = Client::register_as(identity, line).await;

    let claimed = client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let available = ServerResponse::Bandwidth { available_total: FREE, upgrade_mode: false };
    assert_eq!(claimed, available);

    let hop = NextHop::new();
    let to = hop.address();
    let (mut sent, mut left) = (Vec::new(), FREE);
    for (len, rotation) in [(2413, KeyRotation::Odd), (386, KeyRotation::Even)] {
        let (packet, answer) = client.forward(to, rotation, len).await;
        left -= len as i64;
        let expected = ServerResponse::Send { remaining_bandwidth: left, upgrade_mode: false };
        assert_eq!(answer, expected);
        sent.push((rotation.byte(), packet));
    }
    assert_eq!(hop.packets(&[2413, 386]).await, sent);

    scene.entry().sessions().push(&client.id(), message("delivered")).unwrap();
    assert_eq!(client.delivered().await, b"delivered");
    assert_eq!(scene.counts().forwarded.get(), 2);

    let id = client.id();
    drop(client.line);
    until("the end of the session", || scene.counts().sessions.get() == 0).await;
    assert_eq!(scene.entry().sessions().push(&id, message("late")), Err(message("late")));
    client.line = Line::new(scene.address()).await;
    let line = Line::new(scene.address()).await;
    assert_eq!(client.authenticate(line, scene.now()).await, authenticated(left));
}

/// A message whose acknowledgement goes to `hop` and consists of these bytes.
fn acknowledged(text: &str, hop: &NextHop, bytes: u8) -> Message {
    let acknowledgement = Acknowledgement {
        next_hop: hop.address(),
        rotation: KeyRotation::Odd,
        packet: vec![bytes; 386].into(),
    };
    Message { acknowledgement: Some(acknowledgement), ..message(text) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_acknowledged_once_the_client_has_it() {
    let scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    let hop = NextHop::new();
    scene.entry().sessions().push(&client.id(), acknowledged("hello", &hop, 7)).unwrap();
    assert_eq!(client.delivered().await, b"hello");
    // Who reads on confirms what it has read.
    let reader = tokio::spawn(async move { client.line.next().await });
    assert_eq!(hop.packets(&[386]).await, [(1, vec![7; 386])]);
    until("nothing to wait", || scene.counts().queued.get() == 0).await;
    reader.abort();
}

/// The connection took it all, and with the connection it was gone.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_a_vanished_client_has_not_read() {
    let scene = Scene::new(OPEN);
    let (gone, hop) = (Client::register(scene.address()).await, NextHop::new());
    let mut there = Client::register(scene.address()).await;
    let sessions = scene.entry().sessions();
    for _ in 0..20 {
        sessions.push(&gone.id(), acknowledged("nobody reads this", &hop, 1)).unwrap();
    }
    until("all to be written", || scene.counts().pushed.get() == 20).await;
    drop(gone);
    until("the end of the session", || scene.counts().sessions.get() == 1).await;
    sessions.push(&there.id(), acknowledged("read", &hop, 2)).unwrap();
    assert_eq!(there.delivered().await, b"read");
    let reader = tokio::spawn(async move { there.line.next().await });
    assert_eq!(hop.packets(&[386]).await, [(1, vec![2; 386])], "of the other there is none");
    reader.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_registrations_bandwidth_and_what_was_heard() {
    let mut scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let hop = NextHop::new();
    client.forward(hop.address(), KeyRotation::Odd, 2413).await;
    drop(client.line);
    client.line = Line::new(scene.address()).await;
    until("the end of the session", || scene.counts().sessions.get() == 0).await;
    let (left, time) = (FREE - 2413, scene.now());
    let line = Line::new(scene.address()).await;
    assert_eq!(client.authenticate(line, time).await, authenticated(left));
    scene.restart();
    assert_eq!(client.line.next().await, None, "the session has ended");
    assert_eq!(scene.counts().clients.get(), 1);
    let line = Line::new(scene.address()).await;
    let refused = client.authenticate(line, time).await;
    assert!(matches!(refused, ServerResponse::Error { .. }), "{refused:?}");
    assert_eq!(scene.refused(Refusal::Replayed), 1);
    let line = Line::new(scene.address()).await;
    assert_eq!(client.authenticate(line, time + 1).await, authenticated(left));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_there_keeps_the_session_and_whoever_is_not_loses_it() {
    let scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    let mut old = std::mem::replace(&mut client.line, Line::new(scene.address()).await);
    // Who reads answers pings, too.
    let reader = tokio::spawn(async move {
        let read = old.next().await;
        (old, read)
    });
    let (second, time) = (Line::new(scene.address()).await, scene.now());
    let refused = client.authenticate(second, time).await;
    assert!(matches!(refused, ServerResponse::Error { .. }), "{refused:?}");
    assert_eq!(scene.refused(Refusal::Duplicate), 1);
    scene.entry().sessions().push(&client.id(), message("to the old one")).unwrap();
    let (mut old, read) = reader.await.unwrap();
    assert!(matches!(read, Some(Read::Binary(_))), "{read:?}");

    // Nobody reads on the old line any more.
    let third = Line::new(scene.address()).await;
    assert_eq!(client.authenticate(third, time + 1).await, authenticated(0));
    scene.entry().sessions().push(&client.id(), message("to the new one")).unwrap();
    assert_eq!(client.delivered().await, b"to the new one");
    while old.next().await.is_some() {}
    assert_eq!(scene.counts().sessions.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_have_itself_forgotten() {
    let scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    let remember = PrivateRequest::RememberMe { session_type: Default::default() };
    let forget = PrivateRequest::ForgetMe { client: true, stats: true };
    let pairs =
        [(remember, PrivateResponse::RememberMeAck {}), (forget, PrivateResponse::ForgetMeAck {})];
    for (request, expected) in pairs {
        let request = request.seal(&client.key, rand::rng().random());
        let ServerResponse::EncryptedResponse { ciphertext, nonce } = client.ask(request).await
        else {
            panic!("a sealed request has a sealed answer");
        };
        assert_eq!(PrivateResponse::open(&client.key, &ciphertext, &nonce), Ok(expected));
    }
    assert_eq!(client.line.next().await, None);
    assert_eq!(scene.counts().clients.get(), 0);
    let line = Line::new(scene.address()).await;
    let refused = client.authenticate(line, scene.now()).await;
    assert!(matches!(refused, ServerResponse::Error { .. }), "{refused:?}");
    assert_eq!(scene.refused(Refusal::Stranger), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_again_has_a_new_key_and_the_old_bandwidth() {
    let scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let old_key = client.key.clone();
    drop(client.line);
    until("the end of the session", || scene.counts().sessions.get() == 0).await;
    let line = Line::new(scene.address()).await;
    let mut client = Client::register_as(client.identity, line).await;
    assert!(client.key != old_key);
    assert_eq!(scene.counts().clients.get(), 1);
    let hop = NextHop::new();
    let (_, answer) = client.forward(hop.address(), KeyRotation::Odd, 386).await;
    let left = FREE - 386;
    let expected = ServerResponse::Send { remaining_bandwidth: left, upgrade_mode: false };
    assert_eq!(answer, expected);
}

/// As at stock gateways: clients are told that they have nothing left, and ask again.
#[tokio::test(flavor = "multi_thread")]
async fn free_bandwidth_is_worth_nothing_the_next_day() {
    let mut scene = Scene::new(OPEN);
    let mut client = Client::register(scene.address()).await;
    client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let (hop, odd) = (NextHop::new(), KeyRotation::Odd);
    let to = hop.address();
    // A second before midnight.
    scene.pass(43_199);
    let (_, answer) = client.forward(to, odd, 2413).await;
    let left = ServerResponse::Send { remaining_bandwidth: FREE - 2413, upgrade_mode: false };
    assert_eq!(answer, left);
    scene.pass(1);
    let (_, answer) = client.forward(to, odd, 2413).await;
    let error = TypedError::OutOfBandwidth { required: 2413, available: 0 };
    assert_eq!(answer, ServerResponse::TypedError { error });
    let claimed = client.ask(ClientRequest::ClaimFreeTestnetBandwidth).await;
    let available = ServerResponse::Bandwidth { available_total: FREE, upgrade_mode: false };
    assert_eq!(claimed, available, "what is left of yesterday does not count");
    assert_eq!(client.forward(to, odd, 2413).await.1, left);
    // Who comes back the day after is told so at once, by an entry that was restarted, too.
    scene.restart();
    assert_eq!(client.line.next().await, None, "the session has ended");
    let line = Line::new(scene.address()).await;
    assert_eq!(client.authenticate(line, scene.now()).await, authenticated(FREE - 2413));
    drop(client.line);
    client.line = Line::new(scene.address()).await;
    until("the end of the session", || scene.counts().sessions.get() == 0).await;
    scene.pass(86_400);
    let line = Line::new(scene.address()).await;
    assert_eq!(client.authenticate(line, scene.now()).await, authenticated(0));
    assert_eq!(hop.packets(&[2413, 2413]).await.len(), 2);
}
