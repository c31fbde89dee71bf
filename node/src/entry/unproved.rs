//! Connections that have not shown yet who they are: how many there may be, by source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::limits::{UNPROVED_MAX, UNPROVED_PER_SOURCE};
use crate::sources::source;

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Unproved(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    all: usize,
    sources: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    source: IpAddr,
    of: Arc<Unproved>,
}

impl Unproved {
    /// A place for a connection from `ip`, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let source = source(ip);
        let mut counted = self.lock();
        let of_source = counted.sources.get(&source).copied().unwrap_or(0);
        if counted.all >= UNPROVED_MAX || of_source >= UNPROVED_PER_SOURCE {
            return None;
        }
        counted.all += 1;
        counted.sources.insert(source, of_source + 1);
        Some(Place { source, of: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counted = self.of.lock();
        counted.all -= 1;
        let left = counted.sources.get(&self.source).copied().unwrap_or(1) - 1;
        if left == 0 {
            counted.sources.remove(&self.source);
        } else {
            counted.sources.insert(self.source, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_cannot_take_all_places_and_all_come_back() {
        let unproved = Arc::new(Unproved::default());
        let from = |ip: &str| unproved.enter(ip.parse().unwrap());
        let mine: Vec<_> = (0..UNPROVED_PER_SOURCE).map(|_| from("1.1.1.1").unwrap()).collect();
        assert!(from("1.1.1.1").is_none() && from("::ffff:1.1.1.1").is_none());
        assert!(from("1.1.1.2").is_some());
        let net = |it: usize| from(&format!("2001:db8::{:x}", it + 1));
        let theirs: Vec<_> = (0..UNPROVED_PER_SOURCE).map(|it| net(it).unwrap()).collect();
        assert!(from("2001:db8::ffff").is_none() && from("2001:db8:0:1::1").is_some());
        drop((mine, theirs));
        assert!(from("1.1.1.1").is_some());
        assert!(unproved.lock().sources.is_empty() && unproved.lock().all == 0);
    }

    #[test]
    fn all_sources_together_have_a_bound() {
        let unproved = Arc::new(Unproved::default());
        let enter = |it: usize| unproved.enter(std::net::Ipv4Addr::from_bits(it as u32).into());
        let places: Vec<_> = (0..UNPROVED_MAX).map(|it| enter(it).unwrap()).collect();
        assert!(enter(UNPROVED_MAX).is_none());
        drop(places);
        assert!(enter(0).is_some());
    }
}
