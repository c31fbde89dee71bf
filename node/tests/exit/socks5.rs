//! Applications that speak SOCKS5, through a whole network and its exit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use phix_client::mixnet::{Client, Sender};
use phix_client::socks5::{Rules, Server, Stats, Tunnel};
use phix_proto::requester::{Host, Target};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::time::sleep;

use crate::scene::{FORBIDDEN, Scene, echo, server, sockets, until};
use crate::within;

/// A network with an exit, a client, and a server for applications.
struct Bench {
    server: SocketAddr,
    stats: Arc<Stats>,
    sender: Sender,
    scene: Scene,
}

impl Bench {
    async fn new(scene: Scene) -> Self {
        let builder = Client::builder().settings(scene.settings());
        let (sender, mut receiver) = within(builder.connect()).await.unwrap().split();
        let stats = Arc::new(Stats::default());
        let exit = *scene.requester.address();
        let tunnel = Arc::new(Tunnel::new(sender.clone(), exit, stats.clone()));
        let rules = Rules { login: None, connections: 64, patience: Duration::from_secs(100) };
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), rules).await.unwrap();
        let address = server.local_addr().unwrap();
        let running = tunnel.clone();
        tokio::spawn(async move { running.run(&mut receiver).await });
        assert!(within(tunnel.greet(Duration::from_secs(100))).await.unwrap());
        tokio::spawn(async move { server.run(&tunnel).await });
        Self { server: address, stats, sender, scene }
    }

    /// A connection to a target, and what the server said to that.
    async fn connect(&self, target: &Target) -> (TcpStream, u8) {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that little waits outside of what is measured here.
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(self.server).await.unwrap();
        let host = match &target.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        let mut request = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
        request.extend(host.bytes());
        request.extend(target.port.to_be_bytes());
        within(stream.write_all(&request)).await.unwrap();
        let mut answer = [0; 12];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer[..3], [5, 0, 5]);
        assert_eq!(answer[4..], [0, 1, 0, 0, 0, 0, 0, 0]);
        (stream, answer[3])
    }

    async fn open(&self, target: &Target) -> TcpStream {
        let (stream, code) = self.connect(target).await;
        assert_eq!(code, 0);
        stream
    }

    /// Sends bytes to an echo and has them back.
    async fn exchange(&self, target: &Target, said: Vec<u8>) {
        let mut stream = self.open(target).await;
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
        assert_eq!(read.unwrap(), said.len());
        assert!(answer == said, "{} bytes came back changed", said.len());
    }

    /// Asks a server for all that it has.
    async fn fetch(&self, target: &Target) -> std::io::Result<Vec<u8>> {
        let mut stream = self.open(target).await;
        within(stream.write_all(b"GET")).await?;
        let mut all = Vec::new();
        within(stream.read_to_end(&mut all)).await.map(|_| all)
    }

    fn count(&self, name: &str) -> u64 {
        let counts = self.stats.counts();
        counts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

fn run(test: impl AsyncFnOnce(Bench)) {
    let scene = Scene::set_up();
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(Bench::new(scene).await).await });
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ seed) as u8).collect()
}

/// A server that hears three bytes and then sends so many.
async fn file(len: usize) -> Target {
    server(move |mut stream| async move {
        let mut heard = [0; 3];
        stream.read_exact(&mut heard).await.unwrap();
        // Whoever asked may not want all of it.
        let _ = stream.write_all(&pattern(len, 7)).await;
    })
    .await
}

#[test]
fn every_byte_is_right_both_ways_on_many_connections_at_once() {
    run(async |bench| {
        let echo = server(echo).await;
        let sizes = [0, 1, 1500, 16_000, 100_000];
        within(join_all(sizes.iter().zip(1..).map(|(&len, seed)| {
            // Half-close: the answer begins after the application has said that it sends no more.
            bench.exchange(&echo, pattern(len, seed))
        })))
        .await;
        let long = file(1_000_000).await;
        assert!(bench.fetch(&long).await.unwrap() == pattern(1_000_000, 7));
        let short = file(10_000).await;
        let many = within(join_all((0..20).map(|_| bench.fetch(&short)))).await;
        assert!(many.into_iter().all(|all| all.unwrap() == pattern(10_000, 7)));
        assert_eq!((bench.count("connected"), bench.count("connections accepted")), (26, 26));
        let all = sizes.iter().sum::<usize>() as u64;
        until(|| bench.count("bytes sent") == all + 21 * 3).await;
        until(|| bench.count("bytes received") == all + 1_200_000).await;
    });
}

#[test]
fn applications_are_told_why_they_are_not_connected_and_what_breaks_is_an_error() {
    run(async |bench| {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let forbidden = Target { port: FORBIDDEN, ..closed.into() };
        let unknown: Target = "no.such.name:80".parse().unwrap();
        let targets = [forbidden, closed.into(), unknown];
        let codes = within(join_all(targets.iter().map(|target| bench.connect(target)))).await;
        assert_eq!(codes.into_iter().map(|(_, code)| code).collect::<Vec<_>>(), [2, 5, 4]);

        // Closed early: an end, and nothing else.
        let early = server(|stream| async { drop(stream) }).await;
        let mut stream = bench.open(&early).await;
        assert_eq!(within(stream.read(&mut [0])).await.unwrap(), 0);
        // Reset in the middle: no end.
        let reset = server(|mut stream| async move {
            stream.write_all(b"half").await.unwrap();
            let mut heard = [0; 3];
            stream.read_exact(&mut heard).await.unwrap();
            stream.set_zero_linger().unwrap();
        })
        .await;
        let mut stream = bench.open(&reset).await;
        let mut half = [0; 4];
        within(stream.read_exact(&mut half)).await.unwrap();
        within(stream.write_all(b"GET")).await.unwrap();
        assert!(within(stream.read(&mut half)).await.is_err());
        until(|| bench.count("broken off: by the exit") == 1).await;
        // Never answered: the application gives up, and that is the end at the exit, too.
        let mute = server(|mut stream| async move {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        })
        .await;
        drop(bench.open(&mute).await);
        // Slow: what there is comes, and does not wait for the rest.
        let slow = server(|mut stream| async move {
            for piece in 0..3u8 {
                stream.write_all(&[piece]).await.unwrap();
                let mut heard = [0];
                stream.read_exact(&mut heard).await.unwrap();
                assert_eq!(heard[0], piece);
            }
        })
        .await;
        let mut stream = bench.open(&slow).await;
        for piece in 0..3u8 {
            let mut heard = [9];
            within(stream.read_exact(&mut heard)).await.unwrap();
            assert_eq!(heard[0], piece);
            within(stream.write_all(&heard)).await.unwrap();
        }
        drop(stream);
        until(|| bench.scene.counts.connections.get() == 0).await;
    });
}

#[test]
fn who_does_not_read_makes_nothing_grow_and_nobody_wait() {
    // Several times what the system keeps for sockets that nobody reads.
    const LEN: usize = 24_000_000;
    run(async |bench| {
        let long = file(LEN).await;
        let mut lazy = bench.open(&long).await;
        within(lazy.write_all(b"GET")).await.unwrap();
        // The exit gets as far as windows and sockets reach, and rests.
        let read = || bench.scene.counts.downloaded.get();
        within(async {
            let mut before = 0;
            while read() == 0 || read() > before {
                before = read();
                sleep(Duration::from_secs(4)).await;
            }
        })
        .await;
        assert!((read() as usize) < LEN / 2, "{} of {LEN} were read", read());
        let echo = server(echo).await;
        within(bench.exchange(&echo, b"hello".to_vec())).await;
        let mut all = vec![0; 1_000_000];
        within(lazy.read_exact(&mut all)).await.unwrap();
        assert!(all == pattern(LEN, 7)[..all.len()]);
    });
}

/// Connects, talks and ends so many times, and sees that nothing stays open.
async fn come_and_go(bench: &Bench, rounds: usize) {
    const AT_ONCE: usize = 20;
    let echo = server(echo).await;
    within(bench.exchange(&echo, vec![1])).await;
    until(|| bench.scene.counts.connections.get() == 0).await;
    let before = sockets();
    for _ in 0..rounds {
        within(join_all((0..AT_ONCE).map(|seed| bench.exchange(&echo, pattern(300, seed))))).await;
    }
    until(|| bench.scene.counts.connections.get() == 0 && sockets() <= before).await;
    assert_eq!(bench.count("connected"), (rounds * AT_ONCE + 1) as u64);
}

#[test]
fn connections_that_are_over_leave_nothing_open() {
    run(async |bench| come_and_go(&bench, 5).await);
}

#[test]
#[ignore = "takes an hour: 10,000 connections"]
fn ten_thousand_connections_leave_nothing_open() {
    run(async |bench| come_and_go(&bench, 500).await);
}

#[test]
#[ignore = "takes two minutes: the time after which a silent exit is given up"]
fn an_exit_that_dies_is_an_error_within_its_time() {
    run(async |bench| {
        let long = file(50_000_000).await;
        let mut stream = bench.open(&long).await;
        within(stream.write_all(b"GET")).await.unwrap();
        let mut some = vec![0; 10_000];
        within(stream.read_exact(&mut some)).await.unwrap();
        let Bench { scene, stats, sender, .. } = bench;
        drop(scene.requester);
        let broken = within(async {
            loop {
                match stream.read(&mut some).await {
                    Ok(0) => panic!("half of it is passed for all"),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        })
        .await;
        assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
        let silent = |(name, _): &(&str, u64)| *name == "times that the exit was silent";
        assert!(stats.counts().iter().any(silent));
        within(sender.close()).await.unwrap();
    });
}
