//! Messages that end at this node, on their way from the shards to their clients.
//!
//! A shard's [`Doorstep`] copies each message onto a belt and goes on; when the belt is full the
//! packet is dropped and counted (`delivery_full`), and its sender, who gets no acknowledgement,
//! sends it again. One task takes the messages off the belt, hands each to its client's session if
//! there is one that can take it, and has the others put into the inbox, all that wait at a time in
//! one transaction. While the disk is being written, messages for those who are there go on.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use phix_engine::pool::Capacity;
use phix_engine::replay::{Mark, ReplayFilter};
use phix_engine::shard::{Delivery, Sink, Undelivered};
use phix_engine::sphinx::final_message;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;
use phix_io::belt::{Belt, NotPut, Parcel, Wake};
use phix_proto::message::{Ack, FinalPayload};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::counts::{Counts, Refusal};
use super::delivery::{Acknowledgement, ClientId, Message};
use super::inbox::ClientInbox;
use super::sessions::Sessions;

/// Messages that wait on the belt at most: 14 MiB of them.
const WAITING: Capacity = [4096, 4096, 32, 32, 32];
/// Messages that are handed out before the task looks at something else.
const TURN: usize = 256;
/// Bytes of messages that wait for the inbox at most, beside those that are being written.
const UNWRITTEN_MAX: usize = 16 << 20;
/// How often what is too old is removed from the inbox.
const CLEAN_EVERY: Duration = Duration::from_secs(3_600);

/// What stands on a message.
#[derive(Clone, Copy, Debug)]
struct Note {
    client: ClientId,
    rotation: KeyRotation,
    size: PacketSize,
}

/// Where the shards leave messages.
#[derive(Debug)]
struct Hall {
    belt: Arc<Belt<Note>>,
    awake: Notify,
}

/// The shards' side, one clone for each, and the side of those who deliver.
pub fn arrivals() -> (Doorstep, Arrivals) {
    let hall = Arc::new(Hall { belt: Arc::new(Belt::new(WAITING)), awake: Notify::new() });
    (Doorstep(Arc::clone(&hall)), Arrivals(hall))
}

/// Where a shard leaves messages that end here.
#[derive(Clone, Debug)]
pub struct Doorstep(Arc<Hall>);

impl Doorstep {
    /// A sink that leaves messages here, and marks of packets with `memory`.
    pub fn with<S: Sink>(self, memory: S) -> EntrySink<S> {
        EntrySink { doorstep: self, memory }
    }

    fn leave(&self, delivery: &Delivery<'_>) -> Result<(), Undelivered> {
        let size = PacketSize::ALL
            .into_iter()
            .find(|size| size.payload_len() == delivery.payload.len())
            .ok_or(Undelivered::Malformed)?;
        let plain = final_message(delivery.payload).ok_or(Undelivered::Malformed)?;
        FinalPayload::parse(size, plain).ok_or(Undelivered::Malformed)?;
        let note = Note { client: *delivery.destination, rotation: delivery.rotation, size };
        match self.0.belt.put(note, plain) {
            Ok(Wake::Needed) => self.0.awake.notify_one(),
            Ok(Wake::No) => {}
            Err(NotPut::TooLong) => return Err(Undelivered::Malformed),
            Err(NotPut::Full | NotPut::Closed) => return Err(Undelivered::NoRoom),
        }
        Ok(())
    }
}

/// The sink of a shard whose node is an entry: messages go to the doorstep, marks to the memory.
#[derive(Debug)]
pub struct EntrySink<S> {
    doorstep: Doorstep,
    memory: S,
}

impl<S: Sink> Sink for EntrySink<S> {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        self.doorstep.leave(&delivery)
    }

    fn remember(&mut self, filter: &ReplayFilter, marks: &[Mark]) -> bool {
        self.memory.remember(filter, marks)
    }
}

/// The side of those who deliver.
#[derive(Clone, Debug)]
pub struct Arrivals(Arc<Hall>);

/// Delivers what arrives until `end`, and all that has arrived by then.
pub(crate) async fn deliver(
    arrivals: Arrivals,
    sessions: Arc<Sessions>,
    inbox: ClientInbox,
    counts: Arc<Counts>,
    end: impl Future<Output = ()>,
) {
    let hall = arrivals.0;
    let mut end = pin!(end.fuse());
    let mut ending = false;
    let mut desk = Desk { sessions, inbox, counts, unwritten: Vec::new(), bytes: 0 };
    let mut writing: Option<BoxFuture<'static, ()>> = None;
    let mut cleaning: Option<BoxFuture<'static, ()>> = None;
    let mut hour = interval(CLEAN_EVERY);
    hour.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let more = desk.hand_out(&hall.belt);
        if writing.is_none() {
            writing = desk.write();
        }
        if ending && !more && writing.is_none() && hall.belt.is_empty() {
            return;
        }
        let asleep = !more && hall.belt.rest();
        tokio::select! {
            biased;
            () = done(&mut writing) => {}
            () = hall.awake.notified(), if asleep => {}
            () = &mut end => ending = true,
            () = done(&mut cleaning) => {}
            _ = hour.tick(), if cleaning.is_none() => cleaning = Some(desk.clean()),
            () = tokio::task::yield_now(), if !asleep => {}
        }
        hall.belt.rise();
    }
}

/// Waits for the end of what runs, if something does.
async fn done(running: &mut Option<BoxFuture<'static, ()>>) {
    match running {
        Some(future) => future.await,
        None => pending().await,
    }
    *running = None;
}

/// Who hands messages out.
struct Desk {
    sessions: Arc<Sessions>,
    inbox: ClientInbox,
    counts: Arc<Counts>,
    /// For the inbox.
    unwritten: Vec<(ClientId, Message)>,
    bytes: usize,
}

impl Desk {
    /// Hands out messages, a limited number; says whether there may be more.
    fn hand_out(&mut self, belt: &Arc<Belt<Note>>) -> bool {
        for _ in 0..TURN {
            let Some(parcel) = belt.take() else { return false };
            let client = parcel.note.client;
            let Err(message) = self.sessions.push(&client, message(&parcel)) else { continue };
            if self.bytes + message.bytes.len() > UNWRITTEN_MAX {
                self.counts.refuse(Refusal::InboxBusy);
                continue;
            }
            self.bytes += message.bytes.len();
            self.unwritten.push((client, message));
        }
        true
    }

    /// Has all that waits put into the inbox, in the order in which it came.
    fn write(&mut self) -> Option<BoxFuture<'static, ()>> {
        if self.unwritten.is_empty() {
            return None;
        }
        let messages = std::mem::take(&mut self.unwritten);
        self.bytes = 0;
        let (inbox, sessions) = (self.inbox.clone(), Arc::clone(&self.sessions));
        Some(Box::pin(async move {
            let mut clients: BTreeMap<ClientId, Vec<Message>> = BTreeMap::new();
            for (client, message) in messages {
                clients.entry(client).or_default().push(message);
            }
            let names: Vec<ClientId> = clients.keys().copied().collect();
            inbox.keep_all(clients).await;
            // Some of them may have come while the disk was being written.
            names.iter().for_each(|client| sessions.look(client));
        }))
    }

    fn clean(&self) -> BoxFuture<'static, ()> {
        let inbox = self.inbox.clone();
        Box::pin(async move { inbox.clean().await })
    }
}

/// The message in a parcel, and the acknowledgement that came with it.
fn message(parcel: &Parcel<Note>) -> Message {
    let payload = FinalPayload::parse(parcel.note.size, parcel.bytes());
    let FinalPayload { ack, message } = payload.expect("it was read when it was put on the belt");
    let acknowledgement = |Ack { first_hop, packet }: Ack<'_>| Acknowledgement {
        next_hop: first_hop,
        rotation: parcel.note.rotation,
        packet: packet.as_slice().into(),
    };
    Message { bytes: message.into(), acknowledgement: ack.map(acknowledgement) }
}
