//! The table of targets, the syntax, and what holds for every policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::table::{ALLOWED, Expected, OWN, POLICY, TARGETS};
use super::*;
use crate::settings::Value;

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_target_of_the_table_gets_its_verdict() {
    assert!(TARGETS.len() >= 200, "{}", TARGETS.len());
    let allowed = Networks::read(ALLOWED).unwrap().0;
    let policy = policy(POLICY).allowing(allowed).on(OWN.map(address).to_vec());
    for &(text, port, expected) in TARGETS {
        let verdict = policy.verdict(address(text), port);
        let right = match (expected, verdict.cause) {
            (Expected::Accept(line), Cause::Rule(rule)) => {
                rule.line == line && rule.action == Action::Accept && verdict.accepted()
            }
            (Expected::Reject(line), Cause::Rule(rule)) => {
                rule.line == line && rule.action == Action::Reject && !verdict.accepted()
            }
            (Expected::NoRule, Cause::NoRule)
            | (Expected::Own, Cause::Own)
            | (Expected::PortZero, Cause::PortZero) => !verdict.accepted(),
            (Expected::Special(part), Cause::Special(special)) => {
                special.name.contains(part) && !verdict.accepted()
            }
            _ => false,
        };
        assert!(right, "{text} port {port}: expected {expected:?}, but: {verdict}");
    }
}

#[test]
fn verdicts_are_explained() {
    let policy = policy(POLICY).on(vec![address("5.6.7.8")]);
    let said = |text, port| policy.verdict(address(text), port).to_string();
    assert_eq!(
        said("1.2.3.4", 80),
        "1.2.3.4:80: refused, by line 1 of the policy: reject 1.2.3.0/24:*"
    );
    assert_eq!(
        said("2606:4700::1", 443),
        "[2606:4700::1]:443: accepted, by line 4 of the policy: accept6 [2606:4700::]/32:443"
    );
    assert_eq!(
        said("::ffff:5.6.7.8", 1),
        "5.6.7.8:1: refused, because the address is this machine's own"
    );
    assert_eq!(
        said("64:ff9b::7f00:1", 22),
        "[64:ff9b::7f00:1]:22: refused, as NAT64 for 127.0.0.1, because the address is special: \
         loopback (127.0.0.0/8)"
    );
    assert_eq!(said("8.8.8.8", 1), "8.8.8.8:1: refused, because no rule of the policy accepts it");
}

#[test]
fn rules_are_written_as_they_are_read() {
    let rules = policy(
        "accept *:80\nreject 1.2.3.4:22-23\naccept 1.2.3.4/8\nreject6 *\naccept6 [::2:1]/64:1\n\
         accept private:9\nreject *4:*\naccept *6:65535\nreject [2001:db8::1]:1-65535\n\
         accept [::ffff:1.2.3.4]/112:5",
    );
    let written: Vec<String> = rules.rules().iter().map(ToString::to_string).collect();
    let expected = [
        "accept *:80",
        "reject 1.2.3.4:22-23",
        "accept 1.0.0.0/8:*",
        "reject6 *:*",
        "accept6 [::]/64:1",
        "accept private:9",
        "reject *4:*",
        "accept *6:65535",
        "reject [2001:db8::1]:*",
        "accept 1.2.0.0/16:5",
    ];
    assert_eq!(written, expected);
}

#[test]
fn what_is_no_rule_is_refused_with_its_line() {
    let wrong = [
        "accept",
        "accept *:0",
        "accept *:65536",
        "accept *:80-79",
        "accept *:-80",
        "accept *:80-",
        "accept *:+80",
        "accept *:http",
        "accept *5:80",
        "accept 1.2.3:80",
        "accept 1.2.3.4/33:80",
        "accept 1.2.3.4/255.0.255.0:80",
        "accept 1.2.3.4/:80",
        "accept 2001:db8::1:80",
        "accept [2001:db8::1]/129:80",
        "accept [2001:db8::1:80",
        "accept [1.2.3.4]:80",
        "accept example.org:80",
        "accept6 1.2.3.4:80",
        "reject6 *4:80",
        "permit *:80",
        "accept *:80,",
        "accept *:80 443",
        "<!doctype html>",
        "ExitPolicyaccept *:80",
        "accept 256.1.1.1:80",
    ];
    for entry in wrong {
        let error = Policy::parse(&format!("# first\nreject *:25\n{entry}\n")).unwrap_err();
        assert_eq!(error.line, 3, "{entry}: {error}");
        assert!(error.to_string().starts_with("line 3: \""), "{error}");
    }
}

#[test]
fn policies_are_bounded() {
    let line = "accept *:80\n";
    assert!(Policy::parse(&line.repeat(RULES_MAX)).is_ok());
    let error = Policy::parse(&line.repeat(RULES_MAX + 1)).unwrap_err();
    assert_eq!(error.to_string(), format!("line 4097: the policy has more than {RULES_MAX} rules"));
    let error = Policy::parse(&"#".repeat(TEXT_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("longer than 256 KiB"));
}

#[test]
fn an_empty_policy_accepts_nothing() {
    for text in ["", "# nothing\n\n", "\r\n"] {
        let policy = policy(text);
        assert_eq!(policy.verdict(address("8.8.8.8"), 443).cause, Cause::NoRule);
        assert_eq!(policy.verdict_without_port(address("8.8.8.8")).cause, Cause::NoRule);
    }
}

#[test]
fn the_built_in_policies_do_what_they_are_for() {
    let (reduced, open) = (policy(REDUCED), policy(OPEN));
    let says = |policy: &Policy, port| policy.verdict(address("8.8.8.8"), port).accepted();
    for port in [22, 53, 80, 443, 465, 587, 993, 5222, 6667, 8443, 9418, 26657] {
        assert!(says(&reduced, port) && says(&open, port), "{port}");
    }
    for port in [23, 25, 119, 135, 137, 139, 445, 1433, 3306, 3389, 5900, 6379, 27017] {
        assert!(!says(&reduced, port) && says(&open, port), "{port}");
    }
    for text in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:10.0.0.1"] {
        assert!(!open.verdict(address(text), 443).accepted(), "{text}");
    }
}

#[test]
fn an_echo_request_goes_where_some_port_is_accepted() {
    let policy = policy("reject 1.2.3.4:*\nreject 1.2.3.5:80\naccept 1.2.3.0/24:80-81");
    let says = |text| policy.verdict_without_port(address(text)).accepted();
    assert!(says("1.2.3.5") && says("1.2.3.6") && says("::ffff:1.2.3.6"));
    assert!(!says("1.2.3.4") && !says("1.2.4.1") && !says("127.0.0.1"));
}

/// Slow and plain: whether `address` lies in the network, bit by bit.
fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let as_bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let (one, other) = (as_bits(address), as_bits(network));
    address.is_ipv4() == network.is_ipv4()
        && (0..u32::from(bits)).all(|bit| (one << bit) >> 127 == (other << bit) >> 127)
}

/// Addresses of a small world, so that rules and targets meet.
fn any_address(rng: &mut StdRng) -> IpAddr {
    let small: u32 = rng.random_range(0..1024);
    if rng.random() {
        IpAddr::V4(Ipv4Addr::from_bits(0x0800_0000 | small << rng.random_range(0..14)))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(
            0x2a00 << 112 | u128::from(small) << rng.random_range(0..90),
        ))
    }
}

#[test]
fn random_policies_agree_with_the_slow_reading_of_their_rules() {
    let mut accepted = 0;
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let rules: Vec<(bool, IpAddr, u8, u16, u16)> = (0..rng.random_range(1..40))
            .map(|_| {
                let network = any_address(&mut rng);
                let bits = rng.random_range(0..=if network.is_ipv4() { 32 } else { 128 });
                let (one, other) = (rng.random_range(1..50), rng.random_range(1..50));
                (rng.random(), network, bits, one.min(other), one.max(other))
            })
            .collect();
        let write = |&(accept, network, bits, first, last): &(bool, IpAddr, u8, u16, u16)| {
            let verb = if accept { "accept" } else { "reject" };
            match network {
                IpAddr::V4(v4) => format!("{verb} {v4}/{bits}:{first}-{last}\n"),
                IpAddr::V6(v6) => format!("{verb} [{v6}]/{bits}:{first}-{last}\n"),
            }
        };
        let policy = policy(&rules.iter().map(write).collect::<String>());
        for _ in 0..100 {
            let (target, port) = (any_address(&mut rng), rng.random_range(1..50));
            let slow = rules.iter().position(|&(_, network, bits, first, last)| {
                in_network(target, network, bits) && first <= port && port <= last
            });
            let verdict = policy.verdict(target, port);
            let expected = slow.is_some_and(|at| rules[at].0);
            assert_eq!(verdict.accepted(), expected, "seed {seed}: {verdict}");
            if let (Some(at), Cause::Rule(rule)) = (slow, verdict.cause) {
                assert_eq!(rule.line as usize, at + 1, "seed {seed}: {verdict}");
            }
            accepted += u32::from(expected);
        }
    }
    assert!(accepted > 1_000, "random policies are worth what they accept: {accepted}");
}

#[test]
fn no_form_of_a_special_address_is_accepted_by_any_policy() {
    let open = policy(OPEN);
    for seed in 0..20_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let inner = Ipv4Addr::from_bits(rng.random());
        let plain = open.verdict(inner.into(), 443).accepted();
        let bits = u128::from(inner.to_bits());
        let forms = [
            inner.to_ipv6_mapped(),
            Ipv6Addr::from_bits(0x64_ff9b << 96 | bits),
            Ipv6Addr::from_bits(0x2002 << 112 | bits << 80 | u128::from(rng.random::<u64>())),
            Ipv6Addr::from_bits(0x2001_0000_0808_0808 << 64 | (!bits & 0xffff_ffff)),
        ];
        for form in forms {
            let verdict = open.verdict(form.into(), 443);
            assert_eq!(verdict.accepted(), plain, "seed {seed}, {inner}: {verdict}");
        }
    }
}

const PIECES: [&str; 18] = [
    "accept ",
    "reject ",
    "accept6 ",
    "ExitPolicy ",
    "*",
    "*4",
    "*6",
    "private",
    "1.2.3.4",
    "[2a00::1]",
    "/24",
    "/255.0.0.0",
    ":",
    "80",
    "-443",
    ",",
    "#",
    "\n",
];

#[test]
fn any_text_is_read_or_refused_and_what_is_read_is_written_alike() {
    let (mut read, mut refused) = (0, 0);
    for seed in 0..30_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut text: String = (0..rng.random_range(0..12))
            .map(|_| PIECES[rng.random_range(0..PIECES.len())])
            .collect();
        if rng.random_ratio(1, 4) {
            text.insert(0, char::from_u32(rng.random_range(0..0x500)).unwrap());
        }
        match Policy::parse(&text) {
            Ok(policy) => {
                let written: String =
                    policy.rules().iter().map(|rule| format!("{rule}\n")).collect();
                let again = self::policy(&written);
                let same = |(one, other): (&Rule, &Rule)| {
                    Rule { line: 0, ..*one } == Rule { line: 0, ..*other }
                };
                assert!(policy.rules().iter().zip(again.rules()).all(same), "seed {seed}: {text}");
                assert_eq!(policy.rules().len(), again.rules().len(), "seed {seed}: {text}");
                read += usize::from(!policy.rules().is_empty());
            }
            Err(error) => {
                assert!(error.line as usize <= text.lines().count().max(1), "seed {seed}: {text}");
                refused += 1;
            }
        }
    }
    assert!(read > 100 && refused > 500, "random text is worth what it reaches: {read}, {refused}");
}

/// A server that gives each of `answers` once, whole, and then is gone.
async fn server(answers: Vec<String>) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/policy.txt", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            // A client that has heard enough may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, task)
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_policy_from_a_url_is_kept_for_when_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let good = "accept *:443\nreject *:*\n";
    let answers = vec![
        answer("404 Not Found", "no"),
        answer("200 OK", good),
        answer("200 OK", "<html>"),
        answer("200 OK", "# nothing\n"),
        answer("200 OK", &"#".repeat(TEXT_MAX + 1)),
    ];
    let (url, server) = server(answers).await;
    let keeper = |url: &str| {
        let file = dir.path().join("phix-node.toml");
        std::fs::create_dir_all(dir.path().join("state")).unwrap();
        std::fs::write(&file, format!("exit-policy = {url:?}\nlisten = \"192.0.2.9:1789\""))
            .unwrap();
        Keeper::of(&crate::place::Place::of(dir.path()).unwrap())
    };
    let load = async |url: &str| {
        let mut said = Vec::new();
        let loaded = keeper(url).load(|what| said.push(what)).await;
        (loaded.map(|policy| policy.rules().len()).map_err(|fault| fault.to_string()), said)
    };
    let (loaded, _) = load(&url).await;
    assert!(loaded.unwrap_err().contains("404 Not Found"), "nothing is kept yet");
    assert_eq!(load(&url).await, (Ok(2), vec![]));
    for why in ["line 1", "is empty", "length limit"] {
        let (loaded, said) = load(&url).await;
        assert_eq!(loaded, Ok(2), "the copy holds: {said:?}");
        assert!(said.len() == 1 && said[0].contains(why), "{said:?}");
    }
    server.await.unwrap();
    let (loaded, said) = load(&url).await;
    assert!(loaded == Ok(2) && said[0].contains("the copy that was kept holds"), "{said:?}");
    let (loaded, _) = load(&url.replace("policy.txt", "other.txt")).await;
    assert!(loaded.is_err(), "the copy is of another URL");
    assert!(keeper(&url).describe().unwrap().contains("of which a copy is kept"));
    let policy = keeper(&url).load(drop).await.unwrap();
    assert_eq!(policy.verdict(address("192.0.2.9"), 443).cause, Cause::Own, "what is announced");
}
