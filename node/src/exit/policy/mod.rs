//! The exit policy: which addresses and ports this node connects to for others.
//!
//! Two things are asked of each target. The node's own safety comes first: private, local and
//! special addresses, those of cloud metadata and those of this machine are refused unless the
//! operator has named them ([`special`]); an IPv6 address that stands for an IPv4 address is judged
//! by both. Then the rules ([`Rule`]) are gone through in order, and the first that matches
//! decides; where none does, the target is refused.
//!
//! What is judged is an address, never a name: [`resolve`](super::resolve) judges what a name leads
//! to and connects to nothing else.

mod fetch;
mod keep;
mod parse;
mod rule;
mod special;
mod verdict;

pub mod check;

#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;

pub use keep::{Keeper, Networks, PolicySource};
pub use parse::{ParseError, RULES_MAX, TEXT_MAX};
pub(crate) use rule::PRIVATE;
pub use rule::{Action, Addresses, Ports, Rule};
pub use verdict::{Cause, Verdict};

/// The policy of a node whose operator has named none: web, mail as clients use it, chat, source
/// code, and what else people reach from home; nothing that sends mail to strangers or that is
/// known for break-ins. As text, in the syntax of policies.
pub const REDUCED: &str = include_str!("reduced.txt");

/// Everything that is not refused for the node's own safety.
pub const OPEN: &str = "accept *:*\n";

/// Rules, and the addresses that are refused before any rule is looked at.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    allowed: Vec<IpNet>,
    own: Vec<IpAddr>,
}

impl Policy {
    /// The policy that `text` describes: one rule in each line, or several with commas between
    /// them, as in Tor's configuration; `#` begins a comment.
    ///
    /// # Errors
    /// The first entry that is no rule, with its line; or that there are too many.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self { rules: parse::rules(text)?, ..Self::default() })
    }

    /// The same rules, with `allowed` networks exempt from what is always refused. Rules still
    /// have to accept them.
    #[must_use]
    pub fn allowing(mut self, allowed: Vec<IpNet>) -> Self {
        self.allowed = allowed;
        self
    }

    /// The same rules, on a machine whose addresses are `own`.
    #[must_use]
    pub fn on(mut self, own: Vec<IpAddr>) -> Self {
        self.own = own.into_iter().map(|address| address.to_canonical()).collect();
        self
    }

    /// The rules, in the order in which they count.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether the node connects to `port` of `address`, and why.
    pub fn verdict(&self, address: IpAddr, port: u16) -> Verdict {
        self.judge(address, port, |address| {
            if port == 0 { Cause::PortZero } else { self.first(address, port) }
        })
    }

    /// Whether the node sends to `address` what has no port, an echo request: where it accepts any
    /// port there. The port of the verdict is 0.
    pub fn verdict_without_port(&self, address: IpAddr) -> Verdict {
        self.judge(address, 0, |address| self.any_port(address))
    }

    /// What is always refused, then `rules`, for the address and for those that it stands for.
    fn judge(&self, address: IpAddr, port: u16, rules: impl Fn(IpAddr) -> Cause) -> Verdict {
        let target = address.to_canonical();
        let cause = |judged| self.never(judged).unwrap_or_else(|| rules(judged));
        let whole = Verdict { target, judged: target, form: None, port, cause: cause(target) };
        let IpAddr::V6(outer) = target else { return whole };
        if !whole.accepted() {
            return whole;
        }
        let inner = special::embedded(outer).into_iter().flatten();
        let inner = inner.map(|(form, address)| {
            let judged = IpAddr::V4(address);
            Verdict { target, judged, form: Some(form), port, cause: cause(judged) }
        });
        inner.into_iter().find(|verdict| !verdict.accepted()).unwrap_or(whole)
    }

    /// Why `address` is refused whatever the rules say.
    fn never(&self, address: IpAddr) -> Option<Cause> {
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return None;
        }
        if self.own.contains(&address) {
            return Some(Cause::Own);
        }
        special::range(address).map(Cause::Special)
    }

    fn first(&self, address: IpAddr, port: u16) -> Cause {
        let found = self.rules.iter().find(|rule| rule.matches(address, port));
        found.map_or(Cause::NoRule, |rule| Cause::Rule(*rule))
    }

    fn any_port(&self, address: IpAddr) -> Cause {
        let found = self.rules.iter().find(|rule| {
            rule.covers(address) && (rule.action == Action::Accept || rule.ports == Ports::ALL)
        });
        found.map_or(Cause::NoRule, |rule| Cause::Rule(*rule))
    }
}
