//! What all connections share: one mixnet client and one exit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phix_proto::message::{Recipient, SenderTag};
use phix_proto::requester::{Body, Content, Control, ControlAnswer, Request, Response};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::inlet::{Failure, Inlet};
use super::line::Line;
use super::stats::Stats;
use super::window;
use crate::mixnet::core::os_rng;
use crate::mixnet::{Disconnected, Outgoing, Receiver, SendError, Sender};

/// An exit of which nothing was heard for so long is asked whether it is there.
const QUIET: Duration = Duration::from_secs(20);

/// An exit of which nothing was heard for so long is not.
const DEAD: Duration = Duration::from_secs(75);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Reply SURBs for answers about the exit itself.
const OWN_SURBS: u32 = 3;

/// The way to one exit.
#[derive(Debug)]
pub struct Tunnel {
    sender: Sender,
    exit: Recipient,
    /// The name under which the exit is asked about itself.
    name: SenderTag,
    inlets: Mutex<HashMap<u64, Arc<Inlet>>>,
    heard: watch::Sender<Option<Instant>>,
    /// Whether the exit says so when it has connected: by an empty message, as those of Phix do.
    /// Stock exits say nothing then; they are told by what they answer about themselves.
    tells: AtomicBool,
    stats: Arc<Stats>,
}

impl Tunnel {
    /// A way from this client to an exit, by the address of its network requester.
    pub fn new(sender: Sender, exit: Recipient, stats: Arc<Stats>) -> Self {
        Self {
            sender,
            exit,
            name: SenderTag::random(&mut os_rng()),
            inlets: Mutex::default(),
            heard: watch::Sender::new(None),
            tells: AtomicBool::new(true),
            stats,
        }
    }

    /// The exit.
    pub const fn exit(&self) -> &Recipient {
        &self.exit
    }

    pub(super) const fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(super) const fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Whether the exit says so when it has connected.
    pub(super) fn tells(&self) -> bool {
        self.tells.load(Ordering::Relaxed)
    }

    /// Packets that the exit may send for one of the present connections, at most.
    pub(super) fn share(&self) -> u32 {
        window::share(self.inlets().len())
    }

    /// Bytes of one of the present connections that may be without acknowledgement.
    pub(super) fn unacknowledged_max(&self) -> usize {
        window::unacknowledged_max(self.inlets().len())
    }

    /// A new connection, of which the exit knows nothing yet.
    pub(super) fn line(self: &Arc<Self>) -> Line {
        let inlet = Arc::new(Inlet::new());
        let mut rng = os_rng();
        let connection = loop {
            let connection = rand::Rng::next_u64(&mut rng);
            let mut inlets = self.inlets();
            if let std::collections::hash_map::Entry::Vacant(entry) = inlets.entry(connection) {
                entry.insert(inlet.clone());
                break connection;
            }
        };
        Line::new(self.clone(), connection, SenderTag::random(&mut rng), inlet)
    }

    /// Nothing that comes for this connection matters any more.
    pub(super) fn remove(&self, connection: u64) {
        self.inlets().remove(&connection);
    }

    fn inlets(&self) -> MutexGuard<'_, HashMap<u64, Arc<Inlet>>> {
        // Nothing that holds the lock can leave half of a change behind.
        self.inlets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the exit what it is, and waits for its answer. [`Tunnel::run`] must run meanwhile.
    ///
    /// # Errors
    /// If the client has ended. Whether the exit has answered in time is in the result.
    pub async fn greet(&self, patience: Duration) -> Result<bool, Disconnected> {
        let mut heard = self.heard.subscribe();
        self.ask(Control::Binary).await?;
        let answered = timeout(patience, heard.wait_for(Option::is_some)).await;
        Ok(answered.is_ok_and(|heard| heard.is_ok()))
    }

    async fn ask(&self, question: Control) -> Result<(), Disconnected> {
        let request = Request::new(Body::Control(question));
        let data = request.encode().expect("the current form has control messages");
        let outgoing =
            Outgoing::Named { recipient: self.exit, name: self.name, data, reply_surbs: OWN_SURBS };
        match self.sender.submit(outgoing, None).await {
            // That it has arrived says less than the answer will.
            Ok(sent) => drop(sent),
            Err(SendError::Disconnected) => return Err(Disconnected),
            Err(SendError::Unsendable(_)) => unreachable!("a question is short"),
        }
        Ok(())
    }

    /// Hands out what comes, and sees whether the exit is still there, until the client ends.
    pub async fn run(&self, receiver: &mut Receiver) {
        let hand_out = async {
            while let Some(delivery) = receiver.receive().await {
                self.take_in(&delivery.data);
            }
        };
        tokio::select! {
            () = hand_out => {}
            () = self.watch() => {}
        }
        self.fail_all(&Failure::Silence);
    }

    fn take_in(&self, bytes: &[u8]) {
        let Ok(response) = Response::parse(bytes) else {
            return self.stats.count("answers that make no sense");
        };
        self.heard.send_replace(Some(Instant::now()));
        match response.content {
            Content::NetworkData(data) => {
                if data.sequence == 0 && data.bytes.is_empty() && !data.closed {
                    self.tells.store(true, Ordering::Relaxed);
                }
                match self.inlet(data.connection) {
                    Some(inlet) => inlet.insert(&data),
                    None => self.stats.count("answers for connections that are over"),
                }
            }
            Content::ConnectionError { connection, reason } => match self.inlet(connection) {
                Some(inlet) => inlet.fail(Failure::Exit(reason.to_owned())),
                None => self.stats.count("answers for connections that are over"),
            },
            Content::Control(ControlAnswer::Binary(_)) => {
                self.tells.store(false, Ordering::Relaxed);
            }
            Content::Control(_) | Content::Query(_) => {}
        }
    }

    fn inlet(&self, connection: u64) -> Option<Arc<Inlet>> {
        self.inlets().get(&connection).cloned()
    }

    /// Asks an exit that says nothing whether it is there, and ends its connections if it is not.
    async fn watch(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = Instant::now();
        let mut asked = None;
        loop {
            let now = look.tick().await;
            if self.inlets().is_empty() {
                // What happened while nobody was interested says nothing about now.
                (since, asked) = (now, None);
                continue;
            }
            let heard = self.heard.borrow().map_or(since, |heard| heard.max(since));
            let quiet = now.saturating_duration_since(heard);
            if quiet < QUIET {
                asked = None;
            } else if quiet >= DEAD {
                self.stats.count("times that the exit was silent");
                self.fail_all(&Failure::Silence);
            } else if asked.is_none_or(|asked| now - asked >= QUIET) {
                asked = Some(now);
                // A queue without room must not keep this from seeing that time has passed.
                if let Ok(Err(Disconnected)) = timeout(LOOK, self.ask(Control::Health)).await {
                    return;
                }
            }
        }
    }

    fn fail_all(&self, failure: &Failure) {
        self.inlets().values().for_each(|inlet| inlet.fail(failure.clone()));
    }
}
