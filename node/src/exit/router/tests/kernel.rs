//! The router in front of a real kernel, in a network namespace of its own: packets of a client
//! reach a server in another namespace and come back, and nothing stays behind.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use phix_proto::ipr::{ResponseBody, packets};
use tokio::time::timeout;

use super::{World, tag, udp};
use crate::exit::policy::{OPEN, Policy};
use crate::exit::router::device::Device;
use crate::exit::router::nat::{self, Nat};
use crate::exit::router::pool::Pool;
use crate::exit::router::table::Output;

const PATIENCE: Duration = Duration::from_secs(90);
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Answers each datagram with the address that it came from, on IPv4 and IPv6.
const SERVER: &str = "\
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(('::', 5300))
print('ready', flush=True)
while True:
    data, at = s.recvfrom(2000)
    s.sendto(at[0].encode(), at)
";

fn run(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.map_err(|error| format!("{}: {error}", words[0]))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("{line}: {said}")) }
}

/// What of the machine is missing, if anything is.
fn missing() -> Option<String> {
    let needed = [
        "unshare --net ip tuntap add dev t0 mode tun",
        "unshare --net ip link add v0 type veth peer name v1",
        "unshare --net nft add table inet t ; \
            add chain inet t c { type nat hook postrouting priority srcnat ; }",
        "unshare --net test -w /proc/sys/net/ipv4/ip_forward",
        "nsenter --version",
        "python3 --version",
    ];
    needed.iter().find_map(|line| run(line).err())
}

#[test]
fn packets_reach_a_server_behind_the_kernel_and_nothing_stays() {
    if let Some(missing) = missing() {
        // Written past the capture of the test harness: it must be seen when tests pass, too.
        let why = missing.trim_end().lines().last().unwrap_or("for no known reason").to_owned();
        let line = format!("ATTENTION: SKIPPED the IP router in front of a kernel: {why}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(std::env::current_exe().unwrap());
    let name = "exit::router::tests::kernel::inside";
    inside.args(["--exact", name, "--ignored", "--nocapture"]);
    let output = inside.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the test inside has run: {text}");
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        Self(command.args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn forwarding() -> String {
    fs::read_to_string(FORWARDING).unwrap().trim().to_owned()
}

/// The namespace of the server, on the other side of a cable.
fn neighbour() -> [Process; 2] {
    run("ip link add v0 type veth peer name v1").unwrap();
    let mut there = Process::start(&["unshare", "--net", "sh", "-c", "echo; exec sleep 600"]);
    let mut byte = [0];
    io::Read::read_exact(there.0.stdout.as_mut().unwrap(), &mut byte).unwrap();
    let there_id = there.0.id().to_string();
    run(&format!("ip link set v1 netns {there_id}")).unwrap();
    for (address, device) in [("10.77.0.1/24", "v0"), ("fd77::1/64", "v0")] {
        run(&format!("ip addr add {address} dev {device} nodad")).unwrap();
    }
    run("ip link set v0 up").unwrap();
    run("ip link set lo up").unwrap();
    let inside = format!("nsenter -t {there_id} -n ");
    for line in [
        "ip addr add 10.77.0.2/24 dev v1",
        "ip addr add fd77::2/64 dev v1 nodad",
        "ip link set v1 up",
    ] {
        run(&(inside.clone() + line)).unwrap();
    }
    let mut server =
        Process::start(&["nsenter", "-t", &there_id, "-n", "python3", "-u", "-c", SERVER]);
    let mut word = [0; 6];
    io::Read::read_exact(server.0.stdout.as_mut().unwrap(), &mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    [there, server]
}

#[test]
#[ignore = "runs in a namespace that another test makes"]
fn inside() {
    let dir = tempfile::tempdir().unwrap();
    let _neighbour = neighbour();
    let pool = || Pool::new("10.93.0.0/16".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(forwarding(), "0");
        // A node that was killed: its rules and settings are still there.
        std::mem::forget(Nat::set(dir.path(), "phixt", pool().networks()).unwrap());
        let device = Device::open("phixt", &pool()).unwrap();
        let nat = Nat::set(dir.path(), "phixt", pool().networks()).unwrap();
        assert_eq!(forwarding(), "1");
        let policy = Policy::parse(OPEN).unwrap();
        let allowed = vec!["10.77.0.0/24".parse().unwrap(), "fd77::/64".parse().unwrap()];
        let mut world = World::with("10.93.0.0/16", policy.allowing(allowed));
        let mine = world.connect(tag(1));
        for (server, seen) in [("10.77.0.2", "::ffff:10.77.0.1"), ("fd77::2", "fd77::1")] {
            let server: IpAddr = server.parse().unwrap();
            let asks = udp((mine.v4, mine.v6), server, 5300, b"who am I?");
            let heard = exchange(&mut world, &device, &asks, server).await;
            assert!(heard.ends_with(seen.as_bytes()), "{server} saw {heard:?}");
        }
        drop(nat);
        assert_eq!(forwarding(), "0");
        assert_eq!(run("nft list tables").unwrap(), "", "no table stays");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no file stays");
        nat::undo(dir.path()).unwrap();
    });
}

/// Sends a packet through the router until the answer of `server` is there for the client.
async fn exchange(world: &mut World, device: &Device, packet: &[u8], server: IpAddr) -> Vec<u8> {
    let mut buffer = vec![0; 2000];
    let answered = timeout(PATIENCE, async {
        loop {
            world.send(tag(1), packet);
            for output in world.table.outputs() {
                let Output::Packet(packet) = output else { panic!("{output:?}") };
                assert!(device.send(&packet).await);
            }
            let wait = Duration::from_millis(500);
            // Neighbours have to be found first, and the kernel speaks to its routers meanwhile.
            while let Ok(read) = timeout(wait, device.receive(&mut buffer)).await {
                let now = world.now;
                world.table.packet(&buffer[..read.unwrap()], now);
                world.after(super::BUNDLING);
                for (_, message) in world.said() {
                    let response = phix_proto::ipr::Response::parse(&message).unwrap();
                    let ResponseBody::Data(bundle) = response.body else { panic!("{response:?}") };
                    if let Some(Ok(packet)) = packets(bundle).next() {
                        let source = super::super::packet::Packet::read(packet).unwrap().source;
                        assert_eq!(source, server);
                        return packet.to_vec();
                    }
                }
            }
        }
    });
    answered.await.expect("the server answers in time")
}
