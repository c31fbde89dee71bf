//! Where probes come back to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phix_engine::wire::frame::{FrameParser, Piece};
use phix_engine::wire::geometry::PacketSize;
use phix_proto::directory::NodeId;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::packets::{Digest, Probe, Token, digest, token};

/// Connections of nodes that are read at a time; more wait in the kernel.
const CONNECTIONS_MAX: usize = 4_096;
/// A connection on which nothing comes for so long is closed. Nodes make another when they need it.
const IDLE: Duration = Duration::from_secs(180);
/// Bytes that one read takes at most.
const READ: usize = 16 * 1024;
/// How long to wait where the system has no descriptor for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Probes that are on their way, and who brought how many back.
#[derive(Debug, Default)]
pub(super) struct Collector(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    expected: HashMap<Token, (NodeId, Digest)>,
    came: HashMap<NodeId, u32>,
}

impl Collector {
    /// Waits for these from now on, and no longer for any before.
    pub(super) fn expect(&self, probes: &[Probe]) {
        let mut book = self.book();
        book.came.clear();
        book.expected = probes.iter().map(|one| (one.token, (one.node, one.digest))).collect();
    }

    /// How many came back by node. No others count from now on.
    pub(super) fn came(&self) -> HashMap<NodeId, u32> {
        let mut book = self.book();
        book.expected.clear();
        std::mem::take(&mut book.came)
    }

    /// Takes a packet. One that is not as it must be, or comes a second time, is nothing.
    fn take(&self, packet: &[u8]) {
        let mut book = self.book();
        let token = token(packet);
        let Some((node, expected)) = book.expected.get(&token).copied() else { return };
        if digest(packet) == expected {
            book.expected.remove(&token);
            *book.came.entry(node).or_default() += 1;
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what nodes send, for ever.
pub(super) async fn collect(listener: TcpListener, collector: Arc<Collector>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore of the collector");
        match listener.accept().await {
            Ok((stream, _)) => {
                let collector = Arc::clone(&collector);
                tokio::spawn(async move {
                    read(stream, &collector).await;
                    drop(place);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Reads frames until the connection ends, rests, or carries something else.
async fn read(mut stream: TcpStream, collector: &Collector) {
    let mut buffer = vec![0; READ];
    let mut parser = FrameParser::new();
    let mut packet = Vec::with_capacity(PacketSize::Regular.packet_len());
    while let Ok(Ok(len @ 1..)) = timeout(IDLE, stream.read(&mut buffer)).await {
        let mut input = &buffer[..len];
        loop {
            match parser.next(&mut input) {
                Ok(Some(Piece::Start(_))) => packet.clear(),
                Ok(Some(Piece::Body { bytes, last })) => {
                    packet.extend_from_slice(bytes);
                    if last {
                        collector.take(&packet);
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
