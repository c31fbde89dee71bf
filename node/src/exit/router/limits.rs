//! The bounds of the IP packet router, in one place. What is beyond one is dropped and counted.

use std::time::Duration;

/// Clients that have addresses at a time.
pub(super) const CLIENTS: usize = 4096;
/// Clients whose place in a stream is remembered, with and without addresses.
pub(super) const STREAMS: usize = 8192;

/// Bytes of the largest IP packet, in either direction: that of stock routers.
pub(super) const MTU: u16 = 1420;

/// How long packets for a client wait for others to share a message with, where the client does
/// not say.
pub(super) const BUNDLING: Duration = Duration::from_millis(20);
/// The longest that a client may say.
pub(super) const BUNDLING_MAX: Duration = Duration::from_millis(200);

/// How long a client keeps its addresses without a word.
pub(super) const SILENCE: Duration = Duration::from_secs(5 * 60);
/// How often it is looked for clients that are silent.
pub(super) const TIDYING: Duration = Duration::from_secs(5);
/// How often a client is told, at most, that the policy refuses what it sends.
pub(super) const TOLD: Duration = Duration::from_secs(5);

/// Messages under way to one client, which its gateway has not acknowledged.
pub(super) const WINDOW: usize = 256;
/// Messages under way to all clients.
pub(super) const WINDOW_TOTAL: usize = 8192;

const _: () = {
    assert!(CLIENTS < STREAMS && WINDOW < WINDOW_TOTAL);
    assert!(MTU as usize <= phix_proto::ipr::PACKET_MAX && MTU >= 1280);
};
