//! The self-test: whether io_uring does on this machine what the link needs.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use phix_engine::pool::{Margins, Pool};
use phix_engine::shard::Outgoing;
use phix_engine::units::Span;
use phix_engine::wire::geometry::PacketSize;

use super::buffers::{COUNT, LEN};
use super::message::Message;
use super::ring::{END_LIMIT, Op, Ring};
use crate::error::words;
use crate::sending::Sending;
use crate::slab::{Key, Slab};

/// Buffers that the self-test of bundles fills at once.
const BUNDLE: usize = 5;
/// How long the kernel may take to hand over bytes that are there already.
const LIMIT: Duration = Duration::from_millis(500);

/// What failed, and what the system said.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) what: &'static str,
    pub(crate) error: io::Error,
}

impl Failure {
    pub(super) fn of(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { what, error }
    }

    /// Whether it looks as if someone switched io_uring off on purpose.
    pub(crate) fn switched_off(&self) -> bool {
        let codes = [libc::EPERM, libc::EACCES, libc::ENOSYS];
        self.error.raw_os_error().is_some_and(|code| codes.contains(&code))
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::other(format!("{} ({})", failure.what, words(&failure.error)))
    }
}

/// Sets up a ring as the link does and sends bytes through a buffer ring, twice on one receive.
pub(crate) fn self_test() -> Result<(), Failure> {
    let mut ring = Ring::new(1, false)?;
    round_trip(&mut ring).map_err(Failure::of("the io_uring self-test failed"))
}

fn round_trip(ring: &mut Ring) -> io::Result<()> {
    let (mut from, to) = UnixStream::pair()?;
    let key = Slab::new(1).insert(()).expect("a new slab has room");
    ring.receive(key, to.as_fd(), false)?;
    for round in 0..2_u8 {
        let sent: Vec<u8> = (0..200).map(|byte| byte ^ round).collect();
        from.write_all(&sent)?;
        receive(ring, &sent)?;
    }
    Ok(())
}

/// Whether receives that fill several buffers at a time keep their bytes in order. Tried out once
/// per process: kernels have had that wrong.
pub(super) fn bundles() -> bool {
    static KEPT: OnceLock<bool> = OnceLock::new();
    let kept = || {
        let mut ring = Ring::new(1, true).ok().filter(Ring::bundles)?;
        bundled_round_trips(&mut ring).ok()
    };
    *KEPT.get_or_init(|| kept().is_some())
}

/// Sends more than a buffer holds, again and again. Buffers go back in another order each time, so
/// that their numbers say nothing about the order in which they are filled.
fn bundled_round_trips(ring: &mut Ring) -> io::Result<()> {
    let (mut from, to) = UnixStream::pair()?;
    let key = Slab::new(1).insert(()).expect("a new slab has room");
    ring.receive(key, to.as_fd(), false)?;
    for round in 0..3 * usize::from(COUNT) / BUNDLE {
        let len = BUNDLE * LEN - 100 * round;
        let sent: Vec<u8> = (0..len).map(|at| (at / 7 * (round + 1)) as u8).collect();
        from.write_all(&sent)?;
        receive(ring, &sent)?;
    }
    Ok(())
}

/// Whether this kernel sends from TCP sockets without a copy and says when it is done: what it says
/// of a send over loopback, where it has to copy. Tried out once per process.
pub(crate) fn zero_copy() -> Result<bool, &'static str> {
    static ANSWER: OnceLock<Result<bool, &str>> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let cannot = "this kernel does not send packets from where they lie";
        let mut ring = Ring::new(1, false).map_err(|failure| failure.what)?;
        lent_round_trip(&mut ring).map_err(|_| cannot)
    })
}

/// Sends a packet over a TCP connection; whether the kernel copied it.
fn lent_round_trip(ring: &mut Ring) -> io::Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let from = TcpStream::connect(listener.local_addr()?)?;
    let (mut to, _) = listener.accept()?;
    to.set_read_timeout(Some(LIMIT))?;
    let mut pool = Pool::new([0, 1, 0, 0, 0]);
    let slot = pool.take(PacketSize::Regular).expect("a new pool has room");
    pool.packet_mut(&slot).iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 7) as u8);
    let sent = pool.packet(&slot).to_vec();
    let (key, flight) = {
        let mut keys = Slab::new(1);
        (keys.insert(()).expect("a new slab has room"), Slab::new(1).insert(()).expect("as well"))
    };
    let mut message = Message::new(listener.local_addr()?);
    let mut slots = Outgoing::new();
    slots.push(slot);
    message.sending = Some(Sending::new(slots, Margins { front: 0, tail: 0 }, &pool));
    message.aim(&pool);
    ring.lend_packets(key, flight, from.as_fd(), message)?;
    let outcome = lent_outcome(ring, key, sent.len(), &mut to, &sent);
    // The kernel may read the packet for as long as it likes, unless it has said that it does not.
    if outcome.is_err() && !ring.quiet(END_LIMIT) {
        std::mem::forget(pool);
    }
    outcome
}

fn lent_outcome(
    ring: &mut Ring,
    key: Key,
    len: usize,
    to: &mut TcpStream,
    sent: &[u8],
) -> io::Result<bool> {
    let start = Instant::now();
    let mut got = Vec::new();
    loop {
        if start.elapsed() > LIMIT {
            return Err(io::ErrorKind::TimedOut.into());
        }
        ring.enter(Some(Span::from_millis(50)))?;
        while let Some(event) = ring.next() {
            if event.second {
                return if got == sent {
                    Ok(event.copied)
                } else {
                    Err(io::ErrorKind::Other.into())
                };
            }
            drop(ring.returned(key));
            if event.result? != len || !event.more {
                return Err(io::Error::other("part of a packet was sent, or no word will follow"));
            }
            got.resize(len, 0);
            to.read_exact(&mut got)?;
        }
    }
}

/// Receives as many bytes as were sent, and compares them.
fn receive(ring: &mut Ring, sent: &[u8]) -> io::Result<()> {
    let start = Instant::now();
    let (mut got, mut filled) = (Vec::new(), Vec::new());
    while got.len() < sent.len() {
        if start.elapsed() > LIMIT {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        ring.enter(Some(Span::from_millis(50)))?;
        while let Some(event) = ring.next() {
            if event.op != Op::Receive {
                continue;
            }
            event.result?;
            let none = || io::Error::other("no buffer was used");
            let mut one = event.filled.ok_or_else(none)?;
            got.extend_from_slice(ring.buffers_mut().bytes_mut(&mut one));
            filled.push(one);
            if !event.more {
                return Err(io::Error::other("multishot receive ended by itself"));
            }
        }
    }
    filled.into_iter().rev().for_each(|one| ring.buffers_mut().give_back(one));
    if got == sent { Ok(()) } else { Err(io::Error::other("other bytes came than were sent")) }
}
