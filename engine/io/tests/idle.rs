//! A server at rest costs nothing. In a process of its own, so that nobody else's threads count.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use phix_engine::crypto::PORTABLE;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, FinalHops, Keys, NodeKey};
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::noise::Noise;
use phix_io::{LinkChoice, LinkKind, PeerLimits, Refuse, Server, ServerConfig, plan};

const SHARDS: usize = 4;

fn server(link: LinkChoice) -> Server {
    let shard = Config {
        capacity: [16, 64, 4, 4, 4],
        batch: 16,
        frames: FrameVersion::Current,
        final_hops: FinalHops::Drop,
        kernels: PORTABLE,
        seed: [0; 32],
    };
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        shards: SHARDS,
        pin: false,
        link,
        source: None,
        connections_max: 64,
        peers: PeerLimits::default(),
        noise: Noise::default(),
        drain: Duration::from_secs(1),
        shard,
    };
    let replay = Arc::new(ReplayFilter::new(1000, [1; 32]));
    let secret = NodeSecret::from_bytes([0x42; 32]);
    let primary = NodeKey { rotation: KeyRotation::Unknown, secret, replay };
    let keys = Keys { primary, secondary: None };
    Server::start(config, keys, |_| Refuse).unwrap_or_else(|error| panic!("{error}"))
}

/// How often the shards' threads gave their core away or lost it, and how many of them there are.
fn switches() -> (u64, usize) {
    let (mut sum, mut threads) = (0, 0);
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end at any time.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        if !status.lines().any(|line| line.starts_with("Name:\tphix-shard-")) {
            continue;
        }
        let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        sum += counts.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum::<u64>();
        threads += 1;
    }
    (sum, threads)
}

#[test]
fn shards_at_rest_sleep() {
    let uring = plan(LinkChoice::Auto).unwrap().kind == LinkKind::Uring;
    if !uring {
        eprintln!("ATTENTION: NOT TESTED over io_uring");
    }
    for link in [LinkChoice::Epoll, LinkChoice::Uring].into_iter().take(1 + usize::from(uring)) {
        let server = server(link);
        // The threads go to sleep on their own time.
        std::thread::sleep(Duration::from_millis(200));
        let (before, threads) = switches();
        assert_eq!(threads, SHARDS);
        std::thread::sleep(Duration::from_secs(1));
        let (after, _) = switches();
        // Each wake-up is at least one switch: a clock that ticks ten times a second would show.
        assert!(after - before < 20, "{link}: {} switches in a second", after - before);
        assert_eq!(server.stop().failed, None);
    }
}
