//! Sends prepared packets at the times that were planned for them, whatever the network does.
//!
//! An open loop: a slow network makes packets late, not fewer, and lateness is part of the
//! latency, which counts from the intended time. A sender that falls behind sends all that is due
//! at once, as one write per connection.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use phix_engine::shard::Clock;
use phix_engine::units::{Span, Time};

use crate::load::Timed;

/// Packets that go into one write at most; more would make those behind them later.
const COALESCE_MAX: usize = 64;

/// Longest sleep at a time, so that a stop is noticed.
const NAP_MAX: Duration = Duration::from_millis(50);

/// How a sender treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct SenderConfig {
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for a write; the connection is given up after it.
    pub write_timeout: Duration,
    /// Connection attempts in a row that may fail before a first hop is given up for good.
    pub attempts: u32,
    /// Pause after the first failed attempt, doubled by each further one. Packets for the hop
    /// fail in the meantime; the others go on.
    pub backoff: Duration,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_millis(1_500),
            write_timeout: Duration::from_millis(3_000),
            attempts: 6,
            backoff: Duration::from_millis(50),
        }
    }
}

/// What a sender did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets that the kernel took.
    pub sent: u64,
    /// Packets that found no connection, or whose write failed: some of these may have arrived.
    pub failed: u64,
    /// Packets that were not tried because the sender was stopped.
    pub skipped: u64,
    /// Longest time from a packet's intended sending to the write that took it.
    pub lateness_max: Span,
    /// Connections made beyond the first of each first hop.
    pub reconnects: u64,
    /// The last error of a connection.
    pub last_error: Option<String>,
}

/// Shared between senders and those who watch them.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    handled: AtomicU64,
}

impl Control {
    /// Makes the senders end soon; what they have not sent is skipped.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Packets sent or failed so far.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// One sender: its packets, and a connection per first hop.
#[derive(Debug)]
pub struct OpenLoopSender<C> {
    packets: Vec<Timed>,
    config: SenderConfig,
    clock: C,
    control: Arc<Control>,
    connections: Vec<Connection>,
    report: Sent,
}

impl<C: Clock> OpenLoopSender<C> {
    /// A sender of these packets, which must be in the order of their times.
    pub fn new(packets: Vec<Timed>, config: SenderConfig, clock: C, control: Arc<Control>) -> Self {
        let mut hops: Vec<_> = packets.iter().map(|timed| timed.packet.first_hop).collect();
        hops.sort_unstable();
        hops.dedup();
        let connections = hops.into_iter().map(Connection::new).collect();
        Self { packets, config, clock, control, connections, report: Sent::default() }
    }

    /// Connects ahead of time, so that no packet waits for a handshake; then sends everything,
    /// and closes its connections. The offsets count from `start`, which should lie far enough in
    /// the future for the connections to be made.
    pub fn run(mut self, start: Time) -> Sent {
        self.connect_all(start);
        let packets = std::mem::take(&mut self.packets);
        let mut rest = &packets[..];
        while let [first, ..] = rest {
            if self.control.stopped() {
                self.report.skipped = rest.len() as u64;
                break;
            }
            let now = self.clock.now();
            let due = start.after(first.offset);
            if due > now {
                thread::sleep(Duration::from_nanos(due.since(now).as_nanos()).min(NAP_MAX));
                continue;
            }
            let is_due = |timed: &Timed| start.after(timed.offset) <= now;
            let ready = &rest[..rest.len().min(COALESCE_MAX)];
            let count = ready.partition_point(is_due);
            self.send(&ready[..count], start);
            rest = &rest[count..];
        }
        self.report
    }

    /// As [`OpenLoopSender::run`], on a thread of its own.
    ///
    /// # Errors
    /// If no thread can be made.
    pub fn spawn(self, start: Time) -> io::Result<JoinHandle<Sent>>
    where
        C: Send + 'static,
    {
        thread::Builder::new().name("phix-sender".into()).spawn(move || self.run(start))
    }

    /// Tries, until `start`, to have all connections.
    fn connect_all(&mut self, start: Time) {
        loop {
            let mut waiting = false;
            for connection in &mut self.connections {
                let now = self.clock.now();
                waiting |= !connection.is_ready(now, &self.config, &mut self.report)
                    && connection.failures < self.config.attempts;
            }
            if !waiting || self.control.stopped() || self.clock.now() >= start {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn send(&mut self, packets: &[Timed], start: Time) {
        for timed in packets {
            let hop = self.connections.binary_search_by_key(&timed.packet.first_hop, |c| c.address);
            let connection = &mut self.connections[hop.expect("every first hop has its place")];
            connection.buffer.extend_from_slice(&timed.packet.frame);
            connection.intended.push(start.after(timed.offset));
        }
        for connection in &mut self.connections {
            if !connection.intended.is_empty() {
                connection.flush(&self.clock, &self.config, &mut self.report);
            }
        }
        self.control.handled.fetch_add(packets.len() as u64, Ordering::Relaxed);
    }
}

/// The connection to one first hop, and what is to be written to it next.
#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    made: u64,
    failures: u32,
    retry_at: Time,
    buffer: Vec<u8>,
    intended: Vec<Time>,
}

impl Connection {
    const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            made: 0,
            failures: 0,
            retry_at: Time::ZERO,
            buffer: Vec::new(),
            intended: Vec::new(),
        }
    }

    fn flush(&mut self, clock: &impl Clock, config: &SenderConfig, report: &mut Sent) {
        let packets = self.intended.len() as u64;
        if self.is_ready(clock.now(), config, report) {
            let now = clock.now();
            let late = self.intended.iter().map(|time| now.since(*time)).max();
            report.lateness_max = report.lateness_max.max(late.unwrap_or(Span::ZERO));
            let stream = self.stream.as_mut().expect("a connection that is ready has a stream");
            match stream.write_all(&self.buffer) {
                Ok(()) => report.sent += packets,
                Err(error) => {
                    // Part of a frame may be on its way, so this connection cannot be continued,
                    // and a second try could deliver packets twice.
                    self.stream = None;
                    report.failed += packets;
                    report.last_error = Some(format!("{}: {error}", self.address));
                }
            }
        } else {
            report.failed += packets;
        }
        self.buffer.clear();
        self.intended.clear();
    }

    /// Whether there is a connection, made now if need be and if it is time.
    fn is_ready(&mut self, now: Time, config: &SenderConfig, report: &mut Sent) -> bool {
        if self.stream.is_some() {
            return true;
        }
        if self.failures >= config.attempts || now < self.retry_at {
            return false;
        }
        match connect(self.address, config) {
            Ok(stream) => {
                report.reconnects += u64::from(self.made > 0);
                self.made += 1;
                self.failures = 0;
                self.stream = Some(stream);
                true
            }
            Err(error) => {
                let pause = config.backoff.saturating_mul(1 << self.failures.min(10));
                self.retry_at = now.after(Span::from_nanos(pause.as_nanos() as u64));
                self.failures += 1;
                report.last_error = Some(format!("{}: {error}", self.address));
                false
            }
        }
    }
}

fn connect(address: SocketAddr, config: &SenderConfig) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, config.connect_timeout)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(config.write_timeout))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Instant;

    use super::*;
    use crate::packet::Packet;

    #[derive(Clone, Copy)]
    struct Wall(Instant);

    impl Clock for Wall {
        fn now(&self) -> Time {
            Time::from_nanos(self.0.elapsed().as_nanos() as u64)
        }
    }

    fn packets(count: u64, gap: Span, hops: &[SocketAddr]) -> Vec<Timed> {
        let timed = |i: u64| Timed {
            offset: Span::from_nanos(gap.as_nanos() * i),
            packet: Packet {
                frame: vec![i as u8; 10],
                first_hop: hops[i as usize % hops.len()],
                delays: Span::ZERO,
            },
        };
        (0..count).map(timed).collect()
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn read_all(listener: TcpListener) -> JoinHandle<Vec<u8>> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
            bytes
        })
    }

    fn sender(packets: Vec<Timed>, control: &Arc<Control>) -> OpenLoopSender<Wall> {
        let config = SenderConfig { backoff: Duration::from_millis(1), ..Default::default() };
        OpenLoopSender::new(packets, config, Wall(Instant::now()), Arc::clone(control))
    }

    fn soon() -> Time {
        Time::ZERO.after(Span::from_millis(100))
    }

    #[test]
    fn everything_goes_to_its_first_hop_in_order_and_on_time() {
        let ((one, at_one), (two, at_two)) = (listener(), listener());
        let (one, two) = (read_all(one), read_all(two));
        let control = Arc::default();
        let packets = packets(100, Span::from_millis(1), &[at_one, at_two]);
        let began = Instant::now();
        let sent = sender(packets, &control).spawn(soon()).unwrap().join().unwrap();
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(199), "sent ahead of time: {took:?}");
        assert_eq!((sent.sent, sent.failed, sent.reconnects), (100, 0, 0));
        assert_eq!(control.handled(), 100);
        let expected =
            |first: u8| -> Vec<u8> { (first..100).step_by(2).flat_map(|i| [i; 10]).collect() };
        assert_eq!(one.join().unwrap(), expected(0));
        assert_eq!(two.join().unwrap(), expected(1));
    }

    #[test]
    fn a_burst_is_sent_at_once_and_its_lateness_told() {
        let (listener, address) = listener();
        let reader = read_all(listener);
        let packets = packets(1000, Span::ZERO, &[address]);
        let sender = sender(packets, &Arc::default());
        thread::sleep(Duration::from_millis(30));
        let sent = sender.run(Time::ZERO);
        assert_eq!(sent.sent, 1000);
        assert!(sent.lateness_max >= Span::from_millis(30), "{:?}", sent.lateness_max);
        assert_eq!(reader.join().unwrap().len(), 10_000);
    }

    #[test]
    fn a_dead_hop_fails_its_packets_and_no_others() {
        let ((dead, at_dead), (live, at_live)) = (listener(), listener());
        drop(dead);
        let reader = read_all(live);
        let packets = packets(100, Span::from_millis(1), &[at_dead, at_live]);
        let sent = sender(packets, &Arc::default()).run(soon());
        assert_eq!((sent.sent, sent.failed), (50, 50));
        assert!(sent.last_error.unwrap().contains(&at_dead.to_string()));
        assert_eq!(reader.join().unwrap().len(), 500);
    }

    #[test]
    fn a_broken_connection_is_made_again() {
        let (listener, address) = listener();
        let reader = thread::spawn(move || {
            drop(listener.accept().unwrap());
            let mut bytes = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
            bytes.len() as u64
        });
        let packets = packets(200, Span::from_millis(1), &[address]);
        let sent = sender(packets, &Arc::default()).run(soon());
        assert_eq!(sent.reconnects, 1);
        assert_eq!(sent.sent + sent.failed, 200);
        assert!(sent.failed > 0);
        assert!(reader.join().unwrap() > 1000);
    }

    #[test]
    fn a_stop_is_heard() {
        let (listener, address) = listener();
        let reader = read_all(listener);
        let control = Arc::default();
        let packets = packets(2, Span::from_millis(100_000), &[address]);
        let running = sender(packets, &control).spawn(Time::ZERO).unwrap();
        while control.handled() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        control.stop();
        let sent = running.join().unwrap();
        assert_eq!((sent.sent, sent.skipped), (1, 1));
        assert_eq!(reader.join().unwrap().len(), 10);
    }
}
