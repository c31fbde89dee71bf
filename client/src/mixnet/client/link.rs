//! The WebSocket to the entry gateway: registration, authentication, and packets in both
//! directions.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chacha20::ChaCha20Rng;
use ed25519_dalek::VerifyingKey;
use futures_util::{SinkExt, StreamExt};
use phix_proto::gateway::registration::{ClientHandshake, HandshakeError, HandshakeMessage};
use phix_proto::gateway::{
    Authentication, CURRENT_VERSION, ClientRequest, MAX_MESSAGE, NONCE, Nonce, ServerResponse,
    SharedKey, binary, negotiate,
};
use phix_proto::message::{ClientKeys, Packet};
use rand::Rng;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::super::dial::{self, Connection, Url};
use super::super::store::Registration;
use crate::files::words;

/// Why there is no link to the gateway. The text says what to do.
#[derive(Debug)]
pub enum LinkError {
    /// It cannot be connected to.
    Unreachable(String, io::Error),
    /// It takes too long.
    Late(String, Duration),
    /// It does not speak the protocol of WebSockets, or breaks off.
    WebSocket(String, Box<tungstenite::Error>),
    /// It says something else than it should.
    Unexpected(String),
    /// It speaks other versions of the protocol only.
    Version(u8),
    /// Registration failed.
    Handshake(HandshakeError),
    /// It refused, and says why.
    Refused(String),
    /// It has never heard of this client.
    Unknown,
}

impl LinkError {
    /// Whether trying again can help.
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Version(_))
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(gateway, error) => write!(
                f,
                "the gateway at {gateway} cannot be reached: {}; see that it runs",
                words(error)
            ),
            Self::Late(gateway, limit) => write!(
                f,
                "the gateway at {gateway} did not answer within {} ms; see that it runs, or raise \
                 gateway-timeout",
                limit.as_millis()
            ),
            Self::WebSocket(gateway, error) => {
                write!(f, "the link to the gateway at {gateway} broke: {error}")
            }
            Self::Unexpected(what) => {
                write!(f, "the gateway does not answer as a gateway does: {what}")
            }
            Self::Version(version) => write!(
                f,
                "the gateway speaks version {version} of the protocol, which is too old; register \
                 with another gateway"
            ),
            Self::Handshake(error) => {
                write!(f, "the gateway did not register this client: {error}")
            }
            Self::Refused(why) => write!(f, "the gateway refused: {why}"),
            Self::Unknown => f.write_str(
                "the gateway does not know this client any more; remove gateway.json from its \
                 directory to register anew, which gives it a new address",
            ),
        }
    }
}

impl std::error::Error for LinkError {}

/// Where a gateway is and who it is.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) identity: [u8; 32],
    pub(super) url: Url,
    /// Whether it is there whatever topologies say.
    pub(super) fixed: bool,
}

/// An open session.
pub(super) struct Link {
    pub(super) socket: WebSocketStream<Connection>,
    pub(super) seal: Seal,
    /// What the gateway said of the bandwidth that is left; nothing if it did not.
    pub(super) bandwidth: Option<i64>,
}

/// What packets are sealed with.
pub(super) struct Seal {
    key: SharedKey,
    version: u8,
    rng: ChaCha20Rng,
}

impl Seal {
    /// The message that has the gateway send `packet`.
    pub(super) fn packet(&mut self, packet: &Packet) -> Message {
        let forward = binary::Forward::new(packet.first_hop, packet.rotation, &packet.bytes);
        let forward = forward.expect("the packer makes packets of the five lengths");
        Message::binary(forward.seal(self.version, &self.key, &nonce(&mut self.rng)))
    }

    /// Opens what the gateway pushed; nothing if it did not seal it.
    pub(super) fn open<'a>(&self, message: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let len = binary::open_pushed(&self.key, message).ok()?.len();
        Some(&mut message[2 + NONCE..2 + NONCE + len])
    }
}

fn nonce(rng: &mut ChaCha20Rng) -> Nonce {
    let mut nonce = [0; NONCE];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// Opens sessions.
pub(super) struct Dialer<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) keys: &'a ClientKeys,
    pub(super) patience: Duration,
}

impl Dialer<'_> {
    /// Registers with the gateway, which also opens a session.
    pub(super) async fn register(
        &self,
        mut rng: ChaCha20Rng,
    ) -> Result<(Link, Registration), LinkError> {
        let mut socket = self.connect().await?;
        let version = self.agree_on_version(&mut socket).await?;
        let identity = VerifyingKey::from_bytes(&self.gateway.identity)
            .map_err(|_| LinkError::Handshake(HandshakeError::Key))?;
        let own = self.keys.identity();
        let (handshake, first) = ClientHandshake::start(own, identity, version, &mut rng);
        self.say(&mut socket, first.to_text()).await?;
        let second = self.hear_handshake(&mut socket).await?;
        let (handshake, third) =
            handshake.answer(&second, &mut rng).map_err(LinkError::Handshake)?;
        self.say(&mut socket, third.to_text()).await?;
        let last = self.hear_handshake(&mut socket).await?;
        let (key, version) = handshake.finish(&last).map_err(LinkError::Handshake)?;
        match self.hear(&mut socket, |_| {}).await? {
            ServerResponse::Register { status: true, .. } => {}
            ServerResponse::Error { message } => return Err(LinkError::Refused(message)),
            _ => return Err(LinkError::Handshake(HandshakeError::Refused)),
        }
        let registration = Registration { gateway: self.gateway.identity, key: key.clone() };
        let seal = Seal { key, version, rng };
        Ok((Link { socket, seal, bandwidth: None }, registration))
    }

    /// Opens a session with the key of an earlier registration. What had waited for the client
    /// comes first, sealed: `early` gets it.
    pub(super) async fn authenticate(
        &self,
        registration: &Registration,
        mut rng: ChaCha20Rng,
        mut early: impl FnMut(&mut [u8]),
    ) -> Result<Link, LinkError> {
        let mut socket = self.connect().await?;
        let version = self.agree_on_version(&mut socket).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let key = &registration.key;
        let own = self.keys.identity();
        let request = Authentication::new(version, key, own, nonce(&mut rng), now);
        self.say(&mut socket, request.into_request().to_text()).await?;
        let mut seal = Seal { key: key.clone(), version, rng };
        let answer = self.hear(&mut socket, |message| {
            if let Some(payload) = seal.open(message) {
                early(payload);
            }
        });
        match answer.await? {
            ServerResponse::Authenticate {
                status: true,
                bandwidth_remaining,
                protocol_version,
                ..
            } => {
                // Gateways that name no version here mean the one that was agreed on.
                if negotiate(protocol_version) == Some(protocol_version) {
                    seal.version = protocol_version.min(version);
                }
                Ok(Link { socket, seal, bandwidth: Some(bandwidth_remaining) })
            }
            ServerResponse::Authenticate { status: false, .. } => Err(LinkError::Unknown),
            ServerResponse::Error { message } => Err(LinkError::Refused(message)),
            other => Err(unexpected(&other)),
        }
    }

    async fn connect(&self) -> Result<WebSocketStream<Connection>, LinkError> {
        let url = &self.gateway.url;
        let connect = async {
            let stream = dial::connect(url)
                .await
                .map_err(|error| LinkError::Unreachable(url.authority(), error))?;
            let mut config = WebSocketConfig::default();
            config.max_message_size = Some(MAX_MESSAGE);
            config.max_frame_size = Some(MAX_MESSAGE);
            let scheme = if url.tls { "wss" } else { "ws" };
            let address = format!("{scheme}://{}{}/", url.authority(), url.path);
            let opened = client_async_with_config(address, stream, Some(config)).await;
            opened.map(|(socket, _)| socket).map_err(|error| self.broken(error))
        };
        timeout(self.patience, connect).await.map_err(|_| self.late())?
    }

    async fn agree_on_version(
        &self,
        socket: &mut WebSocketStream<Connection>,
    ) -> Result<u8, LinkError> {
        self.say(socket, ClientRequest::SupportedProtocol {}.to_text()).await?;
        match self.hear(socket, |_| {}).await? {
            ServerResponse::SupportedProtocol { version } => {
                negotiate(version.min(CURRENT_VERSION)).ok_or(LinkError::Version(version))
            }
            ServerResponse::Error { message } => Err(LinkError::Refused(message)),
            other => Err(unexpected(&other)),
        }
    }

    async fn say(
        &self,
        socket: &mut WebSocketStream<Connection>,
        text: String,
    ) -> Result<(), LinkError> {
        let said = timeout(self.patience, socket.send(Message::text(text))).await;
        said.map_err(|_| self.late())?.map_err(|error| self.broken(error))
    }

    /// The next text; binary messages before it go to `pushed`.
    async fn hear_text(
        &self,
        socket: &mut WebSocketStream<Connection>,
        mut pushed: impl FnMut(&mut [u8]),
    ) -> Result<String, LinkError> {
        loop {
            let heard = timeout(self.patience, socket.next()).await.map_err(|_| self.late())?;
            match heard {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => pushed(&mut Vec::from(bytes)),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(self.broken(tungstenite::Error::ConnectionClosed));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.broken(error)),
            }
        }
    }

    async fn hear(
        &self,
        socket: &mut WebSocketStream<Connection>,
        pushed: impl FnMut(&mut [u8]),
    ) -> Result<ServerResponse, LinkError> {
        let text = self.hear_text(socket, pushed).await?;
        ServerResponse::parse(&text).map_err(|error| LinkError::Unexpected(error.to_string()))
    }

    async fn hear_handshake(
        &self,
        socket: &mut WebSocketStream<Connection>,
    ) -> Result<HandshakeMessage, LinkError> {
        let text = self.hear_text(socket, |_| {}).await?;
        HandshakeMessage::parse(&text).map_err(|malformed| match ServerResponse::parse(&text) {
            Ok(ServerResponse::Error { message }) => LinkError::Refused(message),
            _ => LinkError::Unexpected(malformed.to_string()),
        })
    }

    fn late(&self) -> LinkError {
        LinkError::Late(self.gateway.url.authority(), self.patience)
    }

    fn broken(&self, error: tungstenite::Error) -> LinkError {
        LinkError::WebSocket(self.gateway.url.authority(), Box::new(error))
    }
}

fn unexpected(response: &ServerResponse) -> LinkError {
    let name = match response {
        ServerResponse::SupportedProtocol { .. } => "a version",
        ServerResponse::Authenticate { .. } => "an authentication",
        ServerResponse::Register { .. } => "a registration",
        ServerResponse::EncryptedResponse { .. } => "a sealed response",
        ServerResponse::Bandwidth { .. } => "an account of bandwidth",
        ServerResponse::Send { .. } => "word of a packet that was not sent",
        ServerResponse::Error { .. } | ServerResponse::TypedError { .. } => "an error",
    };
    LinkError::Unexpected(format!("it sent {name} that nobody asked for"))
}
