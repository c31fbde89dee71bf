//! The job on Phix's own links.

use std::io;
use std::net::TcpListener;

use phix_io::{LinkKind, RelayPlan, relay};

use super::{LISTEN, Options, Start};

pub(super) fn run(kind: LinkKind, options: &Options, start: &Start) -> io::Result<()> {
    let listener = TcpListener::bind(LISTEN)?;
    start.listening(listener.local_addr()?)?;
    let (to, packets) = (&options.to[..], options.packets);
    let plan = RelayPlan { kind, capacity: [0, 2048, 0, 0, 0], to, packets };
    let counters = relay(listener, &plan)?;
    if counters.forwarded == packets {
        return Ok(());
    }
    Err(io::Error::other(format!("{} of {packets} packets were forwarded", counters.forwarded)))
}
