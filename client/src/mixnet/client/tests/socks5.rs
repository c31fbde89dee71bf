//! Applications that speak SOCKS5, over a mixnet client, to servers on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Mutex, MutexGuard};

use super::exit::{Exit, Rules};
use super::{Scene, pattern, run, within};
use crate::mixnet::{Client, Sender};
use crate::socks5::{self, Server, Stats, Tunnel};

/// The network is within the process, and slow when several of them are.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A network with an exit, and a server for applications.
struct Bench {
    _alone: MutexGuard<'static, ()>,
    exit: Exit,
    server: SocketAddr,
    stats: Arc<Stats>,
    sender: Sender,
    _scene: Scene,
}

impl Bench {
    async fn new(rules: Rules, patience: Duration) -> Self {
        let _alone = ONE_AT_A_TIME.lock().await;
        let scene = Scene::new().await;
        let settings = scene.settings();
        let client =
            async || within(Client::builder().settings(settings.clone()).connect()).await.unwrap();
        let exit = Exit::start(client().await, rules);
        let (sender, mut receiver) = client().await.split();
        let stats = Arc::new(Stats::default());
        let tunnel = Arc::new(Tunnel::new(sender.clone(), exit.address, stats.clone()));
        let rules = socks5::Rules { login: None, connections: 64, patience };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), rules).await.unwrap();
        let address = server.local_addr().unwrap();
        let running = tunnel.clone();
        tokio::spawn(async move { running.run(&mut receiver).await });
        assert!(within(tunnel.greet(Duration::from_secs(100))).await.unwrap());
        tokio::spawn(async move { server.run(&tunnel).await });
        Self { _alone, exit, server: address, stats, sender, _scene: scene }
    }

    /// A connection to a target, and what the server said to that.
    async fn connect(&self, target: SocketAddr) -> (TcpStream, u8) {
        self.connect_over(TcpSocket::new_v4().unwrap(), target).await
    }

    async fn connect_over(&self, socket: TcpSocket, target: SocketAddr) -> (TcpStream, u8) {
        let mut stream = socket.connect(self.server).await.unwrap();
        let SocketAddr::V4(target) = target else { panic!("tests use IPv4") };
        let ip = target.ip().octets();
        let request = [&[5, 1, 0, 5, 1, 0, 1][..], &ip, &target.port().to_be_bytes()].concat();
        within(stream.write_all(&request)).await.unwrap();
        let mut answer = [0; 12];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(
            (answer[..3].to_vec(), answer[4..].to_vec()),
            (vec![5, 0, 5], vec![0, 1, 0, 0, 0, 0, 0, 0])
        );
        (stream, answer[3])
    }

    async fn open(&self, target: SocketAddr) -> TcpStream {
        let (stream, code) = self.connect(target).await;
        assert_eq!(code, 0);
        stream
    }

    fn count(&self, name: &str) -> u64 {
        let counts = self.stats.counts();
        counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

/// A server that reads all and then sends what `answer` makes of it.
async fn server(answer: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.unwrap();
                stream.write_all(&answer(heard)).await.unwrap();
            });
        }
    });
    address
}

#[test]
fn every_byte_is_right_both_ways_on_many_connections_at_once() {
    run(async {
        let bench = Bench::new(Rules::default(), Duration::from_secs(100)).await;
        // Half-close: the answer begins after the application has said that it sends no more.
        let echo = server(|heard| heard).await;
        let exchange = async |len: usize, seed: usize| {
            let mut stream = bench.open(echo).await;
            let said = pattern(len, seed);
            let (mut from, mut to) = stream.split();
            let mut answer = Vec::new();
            let (sent, read) = tokio::join!(
                async {
                    to.write_all(&said).await?;
                    to.shutdown().await
                },
                from.read_to_end(&mut answer)
            );
            sent.unwrap();
            assert_eq!(read.unwrap(), len);
            assert!(answer == said, "{len} bytes came back changed");
        };
        within(async {
            let sizes = [0, 1, 1500, 16_000, 40_000];
            let all = sizes.into_iter().zip(1..).map(|(len, seed)| exchange(len, seed));
            futures_util::future::join_all(all).await;
        })
        .await;
        assert_eq!((bench.count("connected"), bench.count("connections accepted")), (5, 5));
        while bench.count("bytes received") < 57_501 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(bench.count("bytes sent"), 57_501);
        within(bench.sender.clone().close()).await.unwrap();
    });
}

#[test]
fn applications_are_told_why_they_are_not_connected() {
    run(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let forbidden = server(|heard| heard).await;
        let ignored = server(|heard| heard).await;
        let rules = Rules { forbidden: Some(forbidden), ignored: Some(ignored) };
        let bench = Bench::new(rules, Duration::from_secs(20)).await;
        let codes = [forbidden, closed, ignored].map(|target| bench.connect(target));
        let codes = within(futures_util::future::join_all(codes)).await;
        assert_eq!(codes.into_iter().map(|(_, code)| code).collect::<Vec<_>>(), [2, 5, 6]);
    });
}

#[test]
fn who_does_not_read_makes_nothing_grow_and_nobody_wait() {
    const LEN: usize = 700_000;
    run(async {
        let bench = Bench::new(Rules::default(), Duration::from_secs(100)).await;
        let long = server(|_| pattern(LEN, 3)).await;
        // Small, so that little waits outside of the window.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let (mut lazy, _) = bench.connect_over(socket, long).await;
        within(lazy.shutdown()).await.unwrap();
        // The exit gets as far as the window, and rests.
        let arrived = || bench.exit.arrived.load(Ordering::Relaxed);
        let mut before = 0;
        within(async {
            while arrived() == 0 || arrived() > before {
                before = arrived();
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        })
        .await;
        assert!(before < LEN, "all went through, and nobody has read it");
        let echo = server(|heard| heard).await;
        let mut other = bench.open(echo).await;
        within(other.write_all(b"hello")).await.unwrap();
        within(other.shutdown()).await.unwrap();
        let mut answer = Vec::new();
        within(other.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, b"hello");
        let mut all = Vec::new();
        within(lazy.read_to_end(&mut all)).await.unwrap();
        assert!(all == pattern(LEN, 3));
    });
}

#[test]
fn a_server_that_resets_is_an_error_and_not_an_end() {
    run(async {
        let bench = Bench::new(Rules::default(), Duration::from_secs(100)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = bench.open(listener.local_addr().unwrap()).await;
        let (mut served, _) = listener.accept().await.unwrap();
        within(stream.write_all(b"GET")).await.unwrap();
        let mut heard = [0; 3];
        within(served.read_exact(&mut heard)).await.unwrap();
        within(served.write_all(b"half")).await.unwrap();
        let mut half = [0; 4];
        within(stream.read_exact(&mut half)).await.unwrap();
        served.set_zero_linger().unwrap();
        drop(served);
        assert!(within(stream.read(&mut half)).await.is_err());
        within(async {
            while bench.count("broken off: by the exit") == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    });
}
