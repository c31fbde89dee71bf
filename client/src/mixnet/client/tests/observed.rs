//! What an observer sees of clients on their connection to the gateway: when packets leave, and
//! how long they are, while a client idles and while it sends.
//!
//! A busy machine delays what leaves, and exponential times are not what comes out. So two things
//! are looked at that it cannot blur: the times for which each client meant its packets, which must
//! be exponential; and what comes out, which must be alike for the client that idles, the one that
//! sends, and a stream without a client that is made of the same timer and a socket. The machine
//! delays all three alike, which hides no difference between them ([`judge`] is tested for that).
//! A window of packets in which nothing tells them apart decides for the clients; windows in which
//! something does, again and again, decide against. There is nothing in between.

use std::time::Instant;

use chacha20::ChaCha20Rng;
use phix_engine::units::{Span, Time};
use rand::{RngExt, SeedableRng};
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
/// Windows in which clients must be told apart to be found different. Chance or a busy machine does
/// it in one, and a true difference in all.
const WINDOWS: usize = 5;
/// How often chance makes one comparison fail.
const ALPHA: f64 = 0.001;

/// What is known of a window of packets of one stream: times between them, in ms.
struct Seen {
    meant: Vec<f64>,
    came: Vec<f64>,
}

/// What lies between times.
fn between(times: &[f64]) -> Vec<f64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// How far apart the distributions of two samples are: the Kolmogorov-Smirnov distance, as a share
/// of what is critical.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let sorted = |sample: &[f64]| {
        let mut sorted = sample.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    };
    let (one, other) = (sorted(one), sorted(other));
    let share = |sorted: &[f64], x: f64| {
        sorted.partition_point(|&value| value <= x) as f64 / sorted.len() as f64
    };
    let distance = |&x: &f64| (share(&one, x) - share(&other, x)).abs();
    let distance = one.iter().chain(&other).map(distance).fold(0.0, f64::max);
    let (n, m) = (one.len() as f64, other.len() as f64);
    distance / ks_critical((n * m / (n + m)) as usize, ALPHA)
}

/// How far times are from exponential ones, as a share of what is critical.
fn from_exponential(times: &[f64]) -> f64 {
    let theory = Erlang::new(1, MEAN);
    ks_distance(times, |x| theory.cdf(x)) / ks_critical(times.len(), ALPHA)
}

/// What tells the streams apart most, as a share of what is critical: below one is nothing.
fn judge(idle: &Seen, busy: &Seen, beside: &[f64]) -> f64 {
    let signs = [
        from_exponential(&idle.meant),
        from_exponential(&busy.meant),
        apart(&idle.came, &busy.came),
        apart(&idle.came, beside),
        apart(&busy.came, beside),
    ];
    println!("of what is critical: {signs:.2?}");
    signs.into_iter().fold(0.0, f64::max)
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

/// The next so many packets of a client, after the first `from`, and their lengths.
fn window(scene: &Scene, client: &Client, from: usize) -> Option<(Seen, Vec<usize>)> {
    let seen = scene.gateway.observed(client.address().identity());
    let (came, lengths): (Vec<Instant>, Vec<usize>) =
        seen.get(from..=from + PACKETS)?.iter().copied().unzip();
    let came: Vec<f64> = came.iter().map(|at| (*at - came[0]).as_secs_f64() * 1e3).collect();
    let meant = client.sender().schedule.lock().unwrap();
    let ms = |time: &Time| time.as_nanos() as f64 / 1e6;
    let meant: Vec<f64> = meant[from..=from + PACKETS].iter().map(ms).collect();
    Some((Seen { meant: between(&meant), came: between(&came) }, lengths))
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
        let mut signs = Vec::new();
        while signs.len() < WINDOWS && signs.last().is_none_or(|&sign| sign >= 1.0) {
            let (from, start) = (signs.len() * PACKETS, Instant::now());
            let (mut others, mut seen) = (Vec::new(), Vec::new());
            while seen.len() < 2 {
                let at = beside.recv().await.expect("it goes on");
                others.push(at.saturating_duration_since(start).as_secs_f64() * 1e3);
                let windows = [&idle, &busy].map(|client| window(&scene, client, from));
                seen = windows.into_iter().flatten().collect();
            }
            let same = seen.iter().flat_map(|(_, lengths)| lengths);
            assert!(same.clone().all(|len| *len == seen[0].1[0]), "all packets have one length");
            signs.push(judge(&seen[0].0, &seen[1].0, &between(&others)));
        }
        assert!(signs.last().is_some_and(|&sign| sign < 1.0), "told apart each time: {signs:?}");
        let (idle, busy) = (idle.disconnect().await.unwrap(), busy.disconnect().await.unwrap());
        // The two states were what they claim to be.
        assert_eq!(idle.sent_fragments, 0);
        assert!(busy.sent_fragments > PACKETS as u64 / 2, "{busy:?}");
        within(sending).await.unwrap();
    });
}

/// A machine that stops now and then, in virtual time: from when to when, in ms.
fn stops(rng: &mut ChaCha20Rng, runs: f64, stands: f64) -> Vec<(f64, f64)> {
    let (mut at, mut stops) = (0.0, Vec::new());
    while at < 60_000.0 {
        let begin = at + exponential(rng, runs);
        at = begin + exponential(rng, stands);
        stops.push((begin, at));
    }
    stops
}

/// A stream whose packets are meant for times that are `wait` apart each, leave after `lag`, and
/// are held while the machine stands.
fn stream(
    rng: &mut ChaCha20Rng,
    stops: &[(f64, f64)],
    wait: impl Fn(&mut ChaCha20Rng) -> f64,
    lag: impl Fn(&mut ChaCha20Rng) -> f64,
) -> Seen {
    let (mut at, mut left, mut meant, mut came) = (0.0, 0.0_f64, Vec::new(), Vec::new());
    for _ in 0..=PACKETS {
        at += wait(rng);
        meant.push(at);
        let ready = at + lag(rng);
        let before = stops.partition_point(|(begin, _)| *begin <= ready);
        let held = before.checked_sub(1).map_or(0.0, |stop| stops[stop].1);
        left = left.max(ready).max(held);
        came.push(left + rng.random_range(0.0..0.05));
    }
    Seen { meant: between(&meant), came: between(&came) }
}

/// Also on a machine that stands for two thirds of the time.
#[test]
fn what_delays_all_alike_hides_no_difference_and_is_none() {
    let wait = |rng: &mut ChaCha20Rng| exponential(rng, MEAN);
    let regular = |rng: &mut ChaCha20Rng| MEAN * rng.random_range(0.5..1.5);
    let fast = |rng: &mut ChaCha20Rng| exponential(rng, MEAN * 0.8);
    let at_once = |_: &mut ChaCha20Rng| 0.0;
    let late = |rng: &mut ChaCha20Rng| exponential(rng, 8.0);
    for (machine, (runs, stands)) in (0..).zip([(1e6, 0.1), (30.0, 20.0), (20.0, 40.0)]) {
        let mut rng = ChaCha20Rng::seed_from_u64(machine);
        let mut alike = 0;
        for _ in 0..WINDOWS {
            let stops = stops(&mut rng, runs, stands);
            let idle = stream(&mut rng, &stops, wait, at_once);
            let beside = stream(&mut rng, &stops, wait, at_once).came;
            let busy = stream(&mut rng, &stops, wait, at_once);
            alike += usize::from(judge(&idle, &busy, &beside) < 1.0);
            for busy in [
                stream(&mut rng, &stops, regular, at_once),
                stream(&mut rng, &stops, fast, at_once),
                stream(&mut rng, &stops, wait, late),
            ] {
                assert!(judge(&idle, &busy, &beside) > 1.0, "machine {machine}");
            }
        }
        assert!(alike >= WINDOWS - 1, "machine {machine}: {alike} of {WINDOWS}");
    }
}
