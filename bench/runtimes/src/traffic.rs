//! The other side of the job: makes frames, and checks that each of them arrives intact.
//!
//! One thread does both, without ever waiting: it sends what is due, then reads what has come.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::job::{CONNECTIONS, FRAME, FRONT, HEADER};

/// Frames that one write carries at most.
const BURST: u64 = 64;
/// The same where frames are sent at a rate.
const PACED_BURST: u64 = 2;
/// Bytes that one read takes at most.
const READ: usize = 512 * 1024;
/// How long nothing may arrive before the run has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often arrivals are read where frames are sent at a rate.
const READ_EVERY: Duration = Duration::from_micros(250);
const BILLION: u64 = 1_000_000_000;
/// Where a frame says where it comes from and its number there, behind where it goes to.
const FROM: usize = FRONT + 1;
const NUMBER: std::ops::Range<usize> = FRONT + 2..FRONT + 10;

/// What is sent in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Frames, over all connections.
    pub(crate) packets: u64,
    /// Frames per second; nothing means as many as get through.
    pub(crate) rate: Option<u32>,
}

impl Plan {
    /// Frames that should have been sent after this time.
    fn due(&self, elapsed: Duration) -> u64 {
        let at_rate = |rate: u32| (elapsed.as_nanos() as u64).saturating_mul(rate.into()) / BILLION;
        self.rate.map_or(self.packets, |rate| at_rate(rate).min(self.packets))
    }
}

/// One connection to the forwarder.
struct Source {
    stream: TcpStream,
    at: u8,
    /// A burst of frames, of which `written..len` is to be sent.
    burst: Vec<u8>,
    written: usize,
    len: usize,
    number: u64,
}

impl Source {
    fn new(stream: TcpStream, at: u8) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let burst = pattern(at).repeat(BURST as usize);
        Ok(Self { stream, at, burst, written: 0, len: 0, number: 0 })
    }

    /// Sends what is left, or else up to `due` new frames. Says how many new ones.
    fn send(&mut self, due: u64) -> io::Result<u64> {
        let mut new = 0;
        if self.written == self.len {
            new = due.min(BURST);
            for frame in self.burst.chunks_exact_mut(FRAME).take(new as usize) {
                frame[FRONT] = destination(self.number, self.at);
                frame[NUMBER].copy_from_slice(&self.number.to_le_bytes());
                self.number += 1;
            }
            (self.written, self.len) = (0, new as usize * FRAME);
        }
        if self.written < self.len {
            match self.stream.write(&self.burst[self.written..self.len]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(new)
    }
}

/// One connection from the forwarder.
struct Sink {
    stream: TcpStream,
    at: u8,
    /// The beginning of a frame whose rest is to come.
    rest: Vec<u8>,
    patterns: Vec<Vec<u8>>,
    next: [Option<u64>; CONNECTIONS],
}

impl Sink {
    fn new(stream: TcpStream, at: u8) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let patterns = (0..CONNECTIONS as u8).map(pattern).collect();
        Ok(Self { stream, at, rest: Vec::new(), patterns, next: [None; CONNECTIONS] })
    }

    /// Reads once; says how many frames ended.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        let have = self.rest.len();
        buffer[..have].copy_from_slice(&self.rest);
        let count = match self.stream.read(&mut buffer[have..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let bytes = &buffer[..have + count];
        let frames = bytes.chunks_exact(FRAME);
        let whole = frames.len() as u64;
        self.rest.clear();
        self.rest.extend_from_slice(frames.remainder());
        for frame in frames {
            self.check(frame).ok_or_else(|| io::Error::other("a frame came that was not sent"))?;
        }
        Ok(whole)
    }

    /// Whether this is a frame of its source, for here, and the next one in order.
    fn check(&mut self, frame: &[u8]) -> Option<()> {
        let from = usize::from(frame[FROM]);
        let pattern = self.patterns.get(from)?;
        let number = u64::from_le_bytes(frame[NUMBER].try_into().ok()?);
        let here = frame[FRONT] == self.at && destination(number, frame[FROM]) == self.at;
        let later = self.next[from].is_none_or(|next| number >= next);
        let same =
            frame[..FRONT] == pattern[..FRONT] && frame[NUMBER.end..] == pattern[NUMBER.end..];
        self.next[from] = Some(number + 1);
        (here && later && same).then_some(())
    }
}

/// A place where one of the forwarder's connections out ends.
struct Port {
    listener: TcpListener,
    at: u8,
    sink: Option<Sink>,
}

impl Port {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<u64> {
        if self.sink.is_none() {
            match self.listener.accept() {
                Ok((stream, _)) => self.sink = Some(Sink::new(stream, self.at)?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.sink.as_mut().map_or(Ok(0), |sink| sink.receive(buffer))
    }
}

/// The ends of the forwarder's connections out.
pub(crate) struct Ports(Vec<Port>);

impl Ports {
    pub(crate) fn open() -> io::Result<Self> {
        let port = |at| -> io::Result<Port> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok(Port { listener, at, sink: None })
        };
        Ok(Self((0..CONNECTIONS as u8).map(port).collect::<io::Result<_>>()?))
    }

    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.0.iter().map(|port| port.listener.local_addr()).collect()
    }
}

/// Sends all frames of the plan through the forwarder, and waits until all have arrived.
///
/// # Errors
/// If a frame is lost, changed, or in the wrong place, or the forwarder is gone.
pub(crate) fn run(plan: Plan, forwarder: SocketAddr, mut ports: Ports) -> io::Result<()> {
    let source = |at| Source::new(TcpStream::connect(forwarder)?, at);
    let mut sources = (0..CONNECTIONS as u8).map(source).collect::<io::Result<Vec<_>>>()?;
    let mut buffer = vec![0; READ + FRAME];
    let (mut sent, mut arrived, mut turn) = (0, 0, 0);
    let start = Instant::now();
    let (mut last, mut read_at) = (start, start);
    while arrived < plan.packets {
        let now = Instant::now();
        let due = plan.due(now - start);
        for _ in 0..CONNECTIONS {
            let most = if plan.rate.is_some() { PACED_BURST } else { BURST };
            let at = turn % CONNECTIONS;
            sent += sources[at].send((due - sent).min(most))?;
            turn += 1;
        }
        if plan.rate.is_some() && now < read_at && sent < plan.packets {
            continue;
        }
        read_at = now + READ_EVERY;
        let before = arrived;
        for port in &mut ports.0 {
            arrived += port.receive(&mut buffer)?;
        }
        if arrived > before {
            last = now;
        } else if now - last > PATIENCE {
            let lost = plan.packets - arrived;
            return Err(io::Error::other(format!("{lost} of {} frames are lost", plan.packets)));
        }
    }
    Ok(())
}

/// A frame of a source, without what tells it from the others of that source.
fn pattern(from: u8) -> Vec<u8> {
    let mut state = u64::from(from) + 1;
    let mut frame: Vec<u8> = (0..FRAME)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    HEADER.write(&mut frame);
    frame[FROM] = from;
    frame
}

/// Where the frame with this number goes: everywhere equally often, in no short cycle.
fn destination(number: u64, from: u8) -> u8 {
    let mixed = (number + u64::from(from)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 60) as u8 % CONNECTIONS as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_changed_or_misled_is_noticed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let frame = |number: u64| {
            let mut frame = pattern(5);
            frame[FRONT] = destination(number, 5);
            frame[NUMBER].copy_from_slice(&number.to_le_bytes());
            frame
        };
        let here = destination(0, 5);
        let mut sink = Sink::new(stream, here).unwrap();
        let ours: Vec<u64> = (0..200).filter(|&number| destination(number, 5) == here).collect();
        assert!((10..50).contains(&ours.len()));
        assert_eq!(sink.check(&frame(ours[1])), Some(()));
        assert_eq!(sink.check(&frame(ours[1])), None, "twice");
        assert_eq!(sink.check(&frame(ours[0])), None, "out of order");
        let elsewhere = (0..200).find(|&number| destination(number, 5) != here).unwrap();
        assert_eq!(sink.check(&frame(elsewhere)), None, "for another");
        let mut changed = frame(ours[3]);
        changed[FRAME - 1] ^= 1;
        assert_eq!(sink.check(&changed), None, "changed");
    }

    #[test]
    fn a_rate_is_kept_from_the_start() {
        let plan = Plan { packets: 1000, rate: Some(100_000) };
        assert_eq!(plan.due(Duration::from_micros(55)), 5);
        assert_eq!(plan.due(Duration::from_secs(1)), 1000);
        assert_eq!(Plan { rate: None, ..plan }.due(Duration::ZERO), 1000);
    }
}
