//! The bounds of an entry, in one place. What is beyond one is refused and counted, or waits and
//! lets its own sender wait.

use std::time::Duration;

use phix_proto::gateway;

/// How long a connection may take to become a WebSocket.
pub(crate) const UPGRADE: Duration = Duration::from_millis(1_500);
/// How long a client may take, from then on, to say who it is.
pub(crate) const FIRST_WORD: Duration = Duration::from_secs(10);
/// How long a client may take for its answer in the handshake of a registration.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(5);
/// Messages of a client before it has a session: versions, and what opens the session.
pub(crate) const WORDS_MAX: usize = 8;

/// Connections that have not shown yet who they are, and those of one source among them.
pub(crate) const UNPROVED_MAX: usize = 2_048;
/// See [`UNPROVED_MAX`].
pub(crate) const UNPROVED_PER_SOURCE: usize = 256;

/// How long a session that is in a newer one's way may take to show that its client is there.
pub(crate) const ALIVE: Duration = Duration::from_secs(1);
/// How long a session that must go may take to go.
pub(crate) const LEAVING: Duration = Duration::from_secs(2);
/// How long a client may take nothing of what is written to it, before its session ends.
pub(crate) const WRITING: Duration = Duration::from_secs(30);
/// How long a client may confirm nothing of what was written to it, before its session ends.
pub(crate) const CONFIRMING: Duration = Duration::from_secs(30);
/// How long a goodbye may take.
pub(crate) const GOODBYE: Duration = Duration::from_millis(500);

/// Messages that wait for one client's connection; more go to its inbox.
pub(crate) const QUEUE: usize = 128;
/// Messages that were written to one client and that it has not confirmed; more wait.
pub(crate) const UNCONFIRMED: usize = 128;
/// Bytes of messages that wait for all connections together, or for their clients to confirm them;
/// more go to the inboxes.
pub(crate) const QUEUED_BYTES: usize = 128 << 20;
/// Messages that are written, or read, before the other side has its turn.
pub(crate) const TURN: usize = 64;

/// How long a packet waits for room in the shards, and with it its client.
pub(crate) const INJECTING: Duration = Duration::from_millis(500);
/// How often it is tried.
pub(crate) const INJECTING_AGAIN: Duration = Duration::from_millis(2);

/// Bandwidth that is spent before that is written to the database, bytes.
pub(crate) const UNSAVED: i64 = 512 << 10;
/// How long less than that may stay unwritten.
pub(crate) const SAVED_AFTER: Duration = Duration::from_secs(5);
/// Bandwidth that a claim of free bandwidth adds, bytes.
pub(crate) const FREE_BANDWIDTH: i64 = 64 << 30;
/// Bandwidth that a client can have, bytes.
pub(crate) const BANDWIDTH_MAX: i64 = 1 << 50;

/// Sources, and IPv6 networks above them, of which it is known how many clients they registered.
pub(crate) const SOURCES_MAX: usize = 16_384;
/// New clients of an IPv6 network of 48 bits: as many as of this many sources.
pub(crate) const NETWORK_SOURCES: u64 = 16;
/// A client that was not seen for so long is forgotten when there is no room for a new one.
pub(crate) const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 86_400);

/// Bytes that a connection's buffer for reading has to begin with; a message needs more at times.
pub(crate) const READ_BUFFER: usize = 4 << 10;
/// Bytes that are collected before they are written to a connection.
pub(crate) const WRITE_BUFFER: usize = 16 << 10;

const _: () = {
    assert!(UNPROVED_PER_SOURCE < UNPROVED_MAX);
    assert!(WRITE_BUFFER < gateway::MAX_MESSAGE);
    assert!(FREE_BANDWIDTH < BANDWIDTH_MAX);
    // A client that claims at the limit does not overflow.
    assert!(BANDWIDTH_MAX.checked_add(FREE_BANDWIDTH).is_some());
};
