//! The task that runs a client: it moves packets between the core and the gateway, and messages
//! between the core and whoever holds the handles.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use phix_io::MonotonicClock;
use phix_proto::message::{Recipient, SenderTag};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite;

use super::super::core::{self, Core, Counters, Delivery, Event, MessageId, Outgoing, Unsendable};
use super::super::directory::Source;
use super::super::settings::Settings;
use super::super::store::{Registration, Store};
use super::link::{Dialer, Gateway, Link, LinkError};
use super::{GivenUp, Status, gateway_of, session};
use crate::topology::Topology;

/// Pause after the first failure to reach the gateway; each further one doubles it.
const BACKOFF: Duration = Duration::from_millis(500);

/// How soon the topology is asked for again when there was none to be had.
const TOPOLOGY_AGAIN: Duration = Duration::from_secs(15);

/// What handles ask of the task.
pub(super) enum Command {
    /// Send a message; tell when it is taken, and when it has arrived.
    Send {
        outgoing: Outgoing,
        lane: Option<u64>,
        taken: Option<oneshot::Sender<Result<(), Unsendable>>>,
        arrived: Option<oneshot::Sender<Result<(), GivenUp>>>,
    },
    /// Keep a recipient supplied with reply SURBs of this name.
    Supply(SenderTag, Recipient, u32),
    /// Give no more reply SURBs of this name.
    ForgetName(SenderTag),
    /// How many fragments of a lane wait?
    LaneLength(u64, oneshot::Sender<usize>),
    /// Drop what waits in a lane.
    CloseLane(u64),
    /// Tell when nothing waits and nothing is under way.
    Flush(oneshot::Sender<()>),
    /// What was counted?
    Counters(oneshot::Sender<Counters>),
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
    /// Requests to say goodbye and end; they do not wait behind a message that waits for room.
    pub(super) closes: mpsc::Receiver<oneshot::Sender<Counters>>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) status: watch::Sender<Status>,
    pub(super) waiting: Waiting,
    /// For when the packets were meant that have left.
    #[cfg(test)]
    pub(super) schedule: super::Schedule,
}

/// What handles wait for.
#[derive(Default)]
pub(super) struct Waiting {
    /// A message for which there is no room yet; no other command is taken meanwhile.
    command: Option<Command>,
    arrivals: HashMap<MessageId, oneshot::Sender<Result<(), GivenUp>>>,
    flushes: Vec<oneshot::Sender<()>>,
    /// Messages for which the receiving handle has no room yet, and their bytes.
    undelivered: VecDeque<Delivery>,
    bytes: usize,
}

impl Waiting {
    /// Whether a message waits for room.
    pub(super) const fn for_room(&self) -> bool {
        self.command.is_some()
    }

    /// Bytes of messages that nobody has received.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there are any.
    pub(super) fn has_undelivered(&self) -> bool {
        !self.undelivered.is_empty()
    }

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
pub(super) enum End {
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
            let opened = match opened {
                Ok(opened) => opened,
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
                ended = session::serve(&mut self, opened, &mut topologies) => ended,
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
        // Whoever waits for the end may want to open the directory at once.
        drop(self.store);
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
                Some(command) = self.commands.recv(), if room => self.obey(command),
                told = self.closes.recv() => return Err(End::Wanted(told)),
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

    pub(super) fn take_topology(&mut self, topology: Topology) {
        if !self.gateway.fixed
            && let Some(gateway) = gateway_of(&topology, &self.gateway.identity)
        {
            self.gateway = gateway;
        }
        self.core.set_topology(topology);
    }

    /// Says how the client fares, if that is news.
    pub(super) fn tell(&self, status: Status) {
        self.status.send_if_modified(|before| {
            let is_news = *before != status;
            *before = status;
            is_news
        });
    }

    pub(super) fn note_events(&mut self) {
        let waiting = &mut self.waiting;
        let given_up = || Err(GivenUp::because(&self.status.borrow()));
        for event in self.core.events() {
            let (message, arrived) = match event {
                Event::Received(delivery) => {
                    waiting.keep(delivery);
                    continue;
                }
                Event::Arrived(message) => (message, Ok(())),
                Event::GivenUp(message) => (message, given_up()),
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
    pub(super) fn hand_over(&mut self) {
        while !self.waiting.undelivered.is_empty() {
            let Ok(permit) = self.deliveries.try_reserve() else { return };
            if let Some(delivery) = self.waiting.take() {
                permit.send(delivery);
            }
        }
    }

    /// Hands over one message by this permit; without, nobody will receive any, and what comes
    /// after must not wait for that.
    pub(super) fn deliver(&mut self, permit: Option<mpsc::Permit<'_, Delivery>>) {
        match permit {
            Some(permit) => {
                if let Some(delivery) = self.waiting.take() {
                    permit.send(delivery);
                }
            }
            None => while self.waiting.take().is_some() {},
        }
    }

    pub(super) fn broken(&self, error: impl Into<tungstenite::Error>) -> End {
        End::Broken(LinkError::WebSocket(self.gateway.url.authority(), Box::new(error.into())))
    }

    /// Takes the message that waits for room, if there is room now.
    pub(super) fn take_waiting(&mut self) {
        if let Some(command) = self.waiting.command.take() {
            self.obey(command);
        }
    }

    /// Does what a handle asks; a message for which there is no room waits.
    pub(super) fn obey(&mut self, command: Command) {
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
            Command::Supply(name, recipient, reply_surbs) => {
                self.core.keep_supplied(name, recipient, reply_surbs, MonotonicClock.now());
            }
            Command::ForgetName(name) => self.core.forget_name(&name),
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
        }
    }
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
