//! The bounds of the network requester, in one place. What is beyond one is refused and counted, or
//! waits and lets its own client wait.

use std::time::Duration;

/// Connections that there may be.
pub(super) const CONNECTIONS: usize = 2048;
/// Connections of one client, as far as clients can be told apart, among them.
pub(super) const CONNECTIONS_OF_CLIENT: usize = 512;

/// Bytes that one connection holds of what its server has not taken yet.
pub(super) const INBOUND: usize = 2 << 20;
/// Bytes that all of them hold.
pub(super) const INBOUND_TOTAL: usize = 128 << 20;

/// Connections of which something came before the wish to connect did, and bytes held for one.
pub(super) const EARLY: usize = 1024;
/// See [`EARLY`].
pub(super) const EARLY_BYTES: usize = 256 << 10;
/// How long that waits for the wish to connect.
pub(super) const EARLY_FOR: Duration = Duration::from_secs(30);

/// Names of connections that have ended, which are remembered so that what comes late for them is
/// not taken for something early.
pub(super) const GONE: usize = 8192;

/// Bytes that are read from a server at a time. With all heads they fill ten packets.
pub(super) const PIECE: usize = 16_000;
/// Packets that one connection has under way, not acknowledged by its client's gateway.
pub(super) const WINDOW: usize = 192;
/// Packets that all connections have under way.
pub(super) const WINDOW_TOTAL: usize = 8192;

/// Answers about the exit itself, and refusals, that wait to be sent.
pub(super) const ASIDE: usize = 256;

/// How long it may take to find the addresses of a target.
pub(super) const RESOLVING: Duration = Duration::from_secs(10);
/// How long one address may take to accept a connection.
pub(super) const CONNECTING: Duration = Duration::from_secs(10);
/// Addresses of one target that are tried.
pub(super) const ADDRESSES: usize = 4;
/// How long a server may take nothing of what is written to it.
pub(super) const WRITING: Duration = Duration::from_secs(60);
/// How long a client may say nothing: stock clients end a connection after as much.
pub(super) const SILENCE: Duration = Duration::from_secs(5 * 60);
/// How often an empty message says that the connection lives, where there are no others.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a server may go on after its client has closed its side. Clients whose application is
/// gone do the same as those that only have said all, so that this cannot be for ever.
pub(super) const HALF_CLOSED: Duration = Duration::from_secs(5 * 60);
/// How long a client may go on after the server has closed its side.
pub(super) const LINGER: Duration = Duration::from_secs(60);
/// How long a connection that has failed waits until word of it has arrived, before it says that
/// it is closed.
pub(super) const LAST_WORD: Duration = Duration::from_secs(10);

const _: () = {
    assert!(CONNECTIONS_OF_CLIENT < CONNECTIONS);
    assert!(EARLY_BYTES < INBOUND);
    assert!(
        WINDOW < WINDOW_TOTAL && WINDOW_TOTAL + CONNECTIONS + ASIDE < super::super::service::QUEUE
    );
};
