//! A client of an entry that runs as a process, and the packets that it is sent.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::{SigningKey, VerifyingKey};
use futures_util::{SinkExt, StreamExt};
use phix_client::packet::{Factory, Packet, PacketConfig};
use phix_client::topology::Hop;
use phix_engine::wire::address;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::gateway::binary::open_pushed;
use phix_proto::gateway::registration::{ClientHandshake, HandshakeMessage};
use phix_proto::gateway::{Authentication, CURRENT_VERSION, ServerResponse, SharedKey};
use rand::RngExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::common::PATIENCE;

type Line = WebSocketStream<TcpStream>;

/// A registered client.
pub(crate) struct Client {
    identity: SigningKey,
    key: SharedKey,
    line: Line,
    authenticated: u64,
}

async fn connect(to: SocketAddr) -> Line {
    let stream = TcpStream::connect(to).await.unwrap();
    client_async(format!("ws://{to}/"), stream).await.unwrap().0
}

async fn next(line: &mut Line) -> Message {
    loop {
        match timeout(PATIENCE, line.next()).await.expect("something comes in time") {
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(message)) => return message,
            other => panic!("the connection has ended: {other:?}"),
        }
    }
}

impl Client {
    /// Registers with the gateway at `to`.
    pub(crate) async fn register(to: SocketAddr, gateway: VerifyingKey) -> Self {
        let identity = SigningKey::from_bytes(&rand::rng().random());
        let mut line = connect(to).await;
        let (state, first) =
            ClientHandshake::start(&identity, gateway, CURRENT_VERSION, &mut rand::rng());
        line.send(Message::text(first.to_text())).await.unwrap();
        let answer = next(&mut line).await.into_text().unwrap();
        let answer = HandshakeMessage::parse(&answer).unwrap();
        let (state, proof) = state.answer(&answer, &mut rand::rng()).unwrap();
        line.send(Message::text(proof.to_text())).await.unwrap();
        let last = next(&mut line).await.into_text().unwrap();
        let (key, _) = state.finish(&HandshakeMessage::parse(&last).unwrap()).unwrap();
        let welcome = next(&mut line).await.into_text().unwrap();
        let welcome = ServerResponse::parse(&welcome).unwrap();
        assert!(matches!(welcome, ServerResponse::Register { status: true, .. }), "{welcome:?}");
        Self { identity, key, line, authenticated: 0 }
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        self.identity.verifying_key().to_bytes()
    }

    /// Opens a session anew.
    pub(crate) async fn come_back(&mut self, to: SocketAddr) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.authenticated = now.max(self.authenticated + 1);
        let nonce = rand::rng().random();
        let authentication = Authentication::new(
            CURRENT_VERSION,
            &self.key,
            &self.identity,
            nonce,
            self.authenticated,
        );
        self.line = connect(to).await;
        let text = authentication.into_request().to_text();
        self.line.send(Message::text(text)).await.unwrap();
        let welcome = next(&mut self.line).await.into_text().unwrap();
        let welcome = ServerResponse::parse(&welcome).unwrap();
        let good = matches!(welcome, ServerResponse::Authenticate { status: true, .. });
        assert!(good, "{welcome:?}");
    }

    /// Ends the session.
    pub(crate) async fn leave(&mut self) {
        self.line.close(None).await.unwrap();
        while let Some(Ok(_)) = self.line.next().await {}
    }

    /// The next message that was delivered.
    pub(crate) async fn delivered(&mut self) -> Vec<u8> {
        let Message::Binary(bytes) = next(&mut self.line).await else {
            panic!("a delivered message is binary");
        };
        open_pushed(&self.key, &mut Vec::from(bytes)).unwrap().to_vec()
    }
}

/// What a message of this number says.
pub(crate) fn text(number: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[0x5a; 900]].concat()
}

/// A packet whose last hop is the end of `route`, with an acknowledgement that goes to `ack_hop`
/// and carries the same number.
pub(crate) fn packet(
    factory: &mut Factory,
    route: &[Hop],
    client: [u8; 32],
    number: u32,
    ack_hop: SocketAddr,
) -> Packet {
    let mut ack = vec![0xac; PacketSize::Ack.packet_len()];
    ack[..4].copy_from_slice(&number.to_be_bytes());
    let message = [&address::encode(ack_hop)[..19], &ack, &text(number)].concat();
    factory.build(&message, route, client).unwrap()
}

pub(crate) fn factory(mean_delay: std::time::Duration) -> Factory {
    Factory::new(PacketConfig { mean_delay, ..PacketConfig::default() })
}

/// The numbers of `count` acknowledgements that come to `listener`, over one connection.
pub(crate) fn acknowledged(listener: &TcpListener, count: usize) -> Vec<u32> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut next = || {
        let mut frame = [0; 4 + PacketSize::Ack.packet_len()];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..3], [8, PacketSize::Ack.tag(), 0]);
        u32::from_be_bytes(*frame[4..].first_chunk().unwrap())
    };
    (0..count).map(|_| next()).collect()
}
