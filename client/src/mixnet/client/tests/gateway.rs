//! A gateway over real sockets, and the network behind it within the process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use futures_util::{SinkExt, StreamExt};
use phix_proto::gateway::registration::{GatewayHandshake, HandshakeMessage};
use phix_proto::gateway::{
    Authentication, ClientRequest, NONCE, ServerResponse, SharedKey, binary,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::mixnet::core::os_rng;
use crate::mixnet::testing;

const FREE: i64 = 64 << 30;

/// What is remembered of a client.
struct Member {
    key: SharedKey,
    last: Option<u64>,
    /// Where its session is, if it has one.
    session: Option<mpsc::UnboundedSender<Vec<u8>>>,
    /// What came while it had none.
    stored: Vec<Vec<u8>>,
}

#[derive(Default)]
struct State {
    members: HashMap<[u8; 32], Member>,
    /// When packets came, and how long their messages were, by client.
    observed: HashMap<[u8; 32], Vec<(Instant, usize)>>,
    /// Of so many packets one is lost, cover not counted, which goes back to where it came from.
    lose_one_in: Option<u64>,
    packets: u64,
    /// What packets are refused with, and requests for bandwidth.
    refusal: Option<ServerResponse>,
}

/// The gateway; it ends with its handle.
#[derive(Clone)]
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    cut: Arc<watch::Sender<()>>,
}

type Socket = WebSocketStream<TcpStream>;

impl Gateway {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Self { address, state: Arc::default(), cut: Arc::new(watch::channel(()).0) };
        let serving = gateway.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (gateway, mut cut) = (serving.clone(), serving.cut.subscribe());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = gateway.serve(stream) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        gateway
    }

    /// Ends all sessions, as a network that fails does.
    pub(super) fn cut(&self) {
        self.state.lock().unwrap().members.values_mut().for_each(|member| member.session = None);
        self.cut.send_replace(());
    }

    pub(super) fn lose_one_in(&self, count: u64) {
        self.state.lock().unwrap().lose_one_in = Some(count);
    }

    /// How many packets have come that were no cover, the lost ones among them.
    pub(super) fn packets(&self) -> u64 {
        self.state.lock().unwrap().packets
    }

    pub(super) fn refuse(&self, with: ServerResponse) {
        self.state.lock().unwrap().refusal = Some(with);
    }

    pub(super) fn forget_everybody(&self) {
        self.state.lock().unwrap().members.clear();
    }

    pub(super) fn observed(&self, client: &[u8; 32]) -> Vec<(Instant, usize)> {
        self.state.lock().unwrap().observed.get(client).cloned().unwrap_or_default()
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut socket = accept_async(stream).await.ok()?;
        loop {
            match request(&mut socket).await? {
                ClientRequest::SupportedProtocol {} => {
                    say(&mut socket, ServerResponse::SupportedProtocol { version: 6 }).await?;
                }
                ClientRequest::RegisterHandshakeInitRequest { protocol_version, data } => {
                    let client = self.register(&mut socket, protocol_version, &data).await?;
                    return self.session(socket, client).await;
                }
                ClientRequest::AuthenticateV2(request) => {
                    let client = self.authenticate(&mut socket, &request).await?;
                    return self.session(socket, client).await;
                }
                other => panic!("{} before there is a session", other.name()),
            }
        }
    }

    async fn register(&self, socket: &mut Socket, version: u8, data: &[u8]) -> Option<[u8; 32]> {
        let identity = SigningKey::from_bytes(&testing::GATEWAY_SEED);
        let started = GatewayHandshake::start(&identity, version, data, &mut os_rng());
        let (handshake, second) = started.unwrap();
        socket.send(Message::text(second.to_text())).await.ok()?;
        let third = HandshakeMessage::parse(&text(socket).await?).unwrap();
        let (registration, last) = handshake.finish(&third).unwrap();
        socket.send(Message::text(last.to_text())).await.ok()?;
        let member =
            Member { key: registration.key, last: None, session: None, stored: Vec::new() };
        self.state.lock().unwrap().members.insert(registration.client, member);
        let (protocol_version, status, upgrade_mode) = (registration.version, true, false);
        let done = ServerResponse::Register { protocol_version, status, upgrade_mode };
        say(socket, done).await?;
        Some(registration.client)
    }

    async fn authenticate(
        &self,
        socket: &mut Socket,
        request: &Authentication,
    ) -> Option<[u8; 32]> {
        let client = request.client_identity;
        let now = request.request_unix_timestamp;
        let checked = {
            let mut state = self.state.lock().unwrap();
            state.members.get_mut(&client).map(|member| {
                let checked = request.verify(&member.key, now, member.last);
                member.last = Some(now);
                let stored = std::mem::take(&mut member.stored);
                checked.map(|()| (member.key.clone(), stored))
            })
        };
        let status = match checked {
            None => false,
            Some(Err(error)) => {
                say(socket, ServerResponse::error(error)).await?;
                return None;
            }
            Some(Ok((key, stored))) => {
                for message in stored {
                    push(socket, &key, &message).await?;
                }
                true
            }
        };
        let (protocol_version, bandwidth_remaining, upgrade_mode) = (6, FREE, false);
        let answer = ServerResponse::Authenticate {
            protocol_version,
            status,
            bandwidth_remaining,
            upgrade_mode,
        };
        say(socket, answer).await?;
        status.then_some(client)
    }

    async fn session(&self, mut socket: Socket, client: [u8; 32]) -> Option<()> {
        let (session, mut delivered) = mpsc::unbounded_channel();
        let key = {
            let mut state = self.state.lock().unwrap();
            // It may have been forgotten since it was told that it is in.
            let member = state.members.get_mut(&client)?;
            member.session = Some(session);
            member.key.clone()
        };
        loop {
            tokio::select! {
                message = delivered.recv() => push(&mut socket, &key, &message?).await?,
                heard = socket.next() => match heard?.ok()? {
                    Message::Binary(bytes) => {
                        let mut bytes = Vec::from(bytes);
                        self.note(client, bytes.len());
                        let forward = binary::Forward::open(&key, &mut bytes).unwrap();
                        if let Some(refusal) = self.refusal() {
                            say(&mut socket, refusal).await?;
                            continue;
                        }
                        self.carry(Some(client), forward.next_hop, forward.packet.to_vec());
                        let (remaining_bandwidth, upgrade_mode) = (FREE, false);
                        let sent = ServerResponse::Send { remaining_bandwidth, upgrade_mode };
                        say(&mut socket, sent).await?;
                    }
                    Message::Text(request) => {
                        let request = ClientRequest::parse(request.as_str()).unwrap();
                        assert_eq!(request, ClientRequest::ClaimFreeTestnetBandwidth);
                        let (available_total, upgrade_mode) = (FREE, false);
                        let given = ServerResponse::Bandwidth { available_total, upgrade_mode };
                        let refused = self.refusal().map(|_| ServerResponse::error("none free"));
                        say(&mut socket, refused.unwrap_or(given)).await?;
                    }
                    _ => {}
                },
            }
        }
    }

    fn refusal(&self) -> Option<ServerResponse> {
        self.state.lock().unwrap().refusal.clone()
    }

    fn note(&self, client: [u8; 32], len: usize) {
        let mut state = self.state.lock().unwrap();
        state.observed.entry(client).or_default().push((Instant::now(), len));
    }

    /// Has a packet arrive where it is for, after the time that it asks for.
    fn carry(&self, from: Option<[u8; 32]>, first: SocketAddr, packet: Vec<u8>) {
        let gateway = self.clone();
        tokio::spawn(async move {
            let Some(packet) = testing::travel(1, first, &packet) else { return };
            if from != Some(packet.destination) && gateway.is_lost() {
                return;
            }
            tokio::time::sleep(Duration::from_nanos(packet.time.as_nanos())).await;
            gateway.deliver(&packet.destination, packet.message);
            if let Some((first, ack)) = packet.ack {
                gateway.carry(None, first, ack);
            }
        });
    }

    fn is_lost(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.packets += 1;
        let count = state.packets;
        state.lose_one_in.is_some_and(|one_in| count.is_multiple_of(one_in))
    }

    fn deliver(&self, client: &[u8; 32], message: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let Some(member) = state.members.get_mut(client) else { return };
        let refused = match &member.session {
            Some(session) => session.send(message).err().map(|refused| refused.0),
            None => Some(message),
        };
        member.stored.extend(refused);
    }
}

async fn text(socket: &mut Socket) -> Option<String> {
    match socket.next().await?.ok()? {
        Message::Text(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

async fn request(socket: &mut Socket) -> Option<ClientRequest> {
    Some(ClientRequest::parse(&text(socket).await?).unwrap())
}

async fn say(socket: &mut Socket, response: ServerResponse) -> Option<()> {
    socket.send(Message::text(response.to_text())).await.ok()
}

async fn push(socket: &mut Socket, key: &SharedKey, message: &[u8]) -> Option<()> {
    let sealed = binary::seal_pushed(key, &[9; NONCE], message);
    socket.send(Message::binary(sealed)).await.ok()
}
