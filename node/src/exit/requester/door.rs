//! The gate of a node: its resolver and its policy.

use std::sync::Arc;

use phix_proto::requester::{Answer, ExitRule, Host, Query, Target};
use tokio::sync::watch;

use super::gate::{Closed, Gate, Verdict};
use crate::exit::policy::{Action, Addresses, PRIVATE, Policy, PolicySource, Rule};
use crate::exit::resolve::{ResolveError, Resolver};

/// Looks names up and lets through what the policy of the moment accepts.
#[derive(Debug)]
pub struct Door {
    policy: watch::Receiver<Arc<Policy>>,
    resolver: Resolver,
    source: PolicySource,
}

impl Door {
    /// Rules from `source`, which `policy` follows.
    pub const fn new(
        policy: watch::Receiver<Arc<Policy>>,
        resolver: Resolver,
        source: PolicySource,
    ) -> Self {
        Self { policy, resolver, source }
    }
}

impl Gate for Door {
    fn addresses<'a>(&'a self, target: &'a Target) -> Verdict<'a> {
        let policy = Arc::clone(&self.policy.borrow());
        let host = match &target.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        Box::pin(async move {
            let found = self.resolver.targets(&policy, &host, target.port).await;
            found.map_err(|error| match error {
                ResolveError::Refused(_) => Closed::Forbidden,
                _ => Closed::Unresolved,
            })
        })
    }

    fn answer(&self, query: Query) -> Answer {
        let open = self.source == PolicySource::Open;
        match query {
            Query::OpenProxy => Answer::OpenProxy(open),
            Query::Description => {
                Answer::Description(format!("phix-node/{}", env!("CARGO_PKG_VERSION")))
            }
            Query::ExitPolicy => {
                let upstream = match &self.source {
                    PolicySource::Url(url) => url.to_string(),
                    _ => String::new(),
                };
                let rules = self.policy.borrow().rules().iter().flat_map(told).collect();
                Answer::ExitPolicy { enabled: !open, upstream, policy: Some(rules) }
            }
        }
    }
}

/// A rule in the words that stock clients know: `private` is none of them.
fn told(rule: &Rule) -> Vec<ExitRule> {
    let all = match rule.addresses {
        Addresses::Private => PRIVATE.map(Addresses::Net).to_vec(),
        other => vec![other],
    };
    let one = |addresses: Addresses| ExitRule {
        accept: rule.action == Action::Accept,
        only_v6: rule.only_v6,
        addresses: addresses.to_string(),
        ports: (rule.ports.first, rule.ports.last),
    };
    all.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_in_words_that_others_know() {
        let text = "reject private:*\naccept6 *:443\naccept 192.0.2.0/24:80-90\n";
        let policy = Policy::parse(text).unwrap();
        let rules: Vec<_> = policy.rules().iter().flat_map(told).collect();
        let rule = |[accept, only_v6]: [bool; 2], addresses: &str, ports| {
            let addresses = addresses.to_owned();
            ExitRule { accept, only_v6, addresses, ports }
        };
        assert_eq!(rules[0], rule([false, false], "0.0.0.0/8", (1, 65535)));
        let last =
            [rule([true, true], "*", (443, 443)), rule([true, false], "192.0.2.0/24", (80, 90))];
        assert_eq!(rules[PRIVATE.len()..], last);
    }
}
