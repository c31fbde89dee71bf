//! A way on which packets of IP take their time and some are lost. The kernel's own means for that,
//! netem, is missing in many kernels; a TUN device and a small program behind it do as well. It
//! takes root, and lies in a network namespace of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use phix_engine::wire::frame::FrameVersion;
use phix_engine::wire::geometry::PacketSize;

use crate::common::{Built, accept, assert_balance, assert_same, build, config, links, read};
use crate::common::{start, stream, until};
use crate::scene::ALONE;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
/// Whoever connects there comes out here.
const THERE: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
/// Each way.
const DELAY: Duration = Duration::from_millis(50);
const LOSS: &str = "0.01";
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostility/wan.py");

const SENDERS: usize = 4;
const PACKETS: usize = 80;

#[test]
fn packets_cross_a_long_and_lossy_way() {
    let missing = Command::new("unshare")
        .args(["--net", "python3", PROGRAM, &HERE.to_string(), &THERE.to_string(), "0", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let missing = match missing {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(missing) = missing {
        // Written past the capture of the test harness: it must be seen when tests pass, too.
        let why = missing.trim_end().lines().last().unwrap_or("for no known reason");
        let line = format!("ATTENTION: SKIPPED packets_cross_a_long_and_lossy_way: {why}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(std::env::current_exe().unwrap());
    inside.args(["--exact", "lossy::inside", "--ignored", "--nocapture"]);
    let output = inside.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the test inside has run: {text}");
}

/// The way.
struct Wan {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Wan {
    fn open() -> Self {
        let mut command = Command::new("python3");
        command.args([PROGRAM, &HERE.to_string(), &THERE.to_string()]);
        command.args([&DELAY.as_secs_f64().to_string(), LOSS]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, out }
    }

    /// How many packets of IP went through, and how many were lost.
    fn close(mut self) -> (u64, u64) {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        let (passed, lost) = text.trim_end().split_once(' ').unwrap();
        (passed.parse().unwrap(), lost.parse().unwrap())
    }
}

fn there(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(THERE.into(), address.port())
}

#[test]
#[ignore = "runs in the namespace that the other test makes"]
fn inside() {
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    for link in links() {
        let wan = Wan::open();
        let mut config = config(link);
        config.listen = SocketAddr::new(HERE.into(), 0);
        let server = start(config);
        let hops: Vec<TcpListener> =
            (0..SENDERS).map(|_| TcpListener::bind((HERE, 0)).unwrap()).collect();
        let sent: Vec<Vec<Built>> = hops
            .iter()
            .map(|hop| {
                let to = there(hop.local_addr().unwrap());
                let delay = |number: usize| Duration::from_millis(number as u64 % 100);
                let packet = |number| build(to, delay(number), PacketSize::Regular);
                (0..PACKETS).map(packet).collect()
            })
            .collect();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            // Each sender has packets for all next hops.
            for sender in 0..SENDERS {
                let (sent, server) = (&sent, &server);
                scope.spawn(move || {
                    let mut connection = TcpStream::connect(there(server.address())).unwrap();
                    for packets in sent {
                        let part = PACKETS / SENDERS;
                        let bytes = stream(&packets[sender * part..][..part]);
                        connection.write_all(&bytes).unwrap();
                    }
                    let all = (SENDERS * PACKETS) as u64;
                    until(server, "all sent on", |counters| counters.forwarded == all);
                });
            }
            for (hop, packets) in hops.iter().zip(&sent) {
                scope.spawn(move || {
                    let got = read(&mut accept(hop), PACKETS, FrameVersion::Current);
                    assert_same(got, packets);
                });
            }
        });
        assert!(begin.elapsed() >= 4 * DELAY, "two ways, and a handshake before each");
        let report = server.stop();
        assert_balance(&report);
        assert_eq!(report.counters.dropped_total(), 0, "{:?}", report.counters);
        let (passed, lost) = wan.close();
        assert!(passed > 1_000 && lost > 0, "{lost} lost, {passed} not");
        println!("{link:?}: {lost} of {} packets of IP were lost", passed + lost);
    }
}
