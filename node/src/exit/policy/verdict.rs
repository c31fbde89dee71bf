//! What a policy says about a target, and why.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::rule::{Action, Rule};
use super::special::Special;

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The first rule that matches.
    Rule(Rule),
    /// No rule matches.
    NoRule,
    /// The address is not one that strangers have to reach.
    Special(Special),
    /// The address is this machine's.
    Own,
    /// There is no such port.
    PortZero,
}

/// What a policy says about a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The target; IPv4 where it was an IPv4 address mapped into IPv6.
    pub target: IpAddr,
    /// The address that decided: the target, or the IPv4 address that it stands for.
    pub judged: IpAddr,
    /// How the target stands for `judged`, where these differ.
    pub form: Option<&'static str>,
    /// The port; 0 for what has no ports.
    pub port: u16,
    /// What decided.
    pub cause: Cause,
}

impl Verdict {
    /// Whether the node connects.
    pub fn accepted(&self) -> bool {
        matches!(self.cause, Cause::Rule(rule) if rule.action == Action::Accept)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.accepted() { "accepted" } else { "refused" };
        write!(f, "{}: {said}, ", SocketAddr::new(self.target, self.port))?;
        if let Some(form) = self.form {
            write!(f, "as {form} for {}, ", self.judged)?;
        }
        match self.cause {
            Cause::Rule(rule) => write!(f, "by line {} of the policy: {rule}", rule.line),
            Cause::NoRule => f.write_str("because no rule of the policy accepts it"),
            Cause::Special(special) => write!(f, "because the address is special: {special}"),
            Cause::Own => f.write_str("because the address is this machine's own"),
            Cause::PortZero => f.write_str("because no service has port 0"),
        }
    }
}
