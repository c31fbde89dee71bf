//! The task that runs a client: it moves packets between the core and the gateway, and messages
//! between the core and whoever holds the handles.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use phix_io::MonotonicClock;
use phix_proto::gateway::{ClientRequest, ServerResponse, TypedError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::core::{self, Core, Counters, Delivery, Event, MessageId, Outgoing, Unsendable};
use super::super::dial::Connection;
use super::super::directory::Source;
use super::super::settings::Settings;
use super::super::store::{Registration, Store};
use super::alarm::Alarm;
use super::link::{BANDWIDTH_LOW, Dialer, Gateway, Link, LinkError, Seal};
use super::{Status, gateway_of};
use crate::topology::Topology;

/// Packets that wait for the socket to the gateway. A socket that takes none for that long delays
/// the streams.
const UNSENT_MAX: usize = 16;

/// Bytes of messages that nobody has received, beyond which no more are taken from the gateway.
const UNDELIVERED_MAX: usize = 2 * core::MESSAGE_MAX;

/// A gateway that says nothing for so long is gone: it acknowledges every packet.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long to wait before bandwidth is asked for again that was refused.
const CLAIM_AGAIN: Duration = Duration::from_secs(60);

/// Pause after the first failure to reach the gateway; each further one doubles it.
const BACKOFF: Duration = Duration::from_millis(500);

/// How soon the topology is asked for again when there was none to be had.
const TOPOLOGY_AGAIN: Duration = Duration::from_secs(15);

/// How long a closed link is given to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What handles ask of the task.
pub(super) enum Command {
    /// Send a message; tell when it is taken, and when it has arrived.
    Send {
        outgoing: Outgoing,
        lane: Option<u64>,
        taken: Option<oneshot::Sender<Result<(), Unsendable>>>,
        arrived: Option<oneshot::Sender<bool>>,
    },
    /// How many fragments of a lane wait?
    LaneLength(u64, oneshot::Sender<usize>),
    /// Drop what waits in a lane.
    CloseLane(u64),
    /// Tell when nothing waits and nothing is under way.
    Flush(oneshot::Sender<()>),
    /// What was counted?
    Counters(oneshot::Sender<Counters>),
    /// Say goodbye to the gateway and end.
    Close(oneshot::Sender<Counters>),
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Command(..)")
    }
}

/// Everything that outlives a session.
pub(super) struct Driver {
    pub(super) core: Core,
    pub(super) settings: Settings,
    pub(super) keys: phix_proto::message::ClientKeys,
    pub(super) registration: Registration,
    pub(super) gateway: Gateway,
    pub(super) source: Source,
    /// Holds the lock of the client's directory for as long as the task runs.
    pub(super) store: Option<Store>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) status: watch::Sender<Status>,
    pub(super) waiting: Waiting,
}

/// What handles wait for.
#[derive(Default)]
pub(super) struct Waiting {
    /// A message for which there is no room yet; no other command is taken meanwhile.
    command: Option<Command>,
    arrivals: HashMap<MessageId, oneshot::Sender<bool>>,
    flushes: Vec<oneshot::Sender<()>>,
    /// Messages for which the receiving handle has no room yet, and their bytes.
    undelivered: VecDeque<Delivery>,
    bytes: usize,
}

impl Waiting {
    fn keep(&mut self, delivery: Delivery) {
        self.bytes += delivery.data.len();
        self.undelivered.push_back(delivery);
    }

    fn take(&mut self) -> Option<Delivery> {
        let delivery = self.undelivered.pop_front()?;
        self.bytes -= delivery.data.len();
        Some(delivery)
    }
}

/// Why a session is over.
enum End {
    /// The handles want it, and somebody may wait for word of it.
    Wanted(Option<oneshot::Sender<Counters>>),
    /// The link broke.
    Broken(LinkError),
}

impl Driver {
    /// Runs until the handles are gone or want an end, from session to session.
    pub(super) async fn run(mut self, first: Link) {
        let (news, mut topologies) = mpsc::channel(1);
        let refresh = refresh(self.source.clone(), self.settings.clone(), news);
        tokio::pin!(refresh);
        let mut link = Some(first);
        let mut failures = 0;
        let end = loop {
            let attempt = async {
                match link.take() {
                    Some(link) => Ok(link),
                    None => self.reconnect(failures, &mut topologies).await,
                }
            };
            let opened = tokio::select! {
                opened = attempt => opened,
                never = &mut refresh => match never {},
            };
            let session = match opened {
                Ok(session) => session,
                Err(End::Broken(error)) if error.passes() => {
                    failures += 1;
                    self.tell(Status::Disconnected(error.to_string()));
                    continue;
                }
                Err(end) => break end,
            };
            failures = 0;
            self.tell(Status::Connected);
            let ended = tokio::select! {
                ended = self.serve(session, &mut topologies) => ended,
                never = &mut refresh => match never {},
            };
            match ended {
                End::Broken(error) => {
                    self.tell(Status::Disconnected(error.to_string()));
                }
                wanted => break wanted,
            }
        };
        self.finish(end);
    }

    fn finish(self, end: End) {
        match end {
            End::Wanted(told) => {
                self.status.send_replace(Status::Ended(None));
                if let Some(told) = told {
                    // Whoever asked may have gone meanwhile.
                    let _ = told.send(*self.core.counters());
                }
            }
            End::Broken(error) => {
                self.status.send_replace(Status::Ended(Some(error.to_string())));
            }
        }
        drop(self.store);
    }

    /// Opens a session after a pause, during which commands are taken.
    async fn reconnect(
        &mut self,
        failures: u32,
        topologies: &mut mpsc::Receiver<Topology>,
    ) -> Result<Link, End> {
        let longest = self.settings.reconnect_max.duration();
        let pause = BACKOFF.saturating_mul(1 << failures.min(16)).min(longest);
        let until = Instant::now() + pause;
        loop {
            let room = self.waiting.command.is_none();
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                command = self.commands.recv(), if room => match command {
                    Some(Command::Close(told)) => return Err(End::Wanted(Some(told))),
                    None => return Err(End::Wanted(None)),
                    Some(command) => self.obey(command),
                },
                Some(topology) = topologies.recv() => self.take_topology(topology),
            }
        }
        let dialer = Dialer {
            gateway: &self.gateway,
            keys: &self.keys,
            patience: self.settings.gateway_timeout.duration(),
        };
        let core = &mut self.core;
        let early = |payload: &mut [u8]| core.arrive(payload, MonotonicClock.now());
        let opened = dialer.authenticate(&self.registration, core::os_rng(), early).await;
        self.note_events();
        opened.map_err(End::Broken)
    }

    fn take_topology(&mut self, topology: Topology) {
        if let Some(gateway) = gateway_of(&topology, &self.gateway.identity) {
            self.gateway = gateway;
        }
        self.core.set_topology(topology);
    }

    /// Runs one session.
    async fn serve(&mut self, link: Link, topologies: &mut mpsc::Receiver<Topology>) -> End {
        let Link { socket, mut seal, bandwidth } = link;
        let (sink, mut stream) = socket.split();
        let (unsent, queue) = mpsc::channel(UNSENT_MAX);
        let writer = write(sink, queue);
        tokio::pin!(writer);
        let alarm = match Alarm::new() {
            Ok(alarm) => alarm,
            Err(error) => return self.broken(error),
        };
        self.core.resume(MonotonicClock.now());
        let mut account = Account::new(bandwidth);
        account.claim_if_low(&unsent);
        let mut heard = Instant::now();
        let deliveries = self.deliveries.clone();
        loop {
            self.hand_over();
            self.take_waiting();
            if let Err(error) = alarm.set(self.core.deadline().since(MonotonicClock.now())) {
                return self.broken(error);
            }
            let may_read = self.waiting.bytes < UNDELIVERED_MAX;
            let may_deliver = !self.waiting.undelivered.is_empty();
            let may_obey = self.waiting.command.is_none();
            tokio::select! {
                biased;
                ended = &mut writer => return self.broken(ended),
                // A full queue holds the streams up; what is due leaves when there is room.
                rung = async {
                    let permit = unsent.reserve().await;
                    alarm.rung().await.map(|()| drop(permit))
                } => {
                    if let Err(error) = rung {
                        return self.broken(error);
                    }
                    self.depart(&mut seal, &unsent);
                }
                message = stream.next(), if may_read => {
                    heard = Instant::now();
                    if let Err(error) = self.take_in(message, &seal, &mut account, &unsent) {
                        return self.broken(error);
                    }
                }
                permit = deliveries.reserve(), if may_deliver => match permit {
                    Ok(permit) => {
                        if let Some(delivery) = self.waiting.take() {
                            permit.send(delivery);
                        }
                    }
                    // Nobody will receive them, and what comes after must not wait for that.
                    Err(_) => while self.waiting.take().is_some() {},
                },
                command = self.commands.recv(), if may_obey => match command {
                    Some(Command::Close(told)) => {
                        drop(unsent);
                        goodbye(writer, &mut stream).await;
                        return End::Wanted(Some(told));
                    }
                    None => {
                        drop(unsent);
                        goodbye(writer, &mut stream).await;
                        return End::Wanted(None);
                    }
                    Some(command) => self.obey(command),
                },
                Some(topology) = topologies.recv() => self.take_topology(topology),
                () = tokio::time::sleep_until(heard + SILENCE_MAX), if may_read => {
                    let patience = SILENCE_MAX;
                    let gateway = self.gateway.url.authority();
                    return End::Broken(LinkError::Late(gateway, patience));
                }
            }
        }
    }

    fn broken(&self, error: impl Into<tungstenite::Error>) -> End {
        End::Broken(LinkError::WebSocket(self.gateway.url.authority(), Box::new(error.into())))
    }

    /// Sends what is due, for as long as there is room.
    fn depart(&mut self, seal: &mut Seal, unsent: &mpsc::Sender<Message>) {
        while let Ok(permit) = unsent.try_reserve() {
            let Some(packet) = self.core.depart(MonotonicClock.now()) else { break };
            permit.send(seal.packet(&packet));
        }
        self.note_events();
        self.core.prepare(MonotonicClock.now());
    }

    /// Takes in a message of the gateway.
    fn take_in(
        &mut self,
        message: Option<Result<Message, tungstenite::Error>>,
        seal: &Seal,
        account: &mut Account,
        unsent: &mpsc::Sender<Message>,
    ) -> Result<(), tungstenite::Error> {
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                let mut bytes = Vec::from(bytes);
                if let Some(payload) = seal.open(&mut bytes) {
                    self.core.arrive(payload, MonotonicClock.now());
                    self.note_events();
                }
            }
            Some(Ok(Message::Text(text))) => {
                if let Ok(response) = ServerResponse::parse(text.as_str()) {
                    account.note(&response);
                    account.claim_if_low(unsent);
                    self.note_account(account);
                }
            }
            Some(Ok(Message::Close(_))) | None => return Err(tungstenite::Error::ConnectionClosed),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
        }
        Ok(())
    }

    fn note_account(&self, account: &Account) {
        self.tell(if account.is_spent { Status::OutOfBandwidth } else { Status::Connected });
    }

    /// Says how the client fares, if that is news.
    fn tell(&self, status: Status) {
        self.status.send_if_modified(|before| {
            let is_news = *before != status;
            *before = status;
            is_news
        });
    }

    fn note_events(&mut self) {
        let waiting = &mut self.waiting;
        for event in self.core.events() {
            let (message, arrived) = match event {
                Event::Received(delivery) => {
                    waiting.keep(delivery);
                    continue;
                }
                Event::Arrived(message) => (message, true),
                Event::GivenUp(message) => (message, false),
            };
            if let Some(told) = waiting.arrivals.remove(&message) {
                // Whoever sent it need not wait for this.
                let _ = told.send(arrived);
            }
        }
        if self.core.queued() == 0 && waiting.command.is_none() {
            for told in waiting.flushes.drain(..) {
                let _ = told.send(());
            }
        }
    }

    /// Hands over what has come, as far as there is room.
    fn hand_over(&mut self) {
        while !self.waiting.undelivered.is_empty() {
            let Ok(permit) = self.deliveries.try_reserve() else { return };
            if let Some(delivery) = self.waiting.take() {
                permit.send(delivery);
            }
        }
    }

    /// Takes the message that waits for room, if there is room now.
    fn take_waiting(&mut self) {
        if let Some(command) = self.waiting.command.take() {
            self.obey(command);
        }
    }

    /// Does what a handle asks; a message for which there is no room waits.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Send { outgoing, lane, taken, arrived } => {
                if !self.core.has_room(&outgoing) {
                    let command = Command::Send { outgoing, lane, taken, arrived };
                    self.waiting.command = Some(command);
                    return;
                }
                let result = self.core.send(outgoing, lane, MonotonicClock.now());
                if let (Ok(message), Some(arrived)) = (result, arrived) {
                    self.waiting.arrivals.insert(message, arrived);
                }
                if let Some(taken) = taken {
                    let _ = taken.send(result.map(|_| ()));
                }
            }
            Command::LaneLength(lane, told) => {
                let _ = told.send(self.core.waiting(core::Lane::Numbered(lane)));
            }
            Command::CloseLane(lane) => {
                self.core.close_lane(lane);
                self.note_events();
            }
            Command::Flush(told) => {
                self.waiting.flushes.push(told);
                self.note_events();
            }
            Command::Counters(told) => {
                let _ = told.send(*self.core.counters());
            }
            Command::Close(_) => unreachable!("those who call this look for it first"),
        }
    }
}

/// What the gateway says of bandwidth.
struct Account {
    left: Option<i64>,
    claimed: Option<Instant>,
    is_spent: bool,
}

impl Account {
    const fn new(left: Option<i64>) -> Self {
        Self { left, claimed: None, is_spent: false }
    }

    fn note(&mut self, response: &ServerResponse) {
        match response {
            ServerResponse::Send { remaining_bandwidth, .. } => {
                self.left = Some(*remaining_bandwidth);
                self.is_spent = false;
            }
            ServerResponse::Bandwidth { available_total, .. } => {
                self.left = Some(*available_total);
                self.claimed = None;
                self.is_spent = false;
            }
            ServerResponse::TypedError { error: TypedError::OutOfBandwidth { available, .. } } => {
                self.left = Some(*available);
                self.is_spent = true;
            }
            _ => {}
        }
    }

    /// Asks for more, where the gateway gives it for nothing.
    fn claim_if_low(&mut self, unsent: &mpsc::Sender<Message>) {
        let low = self.left.is_none_or(|left| left < BANDWIDTH_LOW);
        let asked = self.claimed.is_some_and(|claimed| claimed.elapsed() < CLAIM_AGAIN);
        if low && !asked {
            let claim = Message::text(ClientRequest::ClaimFreeTestnetBandwidth.to_text());
            // If the queue is full, the next answer of the gateway brings the next attempt.
            if unsent.try_send(claim).is_ok() {
                self.claimed = Some(Instant::now());
            }
        }
    }
}

/// Writes what is in the queue until it is closed, then says goodbye.
async fn write(
    mut sink: SplitSink<WebSocketStream<Connection>, Message>,
    mut queue: mpsc::Receiver<Message>,
) -> tungstenite::Error {
    while let Some(message) = queue.recv().await {
        if let Err(error) = sink.send(message).await {
            return error;
        }
    }
    match sink.close().await {
        Ok(()) => tungstenite::Error::ConnectionClosed,
        Err(error) => error,
    }
}

/// Lets the writer finish and the gateway answer, for a moment.
async fn goodbye(
    writer: std::pin::Pin<&mut impl Future<Output = tungstenite::Error>>,
    stream: &mut SplitStream<WebSocketStream<Connection>>,
) {
    let parting = async {
        writer.await;
        while let Some(Ok(_)) = stream.next().await {}
    };
    // A gateway that does not answer is left all the same.
    let _ = tokio::time::timeout(GOODBYE, parting).await;
}

/// Fetches the topology again and again, for as long as it is polled.
async fn refresh(source: Source, settings: Settings, news: mpsc::Sender<Topology>) -> Infallible {
    let mut pause = settings.topology_refresh.duration();
    loop {
        sleep(pause).await;
        pause = match source.fetch().await {
            Ok(topology) => {
                if news.send(topology).await.is_err() {
                    return std::future::pending().await;
                }
                settings.topology_refresh.duration()
            }
            // The old one serves until there is a new one.
            Err(_) => TOPOLOGY_AGAIN.min(settings.topology_refresh.duration()),
        };
    }
}
