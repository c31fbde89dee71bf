//! How many new clients may come from one source, so that nobody fills the entry with clients that
//! are none.
//!
//! A source has an account of one point in time: each new client moves it on, and it may be ahead
//! of the clock by a day at most. So a source that was quiet may register as many as the setting
//! says at once, and then as many in each day. The accounts are in memory only: the disk does not
//! say who came from where. A restart forgives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::limits::{NETWORK_SOURCES, SOURCES_MAX};
use crate::sources::source;

/// Milliseconds.
const DAY: u64 = 86_400_000;

/// New clients, by source.
#[derive(Debug)]
pub(crate) struct Newcomers {
    per_day: Option<u32>,
    accounts: Mutex<HashMap<Source, u64>>,
}

/// A source, or an IPv6 network of 48 bits, which has many of them and is had easily.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    One(IpAddr),
    Network(u128),
}

impl Newcomers {
    /// Of each source so many in a day, or as many as it likes.
    pub(crate) fn new(per_day: Option<u32>) -> Self {
        Self { per_day, accounts: Mutex::default() }
    }

    /// Whether another new client may come from `ip`; if so, it is counted. `now` is in seconds
    /// since 1970.
    pub(crate) fn admit(&self, ip: IpAddr, now: u64) -> bool {
        let Some(per_day) = self.per_day else { return true };
        let now = now.saturating_mul(1_000);
        let one = source(ip);
        let mut wanted = vec![(Source::One(one), u64::from(per_day))];
        if let IpAddr::V6(ip) = one {
            let network = ip.to_bits() >> 80;
            wanted.push((Source::Network(network), u64::from(per_day) * NETWORK_SOURCES));
        }
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = |&(source, per_day): &(Source, u64)| {
            let at = accounts.get(&source).copied().unwrap_or(0).max(now) + DAY / per_day;
            (at <= now.saturating_add(DAY)).then_some((source, at))
        };
        let Some(moved) = wanted.iter().map(moved).collect::<Option<Vec<_>>>() else {
            return false;
        };
        for (source, at) in moved {
            if accounts.len() >= SOURCES_MAX && !accounts.contains_key(&source) {
                make_room(&mut accounts, now);
            }
            accounts.insert(source, at);
        }
        true
    }
}

/// Forgets the accounts that are even, or else the one that is nearest to it: whoever has
/// registered a lot stays.
fn make_room(accounts: &mut HashMap<Source, u64>, now: u64) {
    accounts.retain(|_, at| *at > now);
    if accounts.len() >= SOURCES_MAX
        && let Some(least) = accounts.iter().min_by_key(|(_, at)| **at).map(|(it, _)| *it)
    {
        accounts.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: u64 = 1_700_000_000;
    const HOUR: u64 = 3_600;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_has_as_many_at_once_and_then_as_many_a_day() {
        let newcomers = Newcomers::new(Some(24));
        let admitted =
            |from: &str, now| (0..1_000).filter(|_| newcomers.admit(ip(from), now)).count();
        assert_eq!(admitted("192.0.2.1", NOW), 24);
        assert_eq!(admitted("::ffff:192.0.2.1", NOW), 0, "it is the same");
        assert_eq!(admitted("192.0.2.2", NOW), 24, "it is another");
        assert_eq!(admitted("192.0.2.1", NOW + HOUR - 1), 0);
        assert_eq!(admitted("192.0.2.1", NOW + HOUR), 1);
        let days = (0..24 * 30).map(|hour| admitted("192.0.2.1", NOW + (2 + hour) * HOUR));
        assert_eq!(days.sum::<usize>(), 24 * 30, "a month of trying all the time");
        assert_eq!(admitted("192.0.2.1", NOW + 400 * 24 * HOUR), 24, "it does not save up more");
    }

    #[test]
    fn networks_of_ipv6_are_sources_and_those_above_them_too() {
        let newcomers = Newcomers::new(Some(3));
        let admitted = |from: &str| (0..100).filter(|_| newcomers.admit(ip(from), NOW)).count();
        assert_eq!(admitted("2001:db8:0:1::1"), 3);
        assert_eq!(admitted("2001:db8:0:1:ffff::1"), 0);
        let all: usize = (2..1_000).map(|net| admitted(&format!("2001:db8:0:{net:x}::1"))).sum();
        assert_eq!(all as u64, 3 * NETWORK_SOURCES - 3);
        assert_eq!(admitted("2001:db8:1::1"), 3, "the next network");
    }

    #[test]
    fn who_has_registered_much_is_not_pushed_out_by_many_sources() {
        let newcomers = Newcomers::new(Some(10));
        assert_eq!((0..11).filter(|_| newcomers.admit(ip("192.0.2.1"), NOW)).count(), 10);
        for number in 0..SOURCES_MAX as u32 + 1_000 {
            assert!(newcomers.admit(Ipv4Addr::from_bits(number).into(), NOW));
        }
        assert!(!newcomers.admit(ip("192.0.2.1"), NOW));
        assert_eq!(newcomers.accounts.lock().unwrap().len(), SOURCES_MAX);
        assert!(newcomers.admit(ip("203.0.113.1"), NOW + 3 * 24 * HOUR));
        assert_eq!(newcomers.accounts.lock().unwrap().len(), 1, "the even ones are forgotten");
    }

    #[test]
    fn there_need_be_no_limit() {
        let newcomers = Newcomers::new(None);
        assert!((0..10_000).all(|_| newcomers.admit(ip("192.0.2.1"), NOW)));
    }
}
