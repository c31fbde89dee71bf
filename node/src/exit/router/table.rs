//! The router itself, pure: what comes from clients and from the network, and when, goes in; what
//! has to be sent comes out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phix_client::mixnet::SenderTag;
use phix_proto::ipr::{
    Ask, Assigned, Build, Bundle, ConnectRefusal, Control, DisconnectRefusal, Disconnection, Frame,
    Info, Level, Request, RequestBody, Response, ResponseBody, Version, packets,
};

use super::counts::{Counts, Dropped};
use super::limits::{BUNDLING, BUNDLING_MAX, CLIENTS, MTU, SILENCE, STREAMS, TIDYING, TOLD};
use super::packet::{Kind, Packet};
use super::pool::{Pair, Pool};
use crate::exit::policy::Policy;

/// Something that has to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A message, to a client.
    Message(SenderTag, Vec<u8>),
    /// An IP packet, to the network.
    Packet(Vec<u8>),
}

/// A client that has addresses.
#[derive(Debug)]
struct Client {
    addresses: Pair,
    version: Version,
    bundling: Duration,
    bundle: Bundle,
    /// When the bundle has to go, if there is anything in it.
    due: Option<(Instant, u64)>,
    heard: Instant,
    told: Option<Instant>,
}

/// The stream in which a client sends its messages and gets its answers.
#[derive(Clone, Copy, Debug)]
struct Stream {
    number: u64,
    next: u32,
    heard: Instant,
}

/// The clients and their addresses.
#[derive(Debug)]
pub(super) struct Table {
    pool: Pool,
    counts: Arc<Counts>,
    clients: HashMap<SenderTag, Client>,
    by_address: HashMap<IpAddr, SenderTag>,
    streams: HashMap<SenderTag, Stream>,
    due: BTreeMap<(Instant, u64), SenderTag>,
    bundles: u64,
    tidied: Instant,
    outputs: Vec<Output>,
}

impl Table {
    /// A router without clients.
    pub(super) fn new(pool: Pool, counts: Arc<Counts>, now: Instant) -> Self {
        Self {
            pool,
            counts,
            clients: HashMap::new(),
            by_address: HashMap::new(),
            streams: HashMap::new(),
            due: BTreeMap::new(),
            bundles: 0,
            tidied: now,
            outputs: Vec::new(),
        }
    }

    /// What has to be sent, in order.
    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When [`tick`](Self::tick) has to be called at the latest.
    pub(super) fn deadline(&self) -> Instant {
        let bundle = self.due.keys().next().map(|(due, _)| *due);
        let tidying = self.tidied + TIDYING;
        bundle.map_or(tidying, |due| due.min(tidying))
    }

    /// A message from `sender`, who can be answered by that name.
    pub(super) fn message(
        &mut self,
        sender: Option<SenderTag>,
        bytes: &[u8],
        policy: &Policy,
        now: Instant,
    ) {
        let Some(sender) = sender else { return self.counts.note(Dropped::NoWay) };
        let mut bytes = bytes;
        let framed = Frame::begins(bytes);
        if framed {
            let Ok(frame) = Frame::parse(bytes) else {
                return self.counts.note(Dropped::Malformed);
            };
            if !self.note_stream(sender, frame.stream, now) {
                return self.counts.note(Dropped::Streams);
            }
            if frame.content.is_empty() {
                return;
            }
            bytes = frame.content;
        }
        let Ok(request) = Request::parse(bytes) else {
            return self.counts.note(Dropped::Malformed);
        };
        if request.version.needs_stream() && !framed {
            return self.counts.note(Dropped::NoStream);
        }
        if let Some(client) = self.clients.get_mut(&sender) {
            client.heard = now;
        }
        match request.body {
            RequestBody::Data(bundle) => self.data(sender, bundle, policy, now),
            RequestBody::Control(control) => self.control(sender, request.version, control, now),
        }
    }

    /// A packet from the network.
    pub(super) fn packet(&mut self, packet: &[u8], now: Instant) {
        let destination = Packet::destination(packet);
        let found = destination.and_then(|address| self.by_address.get(&address).copied());
        let client = found.and_then(|sender| Some((sender, self.clients.get_mut(&sender)?)));
        let Some((sender, client)) = client else { return self.counts.note(Dropped::NoClient) };
        let Ok(full) = client.bundle.push(packet) else {
            return self.counts.note(Dropped::Packet);
        };
        self.counts.back.add();
        let version = client.version;
        // What was full had its time, and what has begun has its own.
        if full.is_some()
            && let Some(due) = client.due.take()
        {
            self.due.remove(&due);
        }
        if client.due.is_none() {
            self.bundles += 1;
            let due = (now + client.bundling, self.bundles);
            client.due = Some(due);
            self.due.insert(due, sender);
        }
        if let Some(bundle) = full {
            self.answer(sender, version, ResponseBody::Data(&bundle));
        }
    }

    /// What has to be done at `now` though nothing came.
    pub(super) fn tick(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry()
            && entry.key().0 <= now
        {
            let sender = entry.remove();
            self.flush(sender);
        }
        if now < self.tidied + TIDYING {
            return;
        }
        self.tidied = now;
        let over = |heard: Instant| now.saturating_duration_since(heard) >= SILENCE;
        let silent = self.clients.iter().filter(|(_, client)| over(client.heard));
        let silent: Vec<(SenderTag, Version)> =
            silent.map(|(sender, client)| (*sender, client.version)).collect();
        for (sender, version) in silent {
            self.counts.expired.add();
            self.release(sender);
            self.answer(sender, version, ResponseBody::CutOff(Disconnection::SilentClient));
        }
        let clients = &self.clients;
        self.streams.retain(|sender, stream| clients.contains_key(sender) || !over(stream.heard));
    }

    fn data(&mut self, sender: SenderTag, bundle: &[u8], policy: &Policy, now: Instant) {
        let Some(client) = self.clients.get_mut(&sender) else {
            return self.counts.note(Dropped::NotConnected);
        };
        let (addresses, version) = (client.addresses, client.version);
        for packet in packets(bundle) {
            let judged = packet.map_err(|_| Dropped::Packet);
            let judged = judged.and_then(|bytes| Ok((bytes, judge(bytes, addresses, policy)?)));
            match judged {
                Ok((bytes, None)) => {
                    self.counts.out.add();
                    self.outputs.push(Output::Packet(bytes.to_vec()));
                }
                Ok((_, Some(refused))) => {
                    self.counts.note(Dropped::Policy);
                    let client = self.clients.get_mut(&sender).expect("it is there");
                    if client.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD) {
                        client.told = Some(now);
                        let info = Info::Refused(refused);
                        self.answer(sender, version, ResponseBody::Info(0, info, Level::Warn));
                    }
                }
                Err(why) => self.counts.note(why),
            }
        }
    }

    fn control(&mut self, sender: SenderTag, version: Version, control: Control, now: Instant) {
        let id = control.id;
        let body = match control.ask {
            Ask::Connect { buffer_timeout_ms } => {
                let bundling = buffer_timeout_ms.map_or(BUNDLING, Duration::from_millis);
                let bundling = bundling.min(BUNDLING_MAX);
                ResponseBody::Connect(id, self.connect(sender, version, bundling, now))
            }
            Ask::Disconnect => {
                let had = self.release(sender);
                let reply = if had { Ok(()) } else { Err(DisconnectRefusal::NotConnected) };
                ResponseBody::Disconnect(id, reply)
            }
            Ask::Ping => ResponseBody::Pong(id),
            Ask::Health => ResponseBody::Health(id, Box::new(build()), None),
        };
        self.answer(sender, version, body);
    }

    /// Gives a client its addresses: the same again if it has some, so that one that has not heard
    /// the answer may ask once more.
    fn connect(
        &mut self,
        sender: SenderTag,
        version: Version,
        bundling: Duration,
        now: Instant,
    ) -> Result<Assigned, ConnectRefusal> {
        let addresses = match self.clients.get(&sender) {
            Some(client) => client.addresses,
            None if self.clients.len() >= CLIENTS => return Err(ConnectRefusal::NoAddressLeft),
            None => {
                let taken = |address| self.by_address.contains_key(&address);
                let found = self.pool.next(taken).ok_or(ConnectRefusal::NoAddressLeft)?;
                self.by_address.insert(found.v4.into(), sender);
                self.by_address.insert(found.v6.into(), sender);
                self.counts.connected.add();
                found
            }
        };
        let client = self.clients.entry(sender).or_insert_with(|| Client {
            addresses,
            version,
            bundling,
            bundle: Bundle::default(),
            due: None,
            heard: now,
            told: None,
        });
        (client.version, client.bundling) = (version, bundling);
        self.counts.clients.set(self.clients.len());
        Ok(Assigned { v4: addresses.v4, v6: addresses.v6, mtu: MTU })
    }

    /// Takes a client's addresses; whether it had any.
    fn release(&mut self, sender: SenderTag) -> bool {
        let Some(client) = self.clients.remove(&sender) else { return false };
        self.by_address.remove(&client.addresses.v4.into());
        self.by_address.remove(&client.addresses.v6.into());
        if let Some(due) = client.due {
            self.due.remove(&due);
        }
        self.counts.clients.set(self.clients.len());
        true
    }

    fn flush(&mut self, sender: SenderTag) {
        let client = self.clients.get_mut(&sender).expect("what is due has a client");
        client.due = None;
        let (bundle, version) = (client.bundle.take(), client.version);
        if let Some(bundle) = bundle {
            self.answer(sender, version, ResponseBody::Data(&bundle));
        }
    }

    fn answer(&mut self, sender: SenderTag, version: Version, body: ResponseBody<'_>) {
        let message = Response { version, body }.to_bytes();
        let message = match self.streams.get_mut(&sender) {
            Some(stream) => {
                let sequence = stream.next;
                stream.next = stream.next.wrapping_add(1);
                let kind = phix_proto::ipr::FrameKind::Data;
                Frame { stream: stream.number, kind, sequence, content: &message }.to_bytes()
            }
            None => message,
        };
        self.outputs.push(Output::Message(sender, message));
    }

    /// Remembers in which stream a client is answered; whether there was room for that.
    fn note_stream(&mut self, sender: SenderTag, number: u64, now: Instant) -> bool {
        if !self.streams.contains_key(&sender) && self.streams.len() >= STREAMS {
            return false;
        }
        let stream = self.streams.entry(sender).or_insert(Stream { number, next: 0, heard: now });
        if stream.number != number {
            (stream.number, stream.next) = (number, 0);
        }
        stream.heard = now;
        true
    }
}

/// Whether a client with these addresses may send a packet: nothing if so, else to whom it may not.
fn judge(bytes: &[u8], addresses: Pair, policy: &Policy) -> Result<Option<String>, Dropped> {
    if bytes.len() > usize::from(MTU) {
        return Err(Dropped::Packet);
    }
    let Packet { source, destination, kind } = Packet::read(bytes).ok_or(Dropped::Packet)?;
    if !addresses.has(source) {
        return Err(Dropped::Spoofed);
    }
    let verdict = match kind {
        Kind::Port(port) => policy.verdict(destination, port),
        Kind::Icmp => policy.verdict_without_port(destination),
        Kind::Fragment => return Err(Dropped::Fragment),
        Kind::Other => return Err(Dropped::Protocol),
    };
    let refused = (!verdict.accepted()).then(|| format!("{}:{}", destination, verdict.port));
    Ok(refused)
}

/// What the router says of itself: its program, and nothing about its machine.
fn build() -> Build {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Build { binary: env!("CARGO_PKG_NAME").to_owned(), version, ..Build::default() }
}
