//! Names of targets: from a name to addresses that the policy accepts.
//!
//! Whoever connects gets addresses here and never hands a name to anything else. So the address
//! that was judged is the address that is connected to, and a name whose answer changes between the
//! two (DNS rebinding) gains nothing.
//!
//! Names are absolute: what the machine would append to short names is not for strangers. The hosts
//! file counts where the nameservers are the machine's own, as it does for all programs there, and
//! not where others are set.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::policy::{Policy, Verdict};
use crate::fault::Fault;
use crate::settings::Value;

/// How long an answer may take, waiting for a turn included.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long one nameserver may take before the next is asked.
const SERVER_PATIENCE: Duration = Duration::from_secs(3);
/// Look-ups that are under way at a time.
const UNDER_WAY_MAX: usize = 256;
/// Answers that are remembered.
const REMEMBERED_MAX: u64 = 8192;
/// For how long an answer is remembered at most, whatever it says itself.
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// The same for answers that there is no such name.
const ABSENCE_REMEMBERED_FOR: Duration = Duration::from_secs(30);
/// Addresses of one name that are looked at.
const LOOKED_AT_MAX: usize = 32;
/// Addresses of one name that are given back.
const ADDRESSES_MAX: usize = 8;
/// Characters of a name (RFC 1035, section 2.3.4, as text).
const NAME_MAX: usize = 253;
/// Nameservers that a setting may name.
const NAMESERVERS_MAX: usize = 8;

/// Nameservers, such as `9.9.9.9` or `[2620:fe::fe]:53`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameservers(pub Vec<SocketAddr>);

impl Value for Nameservers {
    fn read(text: &str) -> Option<Self> {
        let one = |text: &str| {
            let text = text.trim();
            let plain = || text.parse().ok().map(|address: IpAddr| SocketAddr::new(address, 53));
            text.parse().ok().or_else(plain)
        };
        let all: Vec<SocketAddr> = text.split(',').map(one).collect::<Option<_>>()?;
        (all.len() <= NAMESERVERS_MAX).then_some(Self(all))
    }

    fn allowed() -> String {
        "IP addresses with commas between them, each with or without a port, such as \
         9.9.9.9,[2620:fe::fe]:53"
            .into()
    }
}

/// Why there is no address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// The text is neither an address nor a name that could exist.
    NotAName,
    /// There is no such name.
    NoSuchName,
    /// There is such a name, and it has no address.
    NoAddress,
    /// No nameserver gave an answer in time, or too many look-ups are under way.
    TimedOut,
    /// The nameservers do not answer as they should.
    Failed(String),
    /// All addresses are refused; the verdict on the first.
    Refused(Verdict),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAName => f.write_str("this is neither an IP address nor a name"),
            Self::NoSuchName => f.write_str("there is no such name"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::TimedOut => write!(f, "no nameserver answered in {} s", PATIENCE.as_secs()),
            Self::Failed(why) => write!(f, "the name cannot be looked up ({why})"),
            Self::Refused(verdict) => verdict.fmt(f),
        }
    }
}

impl std::error::Error for ResolveError {}

/// Looks names up. Clones share cache and bounds.
#[derive(Clone)]
pub struct Resolver {
    names: TokioResolver,
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// One that asks `nameservers`, or those that /etc/resolv.conf names if there are none given.
    ///
    /// # Errors
    /// A sentence if /etc/resolv.conf is needed and names no nameserver.
    pub fn new(nameservers: Option<&Nameservers>) -> Result<Self, Fault> {
        let runtime = TokioRuntimeProvider::default();
        let (mut builder, hosts) = match nameservers {
            Some(Nameservers(servers)) => {
                let servers = servers.iter().map(server).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                (TokioResolver::builder_with_config(config, runtime), ResolveHosts::Never)
            }
            None => {
                let builder = TokioResolver::builder(runtime).map_err(|error| {
                    Fault::refused(format!(
                        "/etc/resolv.conf does not say how to look up names ({error}): put it \
                         right or set exit-nameservers."
                    ))
                })?;
                (builder, ResolveHosts::Always)
            }
        };
        let options = builder.options_mut();
        options.use_hosts_file = hosts;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.timeout = SERVER_PATIENCE;
        options.attempts = 2;
        options.edns0 = true;
        options.cache_size = REMEMBERED_MAX;
        options.positive_max_ttl = Some(REMEMBERED_FOR);
        options.negative_max_ttl = Some(ABSENCE_REMEMBERED_FOR);
        options.max_active_requests = UNDER_WAY_MAX;
        let names = builder.build().map_err(|error| {
            Fault::refused(format!("names cannot be looked up ({error}): set exit-nameservers."))
        })?;
        Ok(Self { names, turns: Arc::new(Semaphore::new(UNDER_WAY_MAX)) })
    }

    /// The addresses of `host`, a name or an address, that `policy` accepts for `port`: at least
    /// one. Connect to these and no others.
    ///
    /// # Errors
    /// If there is none.
    pub async fn targets(
        &self,
        policy: &Policy,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let verdicts = self.verdicts(policy, host, port).await?;
        let accepted = verdicts.iter().filter(|verdict| verdict.accepted());
        let accepted: Vec<SocketAddr> =
            accepted.take(ADDRESSES_MAX).map(|one| SocketAddr::new(one.target, port)).collect();
        match (accepted.is_empty(), verdicts.first()) {
            (false, _) => Ok(accepted),
            (true, Some(first)) => Err(ResolveError::Refused(*first)),
            (true, None) => Err(ResolveError::NoAddress),
        }
    }

    /// What `policy` says about each address of `host`.
    ///
    /// # Errors
    /// If `host` has no addresses.
    pub async fn verdicts(
        &self,
        policy: &Policy,
        host: &str,
        port: u16,
    ) -> Result<Vec<Verdict>, ResolveError> {
        let addresses = self.addresses(host).await?;
        Ok(addresses.into_iter().map(|address| policy.verdict(address, port)).collect())
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let name = absolute(host).ok_or(ResolveError::NotAName)?;
        let asked = timeout(PATIENCE, async {
            let _turn = self.turns.acquire().await.expect("it is never closed");
            self.names.lookup_ip(name).await
        });
        match asked.await.map_err(|_| ResolveError::TimedOut)? {
            Ok(found) => Ok(found.iter().take(LOOKED_AT_MAX).collect()),
            Err(error) if error.is_nx_domain() => Err(ResolveError::NoSuchName),
            Err(error) if error.is_no_records_found() => Err(ResolveError::NoAddress),
            Err(error) => Err(ResolveError::Failed(error.to_string())),
        }
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// An IP address, with or without the brackets of IPv6.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map_or_else(|| host.parse().ok(), |v6| v6.parse().ok().map(IpAddr::V6))
}

/// `host` as an absolute name, if it could be one. What ends in a number is none: other programs
/// take 127.1 or 0x7f000001 for addresses.
fn absolute(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let sound = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.starts_with("0x") || last.starts_with("0X");
    let numeric = numeric || last.bytes().all(|byte| byte.is_ascii_digit());
    let sound = name.len() <= NAME_MAX && name.split('.').all(sound) && !numeric;
    sound.then(|| format!("{}.", name.to_ascii_lowercase()))
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
