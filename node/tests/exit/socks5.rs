//! Applications that speak SOCKS5, through a whole network and its exit.

use std::time::Duration;

use futures_util::future::join_all;
use phix_client::mixnet::Settings;
use phix_node::exit::requester::counts::Ending;
use phix_proto::requester::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::proxy::{Proxy, connect};
use crate::scene::{FORBIDDEN, Scene, echo, hurried, open_files, server, until};
use crate::within;

/// A network with an exit, and a server for applications.
struct Bench {
    proxy: Proxy,
    scene: Scene,
}

impl Bench {
    async fn new(scene: Scene, settings: Settings) -> Self {
        let proxy = Proxy::start(settings, *scene.requester.address(), None).await;
        Self { proxy, scene }
    }

    /// A connection to a target, and what the server said to that.
    async fn connect(&self, target: &Target) -> (TcpStream, u8) {
        within(connect(self.proxy.address, target)).await.unwrap()
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
        self.proxy.count(name)
    }
}

fn run(test: impl AsyncFnOnce(Bench)) {
    run_with(Scene::settings, test);
}

/// The same for a client with other settings.
fn run_with(settings: impl Fn(&Scene) -> Settings, test: impl AsyncFnOnce(Bench)) {
    let scene = Scene::set_up();
    let settings = settings(&scene);
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(Bench::new(scene, settings).await).await });
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
fn a_server_that_reads_late_lets_the_application_wait() {
    // Several times what the system keeps for sockets that nobody reads.
    const LEN: usize = 16_000_000;
    run_with(hurried, async |bench| {
        let (start, started) = watch::channel(false);
        let (told, mut heard) = mpsc::channel(1);
        let late = server(move |mut stream| {
            let (mut started, told) = (started.clone(), told.clone());
            async move {
                started.wait_for(|started| *started).await.unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                told.send(all).await.unwrap();
            }
        })
        .await;
        let mut stream = bench.open(&late).await;
        let sending = tokio::spawn(async move {
            stream.write_all(&pattern(LEN, 3)).await?;
            stream.shutdown().await?;
            // The server says nothing, and ends when it has all.
            stream.read(&mut [0]).await
        });
        // The application comes as far as bounds and sockets reach, and rests.
        let sent = || bench.count("bytes sent");
        within(async {
            let mut before = 0;
            while sent() == 0 || sent() > before {
                before = sent();
                sleep(Duration::from_secs(4)).await;
            }
        })
        .await;
        assert!((sent() as usize) < LEN - 2_000_000, "{} of {LEN} were sent", sent());
        start.send(true).unwrap();
        assert!(within(heard.recv()).await.unwrap() == pattern(LEN, 3));
        assert_eq!(within(sending).await.unwrap().unwrap(), 0);
        assert_eq!(bench.scene.counts.ended(Ending::Overrun), 0);
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

/// Connects, talks and ends so many times, and sees that no process keeps anything open.
async fn come_and_go(bench: &Bench, rounds: usize, at_once: usize) {
    let echo = server(echo).await;
    let round = || async {
        let all = (0..at_once).map(|seed| bench.exchange(&echo, pattern(300, seed)));
        within(join_all(all)).await;
        until(|| bench.scene.counts.connections.get() == 0).await;
    };
    // The first ones also open what stays.
    round().await;
    let before = open_files(&bench.scene.network);
    for _ in 1..rounds {
        round().await;
    }
    until(|| {
        let after = open_files(&bench.scene.network);
        after.iter().zip(&before).all(|(after, before)| after <= before)
    })
    .await;
    assert_eq!(bench.count("connected"), (rounds * at_once) as u64);
}

#[test]
fn connections_that_are_over_leave_nothing_open() {
    run(async |bench| come_and_go(&bench, 6, 20).await);
}

#[test]
#[ignore = "takes minutes: 10,000 connections"]
fn ten_thousand_connections_leave_nothing_open() {
    run_with(hurried, async |bench| come_and_go(&bench, 50, 200).await);
}
