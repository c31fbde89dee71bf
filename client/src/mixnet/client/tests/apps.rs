//! Applications at the client's WebSocket.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use phix_proto::message::ClientKeys;
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Client, Duration, Length, Outgoing, Scene, Settings, pattern, run, within};
use crate::mixnet::apps::Server;
use crate::mixnet::client::driver::Command;
use crate::mixnet::core::os_rng;
use crate::mixnet::{Sender, testing};

struct Application(WebSocketStream<TcpStream>);

impl Application {
    async fn connect(address: SocketAddr) -> Self {
        Self::connect_from(address, None).await.unwrap()
    }

    async fn connect_from(address: SocketAddr, origin: Option<&str>) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("ws://{address}/").into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        let (socket, _) = within(client_async(request, stream)).await?;
        Ok(Self(socket))
    }

    async fn say(&mut self, request: Value) {
        self.0.send(Message::text(request.to_string())).await.unwrap();
    }

    async fn heard(&mut self) -> Value {
        let Message::Text(text) = within(self.0.next()).await.unwrap().unwrap() else {
            panic!("an answer in text")
        };
        serde_json::from_str(text.as_str()).unwrap()
    }

    async fn heard_binary(&mut self) -> Vec<u8> {
        let Message::Binary(bytes) = within(self.0.next()).await.unwrap().unwrap() else {
            panic!("an answer in bytes")
        };
        bytes.to_vec()
    }
}

async fn serve(scene: &Scene, origins: &[&str]) -> (SocketAddr, String) {
    let client = scene.client().await;
    let address = client.address().to_string();
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = server.allow_origins(origins.iter().map(ToString::to_string).collect());
    let listen = server.local_addr().unwrap();
    let (sender, receiver) = client.split();
    tokio::spawn(server.run(sender, receiver));
    (listen, address)
}

#[test]
fn applications_talk_in_text() {
    run(async {
        let scene = Scene::new().await;
        let ((here, own), (there, other)) = (serve(&scene, &[]).await, serve(&scene, &[]).await);
        let (mut one, mut two) =
            (Application::connect(here).await, Application::connect(there).await);
        one.say(json!({"type": "selfAddress"})).await;
        assert_eq!(one.heard().await, json!({"type": "selfAddress", "address": own}));
        two.say(json!({"type": "selfAddress"})).await;
        assert_eq!(two.heard().await["address"], other);

        one.say(json!({"type": "send", "message": "grüße", "recipient": other})).await;
        let expected = json!({"type": "received", "message": "grüße", "senderTag": null});
        assert_eq!(two.heard().await, expected);

        one.say(json!({"type": "sendAnonymous", "message": "who?", "recipient": other,
            "replySurbs": 3, "connectionId": 4}))
            .await;
        assert_eq!(one.heard().await["type"], "laneQueueLength");
        let question = two.heard().await;
        two.say(json!({"type": "reply", "message": "you", "senderTag": question["senderTag"]}))
            .await;
        let expected = json!({"type": "received", "message": "you", "senderTag": null});
        assert_eq!(one.heard().await, expected);

        one.say(json!({"type": "send", "message": "x", "recipient": "nobody"})).await;
        assert_eq!(one.heard().await["type"], "error");
        one.say(json!({"type": "selfAddress"})).await;
        assert_eq!(one.heard().await["type"], "selfAddress", "an error changes nothing");
    });
}

#[test]
fn applications_talk_in_bytes() {
    run(async {
        let scene = Scene::new().await;
        let ((here, own), (there, _)) = (serve(&scene, &[]).await, serve(&scene, &[]).await);
        let (mut one, mut two) =
            (Application::connect(here).await, Application::connect(there).await);
        two.0.send(Message::binary(vec![3])).await.unwrap();
        let other = two.heard_binary().await;
        assert_eq!((other[0], other.len()), (2, 97));
        let data = pattern(10_000, 5);
        let length = (data.len() as u64).to_be_bytes();
        let send = [&[0][..], &other[1..], &[0; 8], &length, &data].concat();
        one.0.send(Message::binary(send)).await.unwrap();
        let received = two.heard_binary().await;
        assert!(received == [&[1, 0][..], &length, &data].concat());
        one.0.send(Message::binary(vec![77])).await.unwrap();
        assert_eq!(one.heard_binary().await[..2], [0, 3]);
        one.say(json!({"type": "selfAddress"})).await;
        assert_eq!(one.heard().await["address"], own, "each form is answered in itself");
    });
}

#[test]
fn messages_wait_for_an_application_and_there_is_room_for_one() {
    run(async {
        let scene = Scene::new().await;
        let (here, own) = serve(&scene, &[]).await;
        let sending = scene.client().await;
        let sent = within(sending.send(own.parse().unwrap(), "early")).await.unwrap();
        within(sent.arrived()).await.unwrap();
        let mut one = Application::connect(here).await;
        // An application that has not spoken gets bytes.
        assert_eq!(one.heard_binary().await, b"\x01\x00\0\0\0\0\0\0\0\x05early");
        assert!(Application::connect_from(here, None).await.is_err(), "there is one already");
        one.say(json!({"type": "selfAddress"})).await;
        assert_eq!(one.heard().await["address"], own);
        within(one.0.close(None)).await.unwrap();
        drop(one);
        while Application::connect_from(here, None).await.is_err() {}
    });
}

/// A client whose queue one message fills for good, and a server before it.
async fn full(scene: &Scene) -> (SocketAddr, Sender) {
    let settings =
        Settings { queue: 1, ack_wait_extra: Length::millis(600_000), ..scene.settings() };
    let client = within(Client::builder().settings(settings).connect()).await.unwrap();
    let nobody = ClientKeys::generate(&mut os_rng()).recipient(testing::gateway()).unwrap();
    scene.gateway.lose_one_in(1);
    let lost = within(client.send(nobody, "lost")).await.unwrap();
    let is_lost = async {
        while scene.gateway.packets() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(is_lost).await;
    drop(lost);
    scene.gateway.lose_one_in(u64::MAX);
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let listen = server.local_addr().unwrap();
    let (sender, receiver) = client.split();
    tokio::spawn(server.run(sender.clone(), receiver));
    (listen, sender)
}

/// Waits until so many commands more than now can wait for the client.
async fn commands_wait(sender: &Sender, capacity: usize) {
    let arrives = async {
        while sender.commands.capacity() != capacity {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(arrives).await;
}

#[test]
fn a_message_is_kept_that_comes_while_an_application_waits_and_breaks_off() {
    run(async {
        let scene = Scene::new().await;
        let (here, sender) = full(&scene).await;
        let (own, all) = (*sender.address(), sender.commands.max_capacity());
        // A message for which there is no room: what is asked after it waits.
        let outgoing = Outgoing::Message { recipient: own, data: vec![1], reply_surbs: 0 };
        let command = Command::Send { outgoing, lane: None, taken: None, arrived: None };
        sender.commands.send(command).await.unwrap();
        commands_wait(&sender, all).await;
        let mut one = Application::connect(here).await;
        one.say(json!({"type": "send", "message": "waits", "recipient": own.to_string()})).await;
        commands_wait(&sender, all - 1).await;
        // It breaks off without a word.
        set_socket_linger(one.0.get_ref(), Some(Duration::ZERO)).unwrap();
        drop(one);
        let other = scene.client().await;
        let sent = within(other.send(own, "not lost")).await.unwrap();
        within(sent.arrived()).await.unwrap();
        let next = async {
            loop {
                match Application::connect_from(here, None).await {
                    Ok(next) => return next,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        let mut next = within(next).await;
        assert_eq!(next.heard_binary().await, b"\x01\x00\0\0\0\0\0\0\0\x08not lost");
    });
}

#[test]
fn web_pages_are_let_in_only_where_that_was_allowed() {
    run(async {
        let scene = Scene::new().await;
        let (here, _) = serve(&scene, &["https://good.example"]).await;
        for origin in ["https://bad.example", "null", "https://good.example.bad"] {
            let refused = Application::connect_from(here, Some(origin)).await;
            assert!(matches!(refused, Err(Error::Http(_))), "{origin}");
        }
        let mut one = Application::connect_from(here, Some("https://good.example")).await.unwrap();
        one.say(json!({"type": "selfAddress"})).await;
        assert_eq!(one.heard().await["type"], "selfAddress");
    });
}
