//! One client's session, from the seat that it takes to what it leaves behind.

use std::convert::Infallible;
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use phix_engine::shard::Origin;
use phix_io::Injector;
use phix_proto::gateway::binary::seal_pushed;
use phix_proto::gateway::{Nonce, ServerResponse, SharedKey};
use rand::RngExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::account::{Account, Balance};
use super::clients::NotRegistered;
use super::counts::Refusal;
use super::delivery::{Acknowledgement, ClientId, Message};
use super::greeting::{Newcomer, Refused, Way, database};
use super::limits::{SAVED_AFTER, TURN};
use super::sessions::Seat;
use super::socket::{End, Said, Socket};
use super::unconfirmed::{Confirmed, Unconfirmed};

/// A session.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) socket: Socket,
    pub(crate) seat: Seat,
    pub(crate) key: SharedKey,
    pub(crate) injector: Injector,
    pub(crate) account: Account,
    /// What was written and is perhaps not with the client yet.
    written: Unconfirmed,
    /// The number of the last message of the inbox that was written.
    looked: i64,
}

/// Runs the session of a client that has shown who it is, and that comes from `ip`.
pub(crate) async fn run(shared: &Arc<Shared>, mut socket: Socket, newcomer: Newcomer, ip: IpAddr) {
    let Opened { seat, balance, welcome } = match open(shared, &mut socket, &newcomer, ip).await {
        Ok(opened) => opened,
        Err(refused) => return turn_away(shared, socket, refused).await,
    };
    let session = Session {
        shared: Arc::clone(shared),
        socket,
        seat,
        key: newcomer.key,
        injector: shared.injector.clone(),
        account: Account::new(balance),
        written: Unconfirmed::default(),
        looked: 0,
    };
    session.run(welcome).await;
}

/// Tells a client why it is refused.
pub(crate) async fn turn_away(shared: &Shared, mut socket: Socket, refused: Refused) {
    let Refused { end, answer } = refused;
    shared.note(end);
    if let Some(text) = answer
        && socket.text(text).await.is_err()
    {
        return;
    }
    if end != End::Gone {
        socket.part().await;
    }
}

struct Opened {
    seat: Seat,
    balance: Balance,
    /// What is said once the client has its seat.
    welcome: ServerResponse,
}

/// Gives the client its seat, and remembers it if it is new.
async fn open(
    shared: &Arc<Shared>,
    socket: &mut Socket,
    newcomer: &Newcomer,
    ip: IpAddr,
) -> Result<Opened, Refused> {
    let Newcomer { client, key, version, way } = newcomer;
    let (client, protocol_version) = (*client, *version);
    let seat = shared.sessions.claim(client).await.map_err(|_| {
        Refused::new(Refusal::Duplicate, "the client is connected already, by another session")
    })?;
    if let Way::Registered(last) = way {
        admit(shared, client, ip).await?;
        let registered = shared.clients.register(client, key, shared.now()).await;
        registered.map_err(|error| match error {
            NotRegistered::Full => {
                Refused::new(Refusal::Clients, "the gateway takes no more clients")
            }
            NotRegistered::Database(error) => database(&error),
        })?;
        shared.counts.registered.add(1);
        socket.text(last.to_text()).await?;
    }
    let balance = shared.clients.balance(client).await.map_err(|error| database(&error))?;
    let (status, upgrade_mode) = (true, false);
    let welcome = match way {
        Way::Registered(_) => ServerResponse::Register { protocol_version, status, upgrade_mode },
        Way::Authenticated => ServerResponse::Authenticate {
            protocol_version,
            status,
            bandwidth_remaining: balance.at(shared.now()),
            upgrade_mode,
        },
    };
    Ok(Opened { seat, balance, welcome })
}

/// Refuses a new client where too many have come from its source.
async fn admit(shared: &Shared, client: ClientId, ip: IpAddr) -> Result<(), Refused> {
    let known = shared.services.contains(&client)
        || shared.clients.find(client).await.map_err(|error| database(&error))?.is_some();
    if known || shared.newcomers.admit(ip, shared.now()) {
        return Ok(());
    }
    let why = "too many new clients have registered from this address; try again tomorrow, or \
               with another gateway";
    Err(Refused::new(Refusal::Newcomers, why))
}

impl Session {
    async fn run(mut self, welcome: ServerResponse) {
        let signals = Arc::clone(&self.seat.signals);
        let end = tokio::select! {
            biased;
            () = signals.end.notified() => End::Over,
            end = self.serve(&welcome) => match end {
                Ok(never) => match never {},
                Err(end) => end,
            },
        };
        self.shared.note(end);
        self.leave(end).await;
    }

    async fn serve(&mut self, welcome: &ServerResponse) -> Result<Infallible, End> {
        self.socket.answer(welcome).await?;
        self.socket.flush().await?;
        self.look().await?;
        let signals = Arc::clone(&self.seat.signals);
        loop {
            let save_at = self.account.saved() + SAVED_AFTER;
            let confirmed_by = self.written.deadline();
            tokio::select! {
                said = self.socket.hear() => self.hear(said?).await?,
                Some(message) = self.seat.queue.recv(), if self.written.has_room() => {
                    self.push(*message).await?;
                }
                Some(asker) = self.seat.pings.recv() => self.ask(asker).await?,
                () = signals.look.notified() => self.look().await?,
                () = sleep_until(save_at), if self.account.unsaved() > 0 => self.save().await,
                () = until(confirmed_by) => self.overdue().await?,
            }
        }
    }

    /// Serves what the client said, and what it has said meanwhile.
    async fn hear(&mut self, first: Said) -> Result<(), End> {
        self.take(first).await?;
        for _ in 1..TURN {
            let Some(said) = self.socket.heard()? else { break };
            self.take(said).await?;
        }
        self.socket.flush().await
    }

    /// The client has answered a ping: what was written before that is acknowledged, or leaves the
    /// inbox.
    pub(crate) async fn pong(&mut self, bytes: &[u8]) {
        let Confirmed { messages, stored } = self.written.pong(bytes);
        for message in messages {
            self.seat.waits_no_longer(&message);
            if let Some(it) = message.acknowledgement {
                let Acknowledgement { next_hop, rotation, packet } = it;
                let sent = self.injector.send(&Origin { next_hop, rotation, packet: &packet });
                if sent.is_err() {
                    // The sender will send the message again, and the client know it.
                    self.shared.counts.refuse(Refusal::Busy);
                }
            }
        }
        if let Some(last) = stored {
            self.shared.inbox.taken(self.seat.client, last).await;
        }
    }

    /// The client has not confirmed in time what was written, unless its word waits to be heard.
    async fn overdue(&mut self) -> Result<(), End> {
        match self.socket.heard()? {
            Some(said) => self.hear(said).await,
            None => Err(End::Refused(Refusal::Slow)),
        }
    }

    async fn ask(&mut self, asker: oneshot::Sender<()>) -> Result<(), End> {
        self.written.ask(asker);
        self.socket.ping(self.written.ping()).await
    }

    /// Writes messages to the client, and asks it to confirm them.
    async fn push(&mut self, first: Message) -> Result<(), End> {
        let mut next = Some(first);
        for pushed in 1..=TURN {
            let Some(message) = next.take() else { break };
            self.write(message).await?;
            self.shared.counts.pushed.add(1);
            if pushed < TURN && self.written.has_room() {
                next = self.seat.queue.try_recv().ok().map(|message| *message);
            }
        }
        self.socket.ping(self.written.ping()).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        let sealed = seal_pushed(&self.key, &nonce(), &message.bytes);
        self.written.write(message);
        self.socket.binary(sealed).await
    }

    /// Writes to the client what lies in its inbox.
    async fn look(&mut self) -> Result<(), End> {
        let client = self.seat.client;
        loop {
            let stored = self.shared.inbox.waiting(client, self.looked).await;
            let Some(last) = stored.last().map(|message| message.number) else { return Ok(()) };
            for message in &stored {
                let sealed = seal_pushed(&self.key, &nonce(), &message.bytes);
                self.socket.binary(sealed).await?;
            }
            self.looked = last;
            self.shared.counts.pushed.add(stored.len() as u64);
            self.written.write_stored(last);
            self.socket.ping(self.written.ping()).await?;
        }
    }

    /// Writes to the database what the client has spent.
    pub(crate) async fn save(&mut self) {
        let spent = self.account.save();
        if spent > 0 && self.shared.clients.spend(self.seat.client, spent).await.is_err() {
            self.shared.counts.refuse(Refusal::Database);
        }
    }

    /// Gives back what the client has not confirmed, and says goodbye.
    async fn leave(mut self, end: End) {
        self.save().await;
        let Self { shared, socket, mut seat, written, .. } = self;
        let mut left: Vec<Message> =
            written.into_messages().inspect(|message| seat.waits_no_longer(message)).collect();
        left.extend(seat.close());
        if !left.is_empty() {
            shared.inbox.keep(seat.client, left).await;
            // The client's next session may have begun.
            shared.sessions.look(&seat.client);
        }
        drop(seat);
        if end != End::Gone {
            socket.part().await;
        }
    }
}

/// Waits until then, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Random bytes for one message.
pub(crate) fn nonce() -> Nonce {
    rand::rng().random()
}
