//! Reading a policy. The syntax is that of `ExitPolicy` in Tor's configuration, with or without
//! that word: `accept|reject|accept6|reject6 ADDRESS[/MASK][:PORT]`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::rule::{Action, Addresses, Ports, Rule};

/// Bytes of a policy, at most.
pub const TEXT_MAX: usize = 256 << 10;
/// Rules of a policy, at most: each target is held against them one by one.
pub const RULES_MAX: usize = 4096;
/// Characters of a wrong entry that are quoted.
const QUOTED_MAX: usize = 60;

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line of the wrong entry, from 1.
    pub line: u32,
    what: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ParseError {}

/// The rules that `text` gives, in order.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, ParseError> {
    if text.len() > TEXT_MAX {
        let what = format!("the policy is longer than {} KiB", TEXT_MAX >> 10);
        return Err(ParseError { line: 1, what });
    }
    let mut rules = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        let text = without_keyword(text);
        for entry in text.split(',').map(str::trim) {
            if text.is_empty() {
                continue;
            }
            if rules.len() == RULES_MAX {
                let what = format!("the policy has more than {RULES_MAX} rules");
                return Err(ParseError { line, what });
            }
            let rule = rule(entry, line).map_err(|why| {
                let quoted: String = entry.escape_debug().take(QUOTED_MAX).collect();
                ParseError { line, what: format!("\"{quoted}\" is no rule: {why}") }
            })?;
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// `text` without the name of Tor's setting.
fn without_keyword(text: &str) -> &str {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if first.eq_ignore_ascii_case("ExitPolicy") { rest.trim_start() } else { text }
}

fn rule(entry: &str, line: u32) -> Result<Rule, &'static str> {
    let (verb, target) = entry
        .split_once(char::is_whitespace)
        .ok_or("it must be accept or reject, a space, and ADDRESS:PORT")?;
    let (action, only_v6) = match verb.to_ascii_lowercase().as_str() {
        "accept" => (Action::Accept, false),
        "reject" => (Action::Reject, false),
        "accept6" => (Action::Accept, true),
        "reject6" => (Action::Reject, true),
        _ => return Err("it must begin with accept, reject, accept6 or reject6"),
    };
    let (addresses, ports) = split(target.trim());
    let addresses = self::addresses(addresses)?;
    let v4 = matches!(addresses, Addresses::V4 | Addresses::Net(IpNet::V4(_)));
    if only_v6 && v4 {
        return Err("accept6 and reject6 are for IPv6 addresses");
    }
    Ok(Rule { action, only_v6, addresses, ports: ports.map_or(Ok(Ports::ALL), self::ports)?, line })
}

/// Addresses and ports, where there are ports. Colons of an IPv6 address stand in brackets.
fn split(target: &str) -> (&str, Option<&str>) {
    let from = target.find(']').unwrap_or(0);
    match target[from..].find(':') {
        Some(colon) => (&target[..from + colon], Some(&target[from + colon + 1..])),
        None => (target, None),
    }
}

fn addresses(text: &str) -> Result<Addresses, &'static str> {
    match text {
        "*" => return Ok(Addresses::All),
        "*4" => return Ok(Addresses::V4),
        "*6" => return Ok(Addresses::V6),
        _ if text.eq_ignore_ascii_case("private") => return Ok(Addresses::Private),
        _ => {}
    }
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let network = if let Some(inner) = address.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or("a bracket is not closed")?;
        let address: Ipv6Addr =
            inner.parse().map_err(|_| "there is no IPv6 address in brackets")?;
        let bits = mask.map_or(Some(128), |mask| bits(mask, 128));
        let bits = bits.ok_or("the mask must be a number from 0 to 128")?;
        Ipv6Net::new(address, bits).map(IpNet::V6)
    } else {
        let address: Ipv4Addr = address.parse().map_err(|_| {
            "the address must be *, *4, *6, private, an IPv4 address or an IPv6 address in brackets"
        })?;
        let bits = mask.map_or(Some(32), |mask| bits(mask, 32).or_else(|| dotted(mask)));
        let bits = bits.ok_or("the mask must be a number from 0 to 32 or such as 255.255.0.0")?;
        Ipv4Net::new(address, bits).map(IpNet::V4)
    };
    let network = network.map_err(|_| "the mask is longer than the address")?;
    mapped(network).map(Addresses::Net)
}

/// The network as targets are compared with it: what names IPv4 addresses inside IPv6 is IPv4.
fn mapped(network: IpNet) -> Result<IpNet, &'static str> {
    let IpNet::V6(v6) = network.trunc() else { return Ok(network.trunc()) };
    let (Some(inner), Some(bits)) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96))
    else {
        return Ok(IpNet::V6(v6));
    };
    Ipv4Net::new(inner, bits).map(IpNet::V4).map_err(|_| "the mask is longer than the address")
}

fn bits(mask: &str, max: u8) -> Option<u8> {
    number(mask).and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits <= max)
}

/// The length of a mask such as 255.255.0.0, whose ones are all in front.
fn dotted(mask: &str) -> Option<u8> {
    ipnet::ip_mask_to_prefix(IpAddr::V4(mask.parse().ok()?)).ok()
}

fn ports(text: &str) -> Result<Ports, &'static str> {
    if text == "*" {
        return Ok(Ports::ALL);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let read = |text| number(text).filter(|port| *port > 0);
    let (Some(first), Some(last)) = (read(first), read(last)) else {
        return Err("the port must be *, a number from 1 to 65535 or such as 80-90");
    };
    if first > last {
        return Err("the first port of a range must not be above the last");
    }
    Ok(Ports { first, last })
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
