//! Clients, made of what phix-proto knows and a WebSocket.

use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use futures_util::{SinkExt, StreamExt};
use phix_engine::wire::frame::KeyRotation;
use phix_proto::gateway::binary::{Forward, open_pushed};
use phix_proto::gateway::registration::{ClientHandshake, HandshakeMessage};
use phix_proto::gateway::{
    Authentication, CURRENT_VERSION, ClientRequest, ServerResponse, SharedKey,
};
use rand::RngExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::scene::{PATIENCE, identity};

/// A WebSocket to an entry.
pub(crate) struct Line(pub(crate) WebSocketStream<TcpStream>);

impl Line {
    pub(crate) async fn new(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap(), to).await
    }

    pub(crate) async fn over(stream: TcpStream, to: SocketAddr) -> Self {
        let (socket, _) = client_async(format!("ws://{to}/"), stream).await.unwrap();
        Self(socket)
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn send(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    /// What comes next; nothing if the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            let item = timeout(PATIENCE, self.0.next()).await.expect("something comes in time");
            match item {
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(message)) => return Some(message),
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        let message = self.next().await.expect("the connection has not ended");
        message.into_text().expect("it is text").to_string()
    }

    pub(crate) async fn response(&mut self) -> ServerResponse {
        ServerResponse::parse(&self.text().await).unwrap()
    }

    /// Asserts that the entry refuses with an error, and ends the connection.
    pub(crate) async fn ends_with_an_error(mut self) {
        let text = self.text().await;
        let response = ServerResponse::parse(&text);
        let handshake = HandshakeMessage::parse(&text);
        assert!(
            matches!(response, Ok(ServerResponse::Error { .. }))
                || matches!(handshake, Ok(HandshakeMessage::HandshakeError { .. })),
            "{text}"
        );
        assert_eq!(self.next().await, None);
    }
}

/// A registered client with an open session.
pub(crate) struct Client {
    pub(crate) identity: SigningKey,
    pub(crate) key: SharedKey,
    pub(crate) line: Line,
}

impl Client {
    pub(crate) async fn register(to: SocketAddr) -> Self {
        let identity = SigningKey::from_bytes(&rand::rng().random());
        Self::register_as(identity, Line::new(to).await).await
    }

    pub(crate) async fn register_as(identity: SigningKey, line: Line) -> Self {
        let (client, response) = Self::try_register(identity, line).await;
        let expected = ServerResponse::Register {
            protocol_version: CURRENT_VERSION,
            status: true,
            upgrade_mode: false,
        };
        assert_eq!(response, expected);
        client
    }

    /// Goes through the handshake; what is said after it.
    pub(crate) async fn try_register(
        identity: SigningKey,
        mut line: Line,
    ) -> (Self, ServerResponse) {
        let gateway = self::identity().verifying_key();
        let (state, first) =
            ClientHandshake::start(&identity, gateway, CURRENT_VERSION, &mut rand::rng());
        line.say(&first.to_text()).await;
        let answer = HandshakeMessage::parse(&line.text().await).unwrap();
        let (state, proof) = state.answer(&answer, &mut rand::rng()).unwrap();
        line.say(&proof.to_text()).await;
        let text = line.text().await;
        let (key, version) = match HandshakeMessage::parse(&text) {
            Ok(last) => state.finish(&last).unwrap(),
            Err(_) => {
                let response = ServerResponse::parse(&text).unwrap();
                return (Self { identity, key: SharedKey::from_bytes([0; 32]), line }, response);
            }
        };
        assert_eq!(version, CURRENT_VERSION);
        let response = line.response().await;
        (Self { identity, key, line }, response)
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        self.identity.verifying_key().to_bytes()
    }

    /// An authentication of this client at `time`.
    pub(crate) fn authentication(&self, time: u64) -> Authentication {
        let nonce = rand::rng().random();
        Authentication::new(CURRENT_VERSION, &self.key, &self.identity, nonce, time)
    }

    /// Opens a session over `line`; what is answered.
    pub(crate) async fn authenticate(&mut self, mut line: Line, time: u64) -> ServerResponse {
        line.say(&self.authentication(time).into_request().to_text()).await;
        let response = line.response().await;
        self.line = line;
        response
    }

    pub(crate) async fn ask(&mut self, request: ClientRequest) -> ServerResponse {
        self.line.say(&request.to_text()).await;
        self.line.response().await
    }

    /// Has a packet of this length sent; what it was, and what is answered.
    pub(crate) async fn forward(
        &mut self,
        to: SocketAddr,
        rotation: KeyRotation,
        len: usize,
    ) -> (Vec<u8>, ServerResponse) {
        let mut packet = vec![0; len];
        rand::rng().fill(&mut packet[..]);
        let sealed = self.sealed(to, rotation, &packet);
        self.line.send(sealed).await;
        (packet, self.line.response().await)
    }

    pub(crate) fn sealed(&self, to: SocketAddr, rotation: KeyRotation, packet: &[u8]) -> Vec<u8> {
        let forward = Forward::new(to, rotation, packet).unwrap();
        forward.seal(CURRENT_VERSION, &self.key, &rand::rng().random())
    }

    /// The next message that was delivered for the client.
    pub(crate) async fn delivered(&mut self) -> Vec<u8> {
        let message = self.line.next().await.expect("the connection has not ended");
        let mut bytes = match message {
            Message::Binary(bytes) => Vec::from(bytes),
            other => panic!("it is a delivered message: {other:?}"),
        };
        open_pushed(&self.key, &mut bytes).unwrap().to_vec()
    }
}
