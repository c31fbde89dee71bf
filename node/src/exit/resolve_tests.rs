//! Names against a nameserver in this process, which answers as the tests need it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;

use super::*;
use crate::exit::policy::{Cause, OPEN};

/// A nameserver on a port of its own. The first label of a name says what it answers.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let four = is_for_v4(&buffer[..length]);
                let turn = count.fetch_add(usize::from(four), Ordering::SeqCst);
                if let Some(answer) = answer(&buffer[..length], turn) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self { address, asked, task }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(Some(&Nameservers(vec![self.address]))).unwrap()
    }
}

/// Whether a query is for addresses of IPv4. Only these are counted: that there is no address of
/// the other family is remembered only if the answer says for how long.
fn is_for_v4(query: &[u8]) -> bool {
    let name = query[12..].iter().position(|&byte| byte == 0).expect("a name ends");
    query[12 + name + 2] == 1
}

/// The answer to a query (RFC 1035, section 4), in turn `turn`; none where the name says so.
fn answer(query: &[u8], turn: usize) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|&byte| byte == 0)? + 1;
    let name = query[13..13 + usize::from(query[12])].to_ascii_lowercase();
    let (question, kind) = (&query[12..end + 4], query[end + 1]);
    let v4 = |a, b, c, d| Ipv4Addr::new(a, b, c, d);
    let four: Vec<Ipv4Addr> = match name.as_slice() {
        b"silent" => return None,
        b"good" => vec![v4(8, 8, 8, 8), v4(8, 8, 4, 4)],
        b"mixed" => vec![v4(10, 0, 0, 1), v4(8, 8, 8, 8)],
        b"inside" => vec![v4(192, 168, 0, 1), v4(127, 0, 0, 1)],
        b"many" => (1..=60).map(|last| v4(8, 8, 8, last)).collect(),
        // Public for the first who asks, then this machine.
        b"rebinding" if turn == 0 => vec![v4(8, 8, 8, 8)],
        b"rebinding" => vec![v4(127, 0, 0, 1)],
        _ => Vec::new(),
    };
    let six = if name == b"six" { vec!["2a00::5".parse::<Ipv6Addr>().unwrap()] } else { vec![] };
    let records: Vec<Vec<u8>> = match kind {
        1 => four.iter().map(|address| address.octets().to_vec()).collect(),
        28 => six.iter().map(|address| address.octets().to_vec()).collect(),
        _ => Vec::new(),
    };
    let code = if name == b"absent" { 3 } else { 0 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for record in records {
        let life: u8 = if name == b"rebinding" { 0 } else { 60 };
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, life, 0, record.len() as u8]);
        answer.extend(record);
    }
    Some(answer)
}

fn open() -> Policy {
    Policy::parse(OPEN).unwrap()
}

async fn targets(resolver: &Resolver, host: &str) -> Result<Vec<String>, ResolveError> {
    let found = resolver.targets(&open(), host, 443).await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn names_lead_to_the_addresses_that_are_accepted() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let mut good = targets(&resolver, "Good.example").await.unwrap();
    good.sort();
    assert_eq!(good, ["8.8.4.4:443", "8.8.8.8:443"]);
    assert_eq!(targets(&resolver, "mixed.example").await.unwrap(), ["8.8.8.8:443"]);
    assert_eq!(targets(&resolver, "six.example.").await.unwrap(), ["[2a00::5]:443"]);
    assert_eq!(targets(&resolver, "many.example").await.unwrap().len(), ADDRESSES_MAX);
    let refused = targets(&resolver, "inside.example").await.unwrap_err();
    let ResolveError::Refused(verdict) = refused else { panic!("{refused}") };
    assert!(matches!(verdict.cause, Cause::Special(_)), "{verdict}");
}

#[tokio::test]
async fn what_has_no_address_is_told_apart() {
    let server = Server::start().await;
    let resolver = server.resolver();
    let error = async |host| targets(&resolver, host).await.unwrap_err();
    assert_eq!(error("absent.example").await, ResolveError::NoSuchName);
    assert_eq!(error("empty.example").await, ResolveError::NoAddress);
    let asked = server.asked.load(Ordering::SeqCst);
    for wrong in ["", ".", "a..b", "127.1", "0x7f.1", "2130706433", "a b", "a/b", "exa\u{df}", "1."]
    {
        assert_eq!(error(wrong).await, ResolveError::NotAName, "{wrong:?}");
    }
    let long = format!("{}.example", "a".repeat(64));
    assert_eq!(error(&long).await, ResolveError::NotAName);
    assert_eq!(server.asked.load(Ordering::SeqCst), asked, "nobody is asked about those");
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_each_time() {
    let server = Server::start().await;
    let resolver = server.resolver();
    // A query that is sent again counts as a turn, so that the public address may not be seen; this
    // machine's is never given back.
    for _ in 0..5 {
        match targets(&resolver, "rebinding.example").await {
            Ok(found) => assert_eq!(found, ["8.8.8.8:443"]),
            Err(error) => assert!(matches!(error, ResolveError::Refused(_)), "{error}"),
        }
    }
    let last = targets(&resolver, "rebinding.example").await.unwrap_err();
    assert!(matches!(last, ResolveError::Refused(_)), "{last}");
}

#[tokio::test]
async fn answers_are_remembered() {
    let server = Server::start().await;
    let resolver = server.resolver();
    targets(&resolver, "good.example").await.unwrap();
    let asked = server.asked.load(Ordering::SeqCst);
    for _ in 0..20 {
        targets(&resolver, "good.example").await.unwrap();
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), asked);
}

#[tokio::test]
async fn a_nameserver_that_says_nothing_is_given_up() {
    let server = Server::start().await;
    let error = targets(&server.resolver(), "silent.example").await.unwrap_err();
    let given_up = matches!(error, ResolveError::TimedOut | ResolveError::Failed(_));
    assert!(given_up, "{error}");
}

#[tokio::test]
async fn addresses_need_no_nameserver_and_are_judged_alike() {
    let nowhere = Nameservers(vec!["127.0.0.1:9".parse().unwrap()]);
    let resolver = Resolver::new(Some(&nowhere)).unwrap();
    assert_eq!(targets(&resolver, "8.8.8.8").await.unwrap(), ["8.8.8.8:443"]);
    assert_eq!(targets(&resolver, "[2a00::5]").await.unwrap(), ["[2a00::5]:443"]);
    assert_eq!(targets(&resolver, "::ffff:8.8.8.8").await.unwrap(), ["8.8.8.8:443"]);
    for inside in ["127.0.0.1", "::1", "[::ffff:127.0.0.1]", "169.254.169.254", "localhost"] {
        let error = targets(&resolver, inside).await.unwrap_err();
        assert!(matches!(error, ResolveError::Refused(_)), "{inside}: {error}");
    }
}

#[test]
fn nameservers_are_read_with_and_without_a_port() {
    let read = |text| Nameservers::read(text).map(|all| all.0);
    let expected: Vec<SocketAddr> =
        vec!["9.9.9.9:53".parse().unwrap(), "[2620:fe::fe]:5353".parse().unwrap()];
    assert_eq!(read("9.9.9.9, [2620:fe::fe]:5353"), Some(expected));
    assert_eq!(read("2620:fe::fe").map(|all| all[0].port()), Some(53));
    for wrong in ["", "dns.example", "9.9.9.9,", "9.9.9.9:99999"] {
        assert_eq!(read(wrong), None, "{wrong:?}");
    }
    assert_eq!(read(&["9.9.9.9"; NAMESERVERS_MAX + 1].join(",")), None);
}
