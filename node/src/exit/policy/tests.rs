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
