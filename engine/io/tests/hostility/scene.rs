//! One server under attack at a time, with honest traffic beside it, and what must hold after it.

use std::cell::RefCell;
use std::fs::read_dir;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use phix_engine::wire::frame::{FrameHeader, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::{LinkChoice, Server, ServerConfig, StopReport};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::{Built, assert_balance, assert_same, config, links, several, start, stream};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// One test at a time.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

/// A server, and one honest peer on each side of it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) hop: Hop,
}

impl Scene {
    /// Where the honest next hop listens.
    pub(crate) fn to(&self) -> SocketAddr {
        self.hop.address()
    }

    /// Packets for the honest next hop.
    pub(crate) fn packets(&self, count: usize) -> Vec<Built> {
        several(count, self.to())
    }

    /// Sends fresh packets from an honest source and sees them arrive.
    pub(crate) fn passes(&self, count: usize) {
        let sent = self.packets(count);
        let mut honest = connect_from([127, 9, 9, 9], &self.server).unwrap();
        honest.write_all(&stream(&sent)).unwrap();
        assert_same(self.hop.collect(count), &sent);
    }
}

/// A next hop that takes whatever comes, over as many connections as the server's shards make.
pub(crate) struct Hop {
    listener: TcpListener,
    connections: RefCell<Vec<(TcpStream, Vec<u8>)>>,
}

impl Hop {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, connections: RefCell::default() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next packets, exactly so many.
    pub(crate) fn collect(&self, count: usize) -> Vec<Vec<u8>> {
        let begin = Instant::now();
        let mut got = Vec::new();
        while got.len() < count {
            assert!(begin.elapsed() < PATIENCE, "{} of {count} packets came", got.len());
            got.extend(self.arrived());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(got.len(), count, "more came than was sent");
        got
    }

    /// What is there.
    pub(crate) fn arrived(&self) -> Vec<Vec<u8>> {
        let mut connections = self.connections.borrow_mut();
        while let Ok((connection, _)) = self.listener.accept() {
            connection.set_nonblocking(true).unwrap();
            connections.push((connection, Vec::new()));
        }
        connections.iter_mut().flat_map(|(from, bytes)| packets(from, bytes)).collect()
    }
}

/// Whole packets of the usual size that have come over one connection.
fn packets(from: &mut TcpStream, bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    let header = FrameHeader::current(PacketSize::Regular, KeyRotation::Unknown);
    let (front, len) = (header.version.header_len(), header.frame_len());
    let whole = bytes.len() / len * len;
    let frames: Vec<u8> = bytes.drain(..whole).collect();
    frames.chunks_exact(len).map(|frame| frame[front..].to_vec()).collect()
}

/// Runs a test over each link with a server of this kind; then stops the server, and asserts that
/// its packets are accounted for.
pub(crate) fn each(
    change: impl Fn(&mut ServerConfig),
    test: impl Fn(&Scene),
    judge: impl Fn(&StopReport),
) {
    alone(|link| {
        let mut config = ServerConfig { connections_max: 2_000, ..config(link) };
        change(&mut config);
        let scene = Scene { server: start(config), hop: Hop::new() };
        test(&scene);
        let report = scene.server.stop();
        assert_balance(&report);
        assert_eq!(report.failed, None);
        judge(&report);
    });
}

/// Runs a test over each link, one after the other and with no other beside it, and asserts that
/// it gives all descriptors back.
pub(crate) fn alone(test: impl Fn(LinkChoice)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    raise_descriptors();
    for link in links() {
        // Whatever the first server of a process keeps for good is there from here on.
        drop(start(config(link)));
        let before = open_descriptors();
        test(link);
        settled(link, before);
    }
}

fn settled(link: LinkChoice, before: usize) {
    let begin = Instant::now();
    while open_descriptors() > before {
        let late = begin.elapsed() > Duration::from_secs(5);
        assert!(!late, "{link}: {before} descriptors before, {} after", open_descriptors());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn open_descriptors() -> usize {
    read_dir("/proc/self/fd").unwrap().count()
}

/// Lets this process have both ends of many connections.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// A connection from a loopback address of the caller's choice: another source.
pub(crate) fn connect_from(source: [u8; 4], server: &Server) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(IpAddr::from(source), 0).into())?;
    socket.connect(&server.address().into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(socket.into())
}

/// Whether the server has not closed the connection within a moment.
pub(crate) fn stays_open(connection: &mut TcpStream) -> bool {
    connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let result = connection.read(&mut [0]);
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
