//! When keys change: one function from a time and what there is to what is to be done.
//!
//! Rotations are counted from the Unix epoch, so that all nodes agree on their numbers without a
//! word. The key of a rotation is made in the rotation before, so that a directory can announce it;
//! it is served beside the present one from one overlap before its rotation begins, and until one
//! overlap after it ends. Then it is destroyed, and with it the memory of what passed under it.

use std::collections::BTreeSet;
use std::time::Duration;

/// The lengths that all nodes of a network agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From one change of keys to the next.
    pub length: Duration,
    /// How long before and after the change both keys are served.
    pub overlap: Duration,
}

impl Schedule {
    /// The rotation at `now`, a time since the Unix epoch.
    pub const fn number(&self, now: Duration) -> u32 {
        // 32 bits last for 136 years of rotations of one second.
        (now.as_nanos() / self.length.as_nanos()) as u32
    }

    /// Time since the present rotation began.
    const fn since(&self, now: Duration) -> Duration {
        Duration::from_nanos((now.as_nanos() % self.length.as_nanos()) as u64)
    }

    /// How long before a key is served its filter is made.
    const fn lead(&self) -> Duration {
        Duration::from_nanos((self.overlap.as_nanos() / 4) as u64)
    }
}

/// The keys that are served, by rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serving {
    /// The key of the present rotation.
    pub primary: u32,
    /// That of the one before or after.
    pub secondary: Option<u32>,
}

impl Serving {
    fn has(&self, number: u32) -> bool {
        self.primary == number || self.secondary == Some(number)
    }
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Keys on disk.
    pub keys: BTreeSet<u32>,
    /// Keys with a filter in memory.
    pub open: BTreeSet<u32>,
    /// The key whose filter is being made.
    pub opening: Option<u32>,
    /// The keys that packets are opened with.
    pub serving: Option<Serving>,
}

/// A thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Make a key and write it to disk.
    Make(u32),
    /// Make the filter of a key in the background, with what is on disk of it.
    Open(u32),
    /// Open packets with these keys from now on.
    Serve(Serving),
    /// Take a filter out of memory; key and journal stay. For clocks that were put back.
    Close(u32),
    /// Destroy a key, its filter and its journal.
    Retire(u32),
}

/// What is to be done at `now`, in this order. Doing it, and asking again, leads to a state in
/// which there is nothing to do, or a filter is being made.
pub(super) fn plan(schedule: Schedule, now: Duration, state: &State) -> Vec<Action> {
    let (number, since) = (schedule.number(now), schedule.since(now));
    let until = schedule.length.saturating_sub(since);
    let (before, after) = (number.checked_sub(1), number + 1);
    let late = before.filter(|_| since < schedule.overlap);
    let early = (until <= schedule.overlap).then_some(after);
    let soon = (until <= schedule.overlap + schedule.lead()).then_some(after);

    let mut actions = Vec::new();
    let missing = [number, after].into_iter().filter(|key| !state.keys.contains(key));
    actions.extend(missing.map(Action::Make));

    // A key that is gone is not made again only to be served late.
    let late = late.filter(|key| state.keys.contains(key) || state.open.contains(key));
    let wanted: Vec<u32> = [Some(number), late, soon].into_iter().flatten().collect();
    let unopened = wanted.iter().find(|key| !state.open.contains(key));
    actions.extend(unopened.filter(|_| state.opening.is_none()).copied().map(Action::Open));

    let ready = |key: &u32| state.open.contains(key);
    let secondary = late.filter(ready).or(early.filter(ready));
    let serving = if ready(&number) {
        Some(Serving { primary: number, secondary })
    } else {
        // Better an old key than none, until the new one is there.
        state.serving
    };
    if serving != state.serving {
        actions.extend(serving.map(Action::Serve));
    }

    // What was served a moment ago may be in use for as long as a turn takes: it goes next time.
    let served = |key: u32| [serving, state.serving].into_iter().flatten().any(|all| all.has(key));
    let kept = |key: u32| key >= number || late == Some(key);
    for &key in state.keys.union(&state.open).filter(|&&key| !served(key)) {
        if !kept(key) {
            actions.push(Action::Retire(key));
        } else if state.open.contains(&key) && !wanted.contains(&key) {
            actions.push(Action::Close(key));
        }
    }
    actions
}
