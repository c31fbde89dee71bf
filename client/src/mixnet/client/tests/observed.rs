//! What an observer sees of clients on their connection to the gateway: when packets leave, and
//! how long they are, while a client idles and while it sends.
//!
//! That the times are exponential is tested in virtual time, where nothing else is (`core::tests`).
//! Here they are those of real sockets, and what else the machine does shows in them. So a stream
//! without a client, made of the same timer and a socket, runs beside: where its times are not
//! exponential either, the machine was too busy to tell, and the next packets are looked at.

use std::time::Instant;

use phix_engine::units::Span;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Client, Duration, Length, Scene, Settings, pattern, run, within};
use crate::mixnet::client::alarm::Alarm;
use crate::mixnet::core::os_rng;
use crate::stats::{Erlang, exponential, ks_critical, ks_distance};

/// Packets of each client that are looked at together.
const PACKETS: usize = 2_000;
/// Mean times between packets of the two streams.
const MAIN: u64 = 10;
const LOOP: u64 = 100;
/// Two independent streams of exponential times are one of their summed rate.
const MEAN: f64 = 1.0 / (1.0 / MAIN as f64 + 1.0 / LOOP as f64);
/// How often the machine may be too busy before that is said and no more is tried.
const TOO_BUSY: usize = 4;
/// How often clients must be told apart, while the stream beside them is as it should be. Once
/// can be chance.
const TOLD_APART: usize = 3;

/// How far the times between events, in milliseconds, are from exponential ones.
fn distance(times: &[Instant]) -> f64 {
    let theory = Erlang::new(1, MEAN);
    ks_distance(&between(times), |x| theory.cdf(x))
}

/// What lies between events, in ms.
fn between(times: &[Instant]) -> Vec<f64> {
    times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).collect()
}

/// How far apart the distributions of two samples are: the Kolmogorov-Smirnov distance.
fn two_sample_distance(one: &[f64], other: &[f64]) -> f64 {
    let share = |sample: &[f64], x: f64| {
        sample.iter().filter(|&&value| value <= x).count() as f64 / sample.len() as f64
    };
    let apart = |&x: &f64| (share(one, x) - share(other, x)).abs();
    one.iter().chain(other).map(apart).fold(0.0, f64::max)
}

/// Events at exponential times, through a socket: when they came, for as long as somebody asks.
async fn beside() -> mpsc::UnboundedReceiver<Instant> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut out = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut into, _) = listener.accept().await.unwrap();
    out.set_nodelay(true).unwrap();
    let (seen, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok(_byte) = into.read_u8().await {
            if seen.send(Instant::now()).is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        let (alarm, mut next) = (Alarm::new().unwrap(), Instant::now());
        loop {
            let wait = exponential(&mut os_rng(), MEAN / 1e3);
            next += Duration::from_secs_f64(wait);
            let left = next.saturating_duration_since(Instant::now());
            alarm.set(Span::from_nanos(left.as_nanos() as u64)).unwrap();
            alarm.rung().await.unwrap();
            if out.write_u8(0).await.is_err() {
                break;
            }
        }
    });
    events
}

/// The next so many packets of a client, after the first `from`: when they came, and their lengths.
fn window(scene: &Scene, client: &Client, from: usize) -> Option<(Vec<Instant>, Vec<usize>)> {
    let seen = scene.gateway.observed(client.address().identity());
    let window = seen.get(from..=from + PACKETS)?;
    Some(window.iter().copied().unzip())
}

#[test]
fn an_observer_of_the_socket_sees_no_difference() {
    run(async move {
        let scene = Scene::new().await;
        let fast = Settings {
            main_stream: Length::millis(MAIN),
            loop_cover: Length::millis(LOOP),
            ..scene.settings()
        };
        let connect = |settings| within(Client::builder().settings(settings).connect());
        let (idle, busy) = (connect(fast.clone()).await.unwrap(), connect(fast).await.unwrap());
        let mute = Settings { main_stream: Length::millis(1000), ..scene.settings() };
        let mut receiving = connect(mute).await.unwrap();
        let recipient = *receiving.address();
        let sender = busy.sender().clone();
        let sending = tokio::spawn(async move {
            while sender.send(recipient, pattern(200_000, 0)).await.is_ok() {}
        });
        tokio::spawn(async move { while receiving.receive().await.is_some() {} });
        let mut beside = beside().await;
        let (mut busy_machine, mut told_apart, mut lengths) = (0, 0, Vec::new());
        for from in (0..).step_by(PACKETS) {
            let (mut control, mut seen) = (Vec::new(), Vec::new());
            while seen.len() < 2 {
                control.push(beside.recv().await.expect("it goes on"));
                let windows = [&idle, &busy].map(|client| window(&scene, client, from));
                seen = windows.into_iter().flatten().collect();
            }
            let critical = ks_critical(PACKETS, 0.001);
            let clients = [distance(&seen[0].0), distance(&seen[1].0)];
            let control = (distance(&control), ks_critical(control.len(), 0.001));
            lengths.extend(seen.iter().flat_map(|(_, lengths)| lengths.iter().copied()));
            println!("idle, busy {clients:.4?} of {critical:.4}; beside {control:.4?}");
            let [idle, busy] = [&seen[0].0, &seen[1].0].map(|times| between(times));
            // Two streams that one busy machine delays alike are still not told apart.
            let alike = two_sample_distance(&idle, &busy) < critical * std::f64::consts::SQRT_2;
            match (clients.iter().all(|&distance| distance < critical), control.0 < control.1) {
                (true, _) => break,
                (false, true) if alike => busy_machine += 1,
                (false, true) => told_apart += 1,
                (false, false) => busy_machine += 1,
            }
            assert!(told_apart < TOLD_APART, "{clients:?} of {critical}, again and again");
            if busy_machine == TOO_BUSY {
                println!("this machine is too busy for its times to tell anything");
                break;
            }
        }
        lengths.dedup();
        assert_eq!(lengths.len(), 1, "all packets have one length");
        let (idle, busy) = (idle.disconnect().await.unwrap(), busy.disconnect().await.unwrap());
        // The two states were what they claim to be.
        assert_eq!(idle.sent_fragments, 0);
        assert!(busy.sent_fragments > PACKETS as u64 / 2, "{busy:?}");
        within(sending).await.unwrap();
    });
}
