//! What the worker asks of a link beyond the engine's seam: the end.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use phix_engine::intake::Intake;
use phix_engine::shard::{Completion, Link, Wait};
use phix_engine::units::{Span, Time};

use crate::handed::Handed;
use crate::noise::{Noise, NoisePeers};
use crate::plan::ZeroCopy;
use crate::sources::Sources;
use crate::waker::Waker;

/// What both links are made from.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Nothing if it is to listen later ([`Line::listen`]).
    pub(crate) listener: Option<OwnedFd>,
    /// Of all shards of the node, in their order.
    pub(crate) wakers: Arc<[Waker]>,
    /// Which of them this link is for.
    pub(crate) shard: usize,
    pub(crate) connections_max: usize,
    pub(crate) source: Option<IpAddr>,
    pub(crate) sources: Sources,
    pub(crate) seed: u64,
    pub(crate) noise: Noise,
    pub(crate) zero_copy: ZeroCopy,
}

/// What becomes of bytes that the kernel has taken and not delivered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The kernel delivers them.
    InOrder,
    /// They are lost, as if the process had died: connections are reset.
    Reset,
}

/// Connections that a link has, those included that are being made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// From others to this node.
    pub inbound: usize,
    /// From this node to others.
    pub outbound: usize,
}

/// A link that can be brought to an end.
pub(crate) trait Line: Link<Error = io::Error> {
    /// Bounds every wait from now on.
    fn alarm(&mut self, at: Option<Time>);

    /// Changes the keys of other nodes, for connections that come up from now on.
    fn set_noise_peers(&mut self, peers: Arc<NoisePeers>);

    /// How many connections there are.
    fn connections(&self) -> Connections;

    /// Accepts connections from here from now on.
    fn listen(&mut self, listener: OwnedFd) -> io::Result<()>;

    /// Accepts nothing more. What the listener still holds is left to whoever else has it.
    fn unlisten(&mut self) -> io::Result<()>;

    /// Whether [`Line::unlisten`] has taken effect, and no connection is in its handshake.
    fn is_settled(&self) -> bool;

    /// Begins to read no connection in any more.
    fn rest(&mut self) -> io::Result<()>;

    /// Whether [`Line::rest`] has taken effect, and all that was read is in the inbox.
    fn is_at_rest(&self) -> bool;

    /// Gives all connections in away, once the link is at rest.
    fn release(&mut self, intake: Intake<'_>) -> Vec<Handed>;

    /// Goes on with a connection that someone else has given away. One for which there is no place
    /// is closed and counted.
    fn adopt(&mut self, handed: Handed, intake: Intake<'_>) -> io::Result<()>;

    /// Stops accepting and closes all connections in.
    fn close_inbound(&mut self, intake: Intake<'_>) -> io::Result<()>;

    /// Closes all connections. Afterwards nothing is in flight, unless it fails.
    fn close_all(&mut self, how: Close, intake: Intake<'_>) -> io::Result<()>;

    /// Ends everything, in whatever state the link is. False if the kernel may go on to use the
    /// shard's memory, which must not be freed then.
    fn let_go(&mut self) -> bool;
}

/// What a link has to return soon for, whatever the shard allows.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// The worker's own bound.
    pub(crate) alarm: Option<Time>,
    /// Slots that the shard has not taken back yet.
    pub(crate) completed: VecDeque<Completion>,
}

impl Timers {
    /// The longest wait that everyone allows: the shard, the worker, and `others`.
    pub(crate) fn wait(&self, allowed: Wait, others: [Option<Time>; 4]) -> Wait {
        let until = |time: Option<Time>| time.map_or(Wait::Forever, Wait::Until);
        let own = if self.completed.is_empty() { until(self.alarm) } else { Wait::No };
        others.into_iter().map(until).fold(allowed.min(own), Wait::min)
    }
}

/// A wait as a length of time; nothing means until something happens.
pub(crate) fn span(wait: Wait, now: Time) -> Option<Span> {
    match wait {
        Wait::No => Some(Span::ZERO),
        Wait::Until(time) => Some(time.since(now)),
        Wait::Forever => None,
    }
}
