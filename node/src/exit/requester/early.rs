//! What comes for a connection before the wish to connect or after the end: the mixnet delivers in
//! any order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::desk::Name;
use super::inbound::Inbound;
use super::limits::{EARLY, EARLY_FOR, GONE};

/// Connections that were not wished for yet.
#[derive(Debug, Default)]
pub(super) struct Early {
    held: HashMap<Name, Arc<Inbound>>,
    by_age: VecDeque<(Instant, Name)>,
}

impl Early {
    /// Where to put what comes for `name`; nothing if there is no room.
    pub(super) fn place(
        &mut self,
        name: Name,
        new: impl FnOnce() -> Inbound,
    ) -> Option<&Arc<Inbound>> {
        if !self.held.contains_key(&name) {
            if self.held.len() >= EARLY {
                return None;
            }
            self.by_age.push_back((Instant::now(), name));
            self.held.insert(name, Arc::new(new()));
        }
        self.held.get(&name)
    }

    /// What has come for `name`, which is wished for now.
    pub(super) fn take(&mut self, name: &Name) -> Option<Arc<Inbound>> {
        let inbound = self.held.remove(name)?;
        self.by_age.retain(|(_, other)| other != name);
        Some(inbound)
    }

    /// Forgets what has waited for too long; how many there were.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Some(&(since, name)) = self.by_age.front()
            && now.saturating_duration_since(since) >= EARLY_FOR
        {
            self.by_age.pop_front();
            self.held.remove(&name);
            count += 1;
        }
        count
    }
}

/// Names of connections that have ended.
#[derive(Debug, Default)]
pub(super) struct Gone {
    names: HashSet<Name>,
    by_age: VecDeque<Name>,
}

impl Gone {
    pub(super) fn note(&mut self, name: Name) {
        if self.names.insert(name) {
            self.by_age.push_back(name);
        }
        if self.by_age.len() > GONE
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    pub(super) fn has(&self, name: &Name) -> bool {
        self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::inbound::Budget;
    use super::*;

    #[tokio::test]
    async fn what_comes_early_waits_and_has_a_bound() {
        let budget = Budget::new(1 << 20);
        let (mut early, name) = (Early::default(), |number| Name { sender: None, number });
        for number in 0..EARLY as u64 {
            assert!(early.place(name(number), || Inbound::new(&budget)).is_some());
        }
        assert!(early.place(name(7), || panic!("it is there")).is_some());
        assert!(early.place(name(u64::MAX), || Inbound::new(&budget)).is_none());
        assert!(early.take(&name(7)).is_some() && early.take(&name(7)).is_none());
        assert_eq!(early.expire(Instant::now()), 0);
        assert_eq!(early.expire(Instant::now() + EARLY_FOR), EARLY - 1);
        assert!(early.held.is_empty() && early.by_age.is_empty());
    }

    #[test]
    fn names_are_forgotten_in_order() {
        let (mut gone, name) = (Gone::default(), |number| Name { sender: None, number });
        (0..=GONE as u64).for_each(|number| gone.note(name(number)));
        gone.note(name(3));
        assert!(!gone.has(&name(0)) && gone.has(&name(1)) && gone.has(&name(GONE as u64)));
        assert_eq!(gone.names.len(), gone.by_age.len());
    }
}
