//! How often one source may register.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::sources;

/// Registrations of one source in a minute: enough for nodes that share an address.
const PER_MINUTE: u32 = 120;
/// Sources that are counted at a time; with more, all may go on until the minute is over.
const SOURCES_MAX: usize = 65_536;

/// Registrations of the present minute by source.
#[derive(Debug, Default)]
pub(super) struct Hurry(Mutex<(u64, HashMap<IpAddr, u32>)>);

impl Hurry {
    /// Counts one more of `source` at `now`; says whether it may be.
    pub(super) fn allows(&self, source: IpAddr, now: Duration) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (minute, sources) = &mut *counted;
        if *minute != now.as_secs() / 60 {
            *minute = now.as_secs() / 60;
            sources.clear();
        }
        let source = sources::source(source);
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            return true;
        }
        let count = sources.entry(source).or_default();
        *count = count.saturating_add(1);
        *count <= PER_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_may_register_so_often_in_a_minute() {
        let hurry = Hurry::default();
        let [one, other] = ["192.0.2.1", "::ffff:192.0.2.2"].map(|text| text.parse().unwrap());
        let at = Duration::from_secs;
        let allowed = (0..200).filter(|_| hurry.allows(one, at(600))).count();
        assert_eq!(allowed, PER_MINUTE as usize);
        assert!(hurry.allows(other, at(601)) && !hurry.allows(one, at(659)));
        assert!(hurry.allows(one, at(660)));
        let subscriber = |number: u128| IpAddr::V6((0x2001_0db8_u128 << 96 | number).into());
        let allowed = (0..200).filter(|&it| hurry.allows(subscriber(it), at(720))).count();
        assert_eq!(allowed, PER_MINUTE as usize, "whichever of its addresses it uses");
    }
}
