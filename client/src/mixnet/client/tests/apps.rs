//! Applications at the client's WebSocket.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Scene, pattern, run, within};
use crate::mixnet::apps::Server;

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
