//! The tester's connections to the first hops.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use arrayvec::ArrayVec;
use phix_engine::units::Time;
use phix_io::MonotonicClock;
use phix_io::noise::Sealer;

use super::book::{Book, Expected};
use super::measure::Distributions;
use super::noise::{Call, NoiseFault, Speech};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs of frames that one write takes at most.
const SLICES: usize = 64;

/// Frames that one write takes at most, so that what is read in between does not wait for long.
const FRAMES: usize = 256;

/// Consecutive packets that take the same connection, so that one write carries several.
const RUN: usize = 16;

/// A connection and the packets that go over it.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) stream: TcpStream,
    address: SocketAddr,
    /// Positions of its packets, in order.
    queue: Vec<u32>,
    /// The first of them that is not yet sent as a whole, and how many of its bytes are.
    next: usize,
    written: usize,
    /// Whether the kernel has said that it takes no more for now.
    blocked: bool,
    /// Since when it takes bytes again.
    free: Time,
    /// Why nothing more can be sent.
    broken: Option<io::Error>,
    voice: Voice,
}

/// How a connection speaks.
#[derive(Debug)]
enum Voice {
    /// In frames, or in records that are sealed already.
    Ready,
    Greeting(Call),
    /// The handshake is done and the records are not yet made.
    Known(Box<Sealer>),
}

/// The frames and the book that a connection sends from, and where it writes down what it did.
pub(super) struct Desk<'a> {
    pub(super) frames: &'a [u8],
    pub(super) stride: usize,
    pub(super) start: Time,
    pub(super) book: &'a mut Book,
    pub(super) measured: &'a mut Distributions,
}

/// Connects `each` times to each of the first hops, and shares the packets out.
pub(super) fn connect(
    first_hops: &[SocketAddr],
    each: usize,
    rows: &[Expected],
) -> Result<Vec<Outbound>, (SocketAddr, io::Error)> {
    let addresses = first_hops.iter().flat_map(|hop| std::iter::repeat_n(*hop, each));
    let open = |address| Outbound::open(address).map_err(|error| (address, error));
    let mut outbounds: Vec<Outbound> = addresses.map(open).collect::<Result<_, _>>()?;
    for (row, position) in rows.iter().zip(0_u32..) {
        let turn = position as usize / RUN % each;
        outbounds[usize::from(row.first_hop) * each + turn].queue.push(position);
    }
    Ok(outbounds)
}

impl Outbound {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            address,
            queue: Vec::new(),
            next: 0,
            written: 0,
            blocked: false,
            free: Time::ZERO,
            broken: None,
            voice: Voice::Ready,
        })
    }

    /// Begins a handshake with the node.
    pub(super) fn call(&mut self, speech: &Speech) -> Result<(), NoiseFault> {
        self.voice = Voice::Greeting(Call::begin(speech, &self.stream)?);
        Ok(())
    }

    /// Takes what has come of a handshake. Says whether there is more to come.
    pub(super) fn greet(&mut self) -> Result<bool, NoiseFault> {
        let Voice::Greeting(call) = &mut self.voice else { return Ok(false) };
        let Some(session) = call.go_on(&self.stream)? else { return Ok(true) };
        self.voice = Voice::Known(Box::new(session.sealer));
        Ok(false)
    }

    /// Makes a record of each of its frames, in the order in which they will be sent.
    pub(super) fn seal(&mut self, frames: &mut [u8], stride: usize) {
        let Voice::Known(sealer) = &mut self.voice else { return };
        for &position in &self.queue {
            let from = position as usize * stride;
            let sealed = sealer.seal(&mut frames[from..from + stride]);
            sealed.expect("a connection has more nonces than a load has packets");
        }
        self.voice = Voice::Ready;
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kernel says that there is room again.
    pub(super) const fn unblock(&mut self, now: Time) {
        if self.blocked {
            self.blocked = false;
            self.free = now;
        }
    }

    /// Whether nothing is left to be sent, or nothing more can be.
    pub(super) const fn is_done(&self) -> bool {
        self.next == self.queue.len() || self.broken.is_some()
    }

    /// Where it leads and why nothing more can be sent, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.broken.as_ref().map(|error| format!("{}: {error}", self.address))
    }

    /// When its next packet is to be sent; nothing while that is not up to the clock.
    pub(super) fn next_due(&self, start: Time, book: &Book) -> Option<Time> {
        if self.blocked || self.is_done() {
            return None;
        }
        Some(start.after(book.rows()[self.queue[self.next] as usize].offset))
    }

    /// Sends what is due. Says whether any byte went.
    pub(super) fn pump(&mut self, desk: &mut Desk<'_>, now: Time) -> bool {
        let mut went = false;
        while !self.blocked && !self.is_done() {
            let slices = self.due(desk, now);
            if slices.is_empty() {
                break;
            }
            match (&self.stream).write_vectored(&slices) {
                Ok(bytes) => {
                    went = true;
                    self.advance(bytes, desk);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.broken = Some(error),
            }
        }
        went
    }

    /// The frames that are due, neighbours in memory as one slice.
    fn due<'f>(&self, desk: &Desk<'f>, now: Time) -> ArrayVec<IoSlice<'f>, SLICES> {
        let elapsed = now.since(desk.start);
        let ahead = now < desk.start;
        let rows = desk.book.rows();
        let len = desk.stride;
        let mut slices = ArrayVec::new();
        let mut run: Option<(usize, usize)> = None;
        for &position in self.queue[self.next..].iter().take(FRAMES) {
            let position = position as usize;
            if ahead || rows[position].offset > elapsed {
                break;
            }
            let (from, to) = (position * len, (position + 1) * len);
            run = match run {
                None => Some((from + self.written, to)),
                Some((first, end)) if end == from => Some((first, to)),
                Some((first, end)) => {
                    slices.push(IoSlice::new(&desk.frames[first..end]));
                    if slices.remaining_capacity() == 0 {
                        return slices;
                    }
                    Some((from, to))
                }
            };
        }
        if let Some((first, end)) = run {
            slices.push(IoSlice::new(&desk.frames[first..end]));
        }
        slices
    }

    /// Counts the packets that are sent as a whole now that `bytes` more have gone.
    fn advance(&mut self, bytes: usize, desk: &mut Desk<'_>) {
        let taken = MonotonicClock.now();
        self.written += bytes;
        while self.written >= desk.stride {
            self.written -= desk.stride;
            let position = self.queue[self.next] as usize;
            self.next += 1;
            let Expected { offset, .. } = desk.book.rows()[position];
            desk.book.sent(position);
            desk.measured.sent(desk.start, offset, self.free, taken);
        }
    }
}

/// The earliest time at which any of them is to send.
pub(super) fn next_due(outbounds: &[Outbound], start: Time, book: &Book) -> Option<Time> {
    outbounds.iter().filter_map(|outbound| outbound.next_due(start, book)).min()
}
