//! What a client sends and when, and what it makes of what comes, without I/O.
//!
//! Time is an argument, randomness comes from the generator that is handed in, packets go out and
//! come in as bytes. Two Poisson streams decide when packets leave: the main stream sends the next
//! fragment that waits, or else cover; the loop cover stream sends cover always. Neither looks at
//! what there is to send, all packets have one size, and each is made before its time comes. So an
//! observer of the link to the gateway sees the same process whatever the client does; the test
//! `an_observer_sees_no_difference` measures it.
//!
//! Whoever drives a [`Core`] calls [`Core::depart`] when [`Core::deadline`] has come,
//! [`Core::arrive`] for each payload that the gateway pushes, and takes [`Core::events`].

mod arrivals;
mod counters;
mod outbox;
mod pacing;
mod packing;
mod replies;
mod routes;
mod stocks;
mod supply;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use chacha20::ChaCha20Rng;
use phix_engine::crypto::Kernels;
use phix_engine::units::{Span, Time};
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    Assembler, AssemblyLimits, ClientKeys, Fragment, Message, Packer, Packet, Purpose, Recipient,
    Repliable, Reply, SenderTag, SurbFormat, packets_needed, split,
};
use rand::SeedableRng;

use super::settings::Settings;
use crate::topology::Topology;
use outbox::{Key, Outbox, Outcome};
use pacing::Pace;
use replies::Replies;
use routes::Router;
use stocks::Stocks;

pub use counters::Counters;
pub use outbox::{Lane, MessageId};

/// Bytes of a message, at most.
pub const MESSAGE_MAX: usize = 32 << 20;

/// The size of all packets: that of stock clients.
const SIZE: PacketSize = PacketSize::Regular;

/// Blocks that one request for more is answered with, at most.
const SURBS_GIVEN_MAX: u32 = 50;

/// How long a main stream without cover rests where nothing waits.
const REST: Span = Span::from_millis(100);

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To a client, with reply SURBs for its answer, or none.
    Message {
        /// The client.
        recipient: Recipient,
        /// What to tell it.
        data: Vec<u8>,
        /// How many fragments of an answer are paid for. Zero: it does not learn that it could
        /// answer.
        reply_surbs: u32,
    },
    /// The same under a name that is used for nothing else: whoever gets messages under two names
    /// cannot tell that they are from one client. [`Core::keep_supplied`] sees to further SURBs;
    /// requests for them are answered as it says.
    Named {
        /// The client.
        recipient: Recipient,
        /// The name, drawn at random.
        name: SenderTag,
        /// What to tell it.
        data: Vec<u8>,
        /// How many reply SURBs go with it: as many as the recipient lacks, up to this. The first
        /// message under a name says how many it is to have.
        reply_surbs: u32,
    },
    /// To somebody who sent a message with reply SURBs.
    Reply {
        /// The sender, as the message named it.
        sender: SenderTag,
        /// What to tell them.
        data: Vec<u8>,
    },
}

impl Outgoing {
    /// Bytes of the message.
    pub const fn len(&self) -> usize {
        match self {
            Self::Message { data, .. } | Self::Named { data, .. } | Self::Reply { data, .. } => {
                data.len()
            }
        }
    }

    /// Whether the message has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fragments that it takes, or a few more.
    fn fragments(&self) -> usize {
        let surbs = match self {
            Self::Message { reply_surbs, .. } | Self::Named { reply_surbs, .. } => {
                *reply_surbs as usize
            }
            Self::Reply { .. } => 0,
        };
        let block = SurbFormat::default().encoded_len(4);
        packets_needed(self.len() + surbs * block + 64, SIZE)
    }
}

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What it says.
    pub data: Vec<u8>,
    /// By what name to answer its sender, if it brought reply SURBs.
    pub sender: Option<SenderTag>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message is here, whole.
    Received(Delivery),
    /// All of a message has reached the recipient's gateway.
    Arrived(MessageId),
    /// A message was given up: a fragment was sent as often as allowed, or nobody gave the reply
    /// SURBs for it.
    GivenUp(MessageId),
}

/// Why something cannot be sent at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// It has more than [`MESSAGE_MAX`] bytes.
    TooLong,
    /// Nobody of this name has sent reply SURBs, or it was too long ago.
    UnknownSender(SenderTag),
}

impl std::fmt::Display for Unsendable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "the message is longer than {} MiB; send it in parts", MESSAGE_MAX >> 20)
            }
            Self::UnknownSender(tag) => write!(
                f,
                "nobody known as {tag} has sent reply SURBs that are still there; wait for their \
                 next message"
            ),
        }
    }
}

impl std::error::Error for Unsendable {}

/// A fragment and whom it is for.
#[derive(Clone)]
struct Cargo {
    fragment: Fragment,
    to: To,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Client(Recipient),
    Sender(SenderTag),
}

/// A packet that was made ahead of its time.
enum Ready {
    /// It carries this fragment.
    Fragment(Key, Packet),
    /// It is sent once, whatever becomes of it.
    Once(Packet),
}

/// The state of one client.
pub struct Core {
    timing: Timing,
    keys: ClientKeys,
    rng: ChaCha20Rng,
    router: Router,
    packer: Packer,
    main: Pace,
    cover: Option<Pace>,
    outbox: Outbox<Cargo>,
    ready: VecDeque<Ready>,
    covers: Vec<Packet>,
    replies: Replies,
    stocks: Stocks,
    assembler: Assembler,
    events: VecDeque<Event>,
    messages: u64,
    counters: Counters,
}

/// The settings that the core looks at.
#[derive(Clone, Copy)]
struct Timing {
    main: Span,
    main_cover: bool,
    cover: Option<Span>,
    hop_delay: Span,
    ack_wait_factor: f64,
    ack_wait_extra: Span,
}

impl Core {
    /// A client with these keys at the gateway that `own` names. `rng` must be seeded with what
    /// nobody can guess: all secrets of its packets come from it.
    pub fn new(
        settings: &Settings,
        keys: ClientKeys,
        own: Recipient,
        topology: Topology,
        kernels: Kernels,
        mut rng: ChaCha20Rng,
        now: Time,
    ) -> Self {
        let cover = settings.loop_cover.span();
        let timing = Timing {
            main: settings.main_stream.span(),
            main_cover: settings.main_cover,
            cover: (cover > Span::ZERO).then_some(cover),
            hop_delay: settings.hop_delay.span(),
            ack_wait_factor: settings.ack_wait_factor,
            ack_wait_extra: settings.ack_wait_extra.span(),
        };
        let packer = Packer::new(kernels, own, keys.ack().clone(), SurbFormat::default());
        Self {
            timing,
            router: Router::new(topology, timing.hop_delay, settings.ack_delay.span()),
            packer,
            main: Pace::new(timing.main, now, &mut rng),
            cover: timing.cover.map(|mean| Pace::new(mean, now, &mut rng)),
            outbox: Outbox::new(settings.queue, settings.retransmissions),
            ready: VecDeque::new(),
            covers: Vec::new(),
            replies: Replies::new(),
            stocks: Stocks::default(),
            assembler: Assembler::new(AssemblyLimits::default()),
            events: VecDeque::new(),
            messages: 0,
            counters: Counters::default(),
            keys,
            rng,
        }
    }

    /// The client's own address.
    pub const fn own(&self) -> &Recipient {
        self.packer.own()
    }

    /// What was counted so far.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Fragments that wait or are under way.
    pub fn queued(&self) -> usize {
        self.outbox.len()
    }

    /// Fragments of a lane that wait for their first turn.
    pub fn waiting(&self, lane: Lane) -> usize {
        self.outbox.waiting(lane)
    }

    /// Routes packets by another topology from now on. What was made for the old one and has not
    /// left is made anew.
    pub fn set_topology(&mut self, topology: Topology) {
        let rotation = topology.metadata().key_rotation_id;
        if self.router.topology().metadata().key_rotation_id != rotation {
            self.stocks.renew();
        }
        if !self.router.replace(topology) {
            return;
        }
        self.covers.clear();
        for ready in std::mem::take(&mut self.ready) {
            if let Ready::Fragment(key, _) = ready {
                self.outbox.put_back(key);
            }
        }
    }

    /// Whether there is room for a message now. A message longer than the whole queue has room when
    /// nothing else is there.
    pub fn has_room(&self, outgoing: &Outgoing) -> bool {
        self.outbox.has_room(outgoing.fragments())
    }

    /// Takes a message to be sent. Those of one lane leave in order; without a lane it has its own.
    ///
    /// # Errors
    /// If it can never be sent. Whether there is room is for the caller to ask.
    pub fn send(
        &mut self,
        outgoing: Outgoing,
        lane: Option<u64>,
        now: Time,
    ) -> Result<MessageId, Unsendable> {
        if outgoing.len() > MESSAGE_MAX {
            return Err(Unsendable::TooLong);
        }
        let (message, to) = match outgoing {
            Outgoing::Message { recipient, data, reply_surbs: 0 } => {
                (Message::Plain(data), To::Client(recipient))
            }
            Outgoing::Message { recipient, data, reply_surbs } => {
                let sender = self.replies.pseudonym(&recipient, now, &mut self.rng);
                (self.repliable(sender, data, reply_surbs, None, now), To::Client(recipient))
            }
            Outgoing::Named { recipient, name, data, reply_surbs } => {
                if !self.stocks.has(&name) {
                    self.stocks.keep(name, recipient, reply_surbs, now);
                }
                let reply_surbs = self.stocks.lacks(&name).min(reply_surbs);
                let message = self.repliable(name, data, reply_surbs, Some(name), now);
                (message, To::Client(recipient))
            }
            Outgoing::Reply { sender, data } => {
                if !self.replies.knows(&sender) {
                    return Err(Unsendable::UnknownSender(sender));
                }
                (Message::Reply(Reply::Data(data)), To::Sender(sender))
            }
        };
        let lane = lane.map_or_else(|| self.own_lane(), Lane::Numbered);
        Ok(self.post(&message, to, lane))
    }

    fn repliable(
        &mut self,
        sender: SenderTag,
        data: Vec<u8>,
        reply_surbs: u32,
        stock: Option<SenderTag>,
        now: Time,
    ) -> Message {
        let surbs = self.make_surbs(reply_surbs, stock, now);
        Message::Repliable(Repliable { sender, purpose: Purpose::Data(data), surbs })
    }

    /// The lane of the message that is posted next, if it is to have one of its own.
    const fn own_lane(&self) -> Lane {
        Lane::Own(MessageId(self.messages))
    }

    fn post(&mut self, message: &Message, to: To, lane: Lane) -> MessageId {
        let id = MessageId(self.messages);
        self.messages += 1;
        let fragments = loop {
            let fragments = split(message.encode(), SIZE, &mut self.rng);
            // Sets are numbered at random; that one is under way already hardly ever happens.
            if !fragments.iter().any(|part| self.outbox.holds(&part.id().to_bytes())) {
                break fragments;
            }
        };
        let cargo = fragments
            .into_iter()
            .map(|fragment| (fragment.id().to_bytes(), Cargo { fragment, to }));
        self.outbox.post(id, lane, cargo);
        id
    }

    /// Drops what waits in a lane for its first turn.
    pub fn close_lane(&mut self, lane: u64) {
        let gone = self.outbox.close(Lane::Numbered(lane));
        self.report(gone);
    }

    /// Starts both streams anew: the link to the gateway was down, and nothing could leave.
    pub fn resume(&mut self, now: Time) {
        self.main = Pace::new(self.timing.main, now, &mut self.rng);
        self.cover = self.timing.cover.map(|mean| Pace::new(mean, now, &mut self.rng));
    }

    /// When [`Core::depart`] has something to do next.
    pub fn deadline(&self) -> Time {
        let main = self.main_due();
        self.cover.map_or(main, |cover| cover.due().min(main))
    }

    /// The packet that leaves now, if one is due. To be called until there is none.
    pub fn depart(&mut self, now: Time) -> Option<Packet> {
        while self.deadline() <= now {
            let loop_is_due = self.cover.is_some_and(|cover| cover.due() <= self.main_due());
            let packet = if loop_is_due && let Some(cover) = &mut self.cover {
                cover.advance(now, &mut self.rng);
                self.take_cover().inspect(|_| self.counters.sent_cover_loop += 1)
            } else {
                if self.main_due() > self.main.due() {
                    // What was not sent during a rest is not made up for.
                    self.main = Pace::new(self.timing.main, now, &mut self.rng);
                } else {
                    self.main.advance(now, &mut self.rng);
                }
                self.expire(now);
                match self.take_fragment(now) {
                    None if self.timing.main_cover => {
                        self.take_cover().inspect(|_| self.counters.sent_cover_main += 1)
                    }
                    packet => packet,
                }
            };
            if packet.is_some() {
                return packet;
            }
            if loop_is_due || self.timing.main_cover {
                self.counters.no_route += 1;
            }
        }
        None
    }

    /// When the main stream has something to do. Without cover it rests while nothing waits, and
    /// looks now and then what is to be sent again.
    fn main_due(&self) -> Time {
        let due = self.main.due();
        let waits = !self.ready.is_empty() || self.outbox.has_turns();
        if self.timing.main_cover || waits { due } else { due.after(REST) }
    }

    fn expire(&mut self, now: Time) {
        let (_, gone) = self.outbox.expire(now);
        self.report(gone);
        let (again, in_vain) = self.replies.expire(now);
        again.into_iter().for_each(|key| self.outbox.put_back(key));
        for key in in_vain {
            if let Some(message) = self.outbox.message_of(&key) {
                self.outbox.withdraw(message);
                self.report([Outcome::GivenUp(message)]);
            }
        }
        self.assembler.expire(now);
    }

    fn report(&mut self, outcomes: impl IntoIterator<Item = Outcome>) {
        for outcome in outcomes {
            self.events.push_back(match outcome {
                Outcome::Arrived(message) => Event::Arrived(message),
                Outcome::GivenUp(message) => {
                    self.counters.given_up += 1;
                    Event::GivenUp(message)
                }
            });
        }
    }

    /// What has happened since the last time.
    pub fn events(&mut self) -> impl Iterator<Item = Event> {
        self.events.drain(..)
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("own", self.own()).finish_non_exhaustive()
    }
}

/// A generator for a [`Core`], seeded by the operating system.
///
/// # Panics
/// If the operating system gives no random bytes.
pub fn os_rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed(*crate::packet::os_seed())
}
