//! Peers that vanish without a word: no end of the stream, no reset, no answer. That takes a
//! network that can be cut, so this needs root, and makes a network namespace with another one
//! behind a pair of virtual interfaces; nothing leaves them.

use std::fs::read_link;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use phix_engine::counters::DropReason;
use phix_engine::wire::geometry::PacketSize;

use crate::common::{build, stream, until};
use crate::scene::{ALONE, Scene, connect_from, each};

const HERE: &str = "10.9.0.1";
const THERE: &str = "10.9.0.2";
/// The other interface is given this address, and the neighbour is known by it, so that packets go
/// there also when nobody answers any more.
const MAC: &str = "02:00:00:00:00:02";
const PEERS: usize = 4;

#[test]
fn peers_that_vanish_are_given_up_and_cost_the_others_nothing() {
    if let Some(missing) = missing() {
        // Written past the capture of the test harness: it must be seen when tests pass, too.
        let line = format!("ATTENTION: SKIPPED peers_that_vanish: {missing}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    // Its pipes would be counted among the descriptors of a test that gives all of them back.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let own = std::env::current_exe().unwrap();
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(own);
    inside.args(["--exact", "namespaces::inside", "--ignored", "--nocapture"]);
    let output = inside.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
    assert!(String::from_utf8_lossy(&text).contains("1 passed"), "the test inside has run");
}

/// What this machine lacks for the test.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let works = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let tries: [(&str, &[&str]); 2] = [
        ("unshare", &["--net", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]),
        ("nsenter", &["--version"]),
    ];
    let failed = tries.into_iter().find(|(program, args)| !works(program, args));
    failed.map(|(program, args)| format!("`{program} {}` does not work here", args.join(" ")))
}

/// Processes of the other side, ended with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(status.success(), "ip {args}");
}

/// The namespace behind the pair of interfaces.
struct There(Process);

impl There {
    fn new() -> Self {
        let there = Process::start(Command::new("unshare").args(["--net", "sleep", "300"]));
        let net = |pid: &str| read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let id = there.0.id().to_string();
        while net(&id) == net("self") {
            std::thread::sleep(Duration::from_millis(1));
        }
        ip("link add v0 type veth peer name v1");
        ip(&format!("link set v1 address {MAC}"));
        ip(&format!("link set v1 netns {id}"));
        ip(&format!("addr add {HERE}/24 dev v0"));
        ip("link set v0 up");
        ip(&format!("neigh replace {THERE} lladdr {MAC} dev v0 nud permanent"));
        let there = Self(there);
        there.appear();
        there
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.0.id())).arg(program);
        command
    }

    fn ip(&self, args: &str) {
        assert!(self.command("ip").args(args.split(' ')).status().unwrap().success(), "ip {args}");
    }

    fn appear(&self) {
        self.ip(&format!("addr add {THERE}/24 dev v1"));
        self.ip("link set v1 up");
    }

    /// From here on nobody has the address: what is sent there disappears.
    fn vanish(&self) {
        self.ip("addr flush dev v1");
    }

    /// A peer that sends these bytes and then nothing.
    fn peer(&self, to: SocketAddr, bytes: &[u8]) -> Process {
        let script =
            format!("exec 3<>/dev/tcp/{}/{} && cat >&3 && exec sleep 300", to.ip(), to.port());
        let mut peer = self.command("bash");
        let mut peer = Process::start(peer.args(["-c", &script]).stdin(Stdio::piped()));
        peer.0.stdin.take().unwrap().write_all(bytes).unwrap();
        peer
    }
}

#[test]
#[ignore = "runs in the namespace that the other test makes"]
fn inside() {
    ip("link set lo up");
    let there = There::new();
    each(
        |config| {
            config.listen = SocketAddr::new(HERE.parse().unwrap(), 0);
            config.shard.capacity = [0, PEERS, 0, 0, 0];
        },
        |scene| {
            let server = &scene.server;
            let half = stream(&scene.packets(1));
            let peers: Vec<Process> =
                (0..PEERS).map(|_| there.peer(server.address(), &half[..1000])).collect();
            until(server, "accepted", |counters| counters.accepted >= PEERS as u64);
            until_full(scene);
            there.vanish();
            // Their slots come back when their time for a packet is over.
            until(server, "given up", |counters| counters.truncated == PEERS as u64);
            scene.passes(PEERS);
            // A next hop that answers nothing loses its own packets, and no one else's.
            let nobody = SocketAddr::new(THERE.parse().unwrap(), 1789);
            let lost = build(nobody, Duration::ZERO, PacketSize::Regular);
            let mut connection = connect_from([127, 9, 9, 8], server).unwrap();
            connection.write_all(&stream(&[lost])).unwrap();
            scene.passes(1);
            let unreachable = DropReason::PeerUnreachable;
            until(server, "unreachable", |counters| counters.dropped(unreachable) == 1);
            drop(peers);
            there.appear();
        },
        |report| assert_eq!(report.counters.truncated, PEERS as u64),
    );
}

/// Waits until the peers hold all slots, and sees a packet that finds none. A packet that came
/// before could have the slot that one of them needs.
fn until_full(scene: &Scene) {
    let free = || scene.server.observer().shards()[0].gauges.pool_free;
    let begin = Instant::now();
    while free() != [0; PacketSize::ALL.len()] {
        assert!(begin.elapsed() < Duration::from_secs(8), "the peers hold no slots: {:?}", free());
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut probe = connect_from([127, 9, 9, 7], &scene.server).unwrap();
    probe.write_all(&stream(&scene.packets(1))).unwrap();
    until(&scene.server, "no slot", |counters| counters.dropped(DropReason::PoolEmpty) == 1);
}
