//! A network namespace with another one beside it, on the other side of a cable, in which a server
//! is.

use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

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

/// Runs a command; what it says, or why it failed.
pub(crate) fn run(line: &str) -> Result<String, String> {
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

/// Runs the test `name` of this program, which is an ignored one, in a namespace of its own. Where
/// the machine does not let it, that is said, and nothing is tested.
pub(crate) fn inside(name: &str) {
    if let Some(missing) = missing() {
        // Written past the capture of the test harness: it must be seen when tests pass, too.
        let why = missing.trim_end().lines().last().unwrap_or("for no known reason").to_owned();
        let line = format!("ATTENTION: SKIPPED {name}, the IP router before a kernel: {why}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let mut inside = Command::new("unshare");
    inside.arg("--net").arg(std::env::current_exe().unwrap());
    inside.args(["--exact", name, "--ignored", "--nocapture"]);
    let output = inside.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "the test inside has run: {text}");
}

/// A process that ends with the test.
pub(crate) struct Process(Child);

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

/// The other namespace, at 10.77.0.2 and fd77::2, and its server; this side is 10.77.0.1 and
/// fd77::1.
pub(crate) fn neighbour() -> [Process; 2] {
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
