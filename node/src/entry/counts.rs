//! What an entry counts, and what it says when a count of refusals grows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::faults::Said;

/// Makes the rows into [`Refusal`], and what is known of each.
macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $what:literal $remedy:literal;)+) => {
        /// Why something was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Refusal {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What has happened, after its number, and what to do about it.
            const fn words(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$variant => ($what, $remedy),)+
                }
            }
        }
    };
}

refusals! {
    /// There are as many connections as there may be.
    Connections "connections"
        "clients refused because the entry had `entry-connections` of them"
        "raise `entry-connections`, and the limit of open files with it";
    /// Too many connections have not shown yet who they are.
    Unproved "unproved"
        "connections refused because too many others had not shown who they are"
        "see where they come from and shut that out; if there is a proxy before the entry, limit \
         connections there";
    /// It did not become a WebSocket, or not in time.
    Upgrade "upgrade"
        "connections that did not become a WebSocket within 1.5 s"
        "something that is no client connects to `entry`; shut it out if it is always the same";
    /// Nothing that opens a session came in time.
    Silent "silent"
        "connections on which nobody showed in time who they are"
        "something that is no client connects to `entry`; shut it out if it is always the same";
    /// A text message is none.
    Text "text_malformed"
        "text messages of clients that were malformed"
        "a client is broken, or newer than this entry";
    /// A binary message is none, or not sealed with the client's key.
    Binary "binary_malformed"
        "binary messages of clients that were malformed or not sealed with the client's key"
        "a client is broken or has an old key; it has to register again";
    /// A message is longer than any may be, or the frames are wrong.
    Frames "frames"
        "connections closed because of messages of more than 64 KiB or broken frames"
        "something that is no client connects to `entry`; shut it out if it is always the same";
    /// A request that is not served, or not at this time.
    Unexpected "unexpected"
        "requests of clients that are not served, or not at the time"
        "a client is older than this entry understands, or broken";
    /// The client speaks no version that is spoken here.
    Version "version"
        "clients refused because their protocol version is older than 4"
        "nothing: such clients have to be brought up to date";
    /// A registration whose handshake failed.
    Registration "registration"
        "registrations that failed"
        "a client expects another identity key, or is broken";
    /// No client with this identity is registered.
    Stranger "not_registered"
        "clients refused because they are not registered here"
        "if the database was lost, clients have to register anew";
    /// The client did not prove that it is the one.
    Proof "proof"
        "clients refused because they did not prove who they are"
        "a client has an old key and must register again, or somebody else tries to be it";
    /// The clocks differ.
    Clock "clock"
        "clients refused because their clock differs from this one by more than 120 s"
        "see that this machine's clock is right";
    /// The authentication was heard before.
    Replayed "replayed"
        "authentications refused because they, or later ones, had been heard before"
        "clients that reconnect within one second cause a few; many are an attack";
    /// The client is connected already.
    Duplicate "duplicate"
        "clients refused because they are connected already"
        "the same client runs twice: give one its own directory";
    /// The database has no room for another client.
    Clients "clients"
        "registrations refused because `clients-max` are registered"
        "raise `clients-max`, or lower `registrations-per-source` if they are no real clients";
    /// Too many new clients have come from one source.
    Newcomers "newcomers"
        "registrations refused because their source had brought as many new clients as \
         `registrations-per-source` allows"
        "nothing, if somebody tries to fill this entry; raise it where many people share an \
         address";
    /// The packet costs more than the client has left.
    Bandwidth "bandwidth"
        "packets refused because their client has no bandwidth left"
        "nothing: the clients have to get some, or set `free-bandwidth` on a test network";
    /// Free bandwidth was asked for and is not given.
    FreeBandwidth "free_bandwidth"
        "claims of free bandwidth that were refused"
        "nothing, or set `free-bandwidth` on a test network";
    /// A ticket was refused.
    Ticket "ticket"
        "zk-nym tickets refused"
        "this entry takes none: on a test network, set `free-bandwidth`";
    /// The first hop is a private address.
    PrivateHop "private_hop"
        "packets refused because their first hop is a private address"
        "somebody looks for services in this network, or set `private-first-hops` on a test \
         network";
    /// The first hop is no address of a host.
    Hop "hop"
        "packets refused because nothing can be sent to their first hop"
        "a client is broken, or tries what it can do";
    /// The shards have no room.
    Busy "busy"
        "packets refused because the shards had no room for half a second"
        "clients bring more than this machine can carry";
    /// A message is for somebody who is not registered here.
    Recipient "recipient"
        "messages dropped because nobody is registered here under their address"
        "nothing: their senders use an old address; if the database was lost, clients have to \
         register anew";
    /// A client has as much in its inbox as it may.
    InboxClient "inbox_client"
        "messages dropped because their client has as much in its inbox as `inbox-client` allows"
        "nothing, or raise `inbox-client`";
    /// The inboxes hold as much as they may.
    InboxTotal "inbox_total"
        "messages dropped because the inboxes hold as much as `inbox-total` allows"
        "raise `inbox-total` if the disk has room";
    /// The disk took nothing.
    InboxDisk "inbox_disk"
        "messages dropped because the inbox could not be written"
        "see that the disk of `state-dir` has room and works";
    /// More comes for those who are away than the disk takes.
    InboxBusy "inbox_busy"
        "messages dropped because more came for those who are away than the disk can take"
        "see that the disk of `state-dir` is fast enough";
    /// The client takes nothing of what is written to it, or confirms nothing.
    Slow "slow"
        "sessions ended because their client took nothing for 30 s"
        "nothing: what was for them is in their inbox";
    /// The database failed.
    Database "database"
        "requests not served because the database failed"
        "see that the disk of `state-dir` has room and works";
}

/// Counts of one entry, which anyone may read while it runs.
#[derive(Debug)]
pub struct Counts {
    refused: [AtomicU64; Refusal::ALL.len()],
    /// Connections that there are.
    pub connections: Gauge,
    /// Sessions that there are, those among them that are ending: connections that have shown who
    /// they are.
    pub sessions: Gauge,
    /// Bytes of messages that wait for connections, or for clients to confirm them.
    pub queued: Gauge,
    /// Clients that are registered.
    pub clients: Gauge,
    /// Registrations.
    pub registered: Gauge,
    /// Sessions opened by authentication.
    pub authenticated: Gauge,
    /// Packets of clients that were handed to the shards.
    pub forwarded: Gauge,
    /// Messages that were written to clients.
    pub pushed: Gauge,
    /// Messages that were put into the inbox.
    pub stored: Gauge,
    /// Messages that were removed from the inbox for their age.
    pub expired: Gauge,
}

/// A number that many threads change.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            queued: Gauge::default(),
            clients: Gauge::default(),
            registered: Gauge::default(),
            authenticated: Gauge::default(),
            forwarded: Gauge::default(),
            pushed: Gauge::default(),
            stored: Gauge::default(),
            expired: Gauge::default(),
        }
    }
}

impl Counts {
    /// How often something was refused for this reason.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn refuse(&self, why: Refusal) {
        self.refuse_many(why, 1);
    }

    pub(crate) fn refuse_many(&self, why: Refusal, count: u64) {
        self.refused[why as usize].fetch_add(count, Ordering::Relaxed);
    }
}

/// What has been said of each reason.
#[derive(Debug)]
pub struct EntryFaults([Said; Refusal::ALL.len()]);

impl Default for EntryFaults {
    fn default() -> Self {
        Self([Said::default(); Refusal::ALL.len()])
    }
}

impl EntryFaults {
    /// The lines to say at `now`: one for each reason that came up since the last line about it,
    /// if that was at least a minute ago.
    pub fn look(&mut self, counts: &Counts, now: Instant) -> Vec<String> {
        let each = Refusal::ALL.iter().zip(&mut self.0);
        each.filter_map(|(why, said)| said.note(why.words(), counts.refused(*why), now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_refusal_is_said_once_a_minute() {
        let (counts, mut faults, start) =
            (Counts::default(), EntryFaults::default(), Instant::now());
        let mut lines = Vec::new();
        for second in 0..120 {
            for why in Refusal::ALL {
                (0..100).for_each(|_| counts.refuse(*why));
            }
            lines.extend(faults.look(&counts, start + Duration::from_secs(second)));
        }
        assert_eq!(lines.len(), 2 * Refusal::ALL.len());
        assert!(lines.iter().all(|line| line.starts_with("fault: ") && line.ends_with('.')));
    }

    #[test]
    fn reasons_have_names_of_their_own() {
        let names: std::collections::HashSet<_> = Refusal::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        for (place, why) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*why as usize, place);
        }
    }
}
