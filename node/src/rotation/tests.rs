//! The plan in virtual time, against a world that does what it says.

use super::plan::{Action, Schedule, Serving, State, plan};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SCHEDULE: Schedule =
    Schedule { length: Duration::from_secs(86_400), overlap: Duration::from_secs(3_600) };
/// The rotation in which the tests begin.
const FIRST: u32 = 20_779;

/// A time in the rotation with this number.
fn at(number: u32, seconds: u64) -> Duration {
    SCHEDULE.length * number + SECOND * seconds as u32
}

/// A node that does what it is told, with filters that take a while to make.
#[derive(Default)]
struct World {
    state: State,
    done: Vec<Action>,
    destroyed: Vec<u32>,
}

impl World {
    fn started(now: Duration) -> Self {
        let mut world = Self::default();
        world.settle(now);
        world
    }

    /// Asks once and does what is said; a filter stays in the making.
    fn tick(&mut self, now: Duration) {
        let actions = plan(SCHEDULE, now, &self.state);
        for &action in &actions {
            let state = &mut self.state;
            match action {
                Action::Make(key) => {
                    assert!(state.keys.insert(key), "a key is made once");
                    assert!(!self.destroyed.contains(&key), "and never again");
                }
                Action::Open(key) => {
                    assert!(state.keys.contains(&key), "a filter belongs to a key");
                    assert_eq!(state.opening.replace(key), None, "one at a time");
                }
                Action::Serve(serving) => {
                    for key in [Some(serving.primary), serving.secondary].into_iter().flatten() {
                        assert!(state.open.contains(&key), "{key} is served without a filter");
                    }
                    state.serving = Some(serving);
                }
                Action::Close(key) => assert!(state.open.remove(&key)),
                Action::Retire(key) => {
                    assert!(state.keys.remove(&key) | state.open.remove(&key));
                    self.destroyed.push(key);
                }
            }
            if let Some(serving) = state.serving {
                assert!(state.open.contains(&serving.primary), "{action:?} took the key in use");
            }
        }
        self.done.extend(actions);
    }

    fn opened(&mut self) {
        let key = self.state.opening.take().expect("a filter is being made");
        self.state.open.insert(key);
    }

    /// Ticks until there is nothing left to do.
    fn settle(&mut self, now: Duration) {
        for _ in 0..20 {
            self.tick(now);
            if self.state.opening.is_some() {
                self.opened();
            }
        }
        assert_eq!(plan(SCHEDULE, now, &self.state), [], "{:?}", self.state);
    }

    fn serving(&self) -> (u32, Option<u32>) {
        let Serving { primary, secondary } = self.state.serving.expect("some key is served");
        (primary, secondary)
    }

    fn keys(&self) -> Vec<u32> {
        self.state.keys.iter().copied().collect()
    }

    fn open(&self) -> Vec<u32> {
        self.state.open.iter().copied().collect()
    }
}

#[test]
fn a_new_node_makes_this_key_and_the_next() {
    let world = World::started(at(FIRST, 40_000));
    assert_eq!(world.serving(), (FIRST, None));
    assert_eq!((world.keys(), world.open()), (vec![FIRST, FIRST + 1], vec![FIRST]));
    // One that starts within an overlap has no key of before to serve.
    assert_eq!(World::started(at(FIRST, 10)).serving(), (FIRST, None));
}

#[test]
fn a_change_of_keys_second_by_second() {
    let mut world = World::started(at(FIRST, 40_000));
    let (one, two) = (FIRST, FIRST + 1);
    for second in 40_000..86_400 + 10_000 {
        let now = at(FIRST, second);
        world.settle(now);
        let (serving, open) = match second {
            ..81_900 => ((one, None), vec![one]),
            // A lead of 900 s before the overlap, in which the filter is made.
            81_900..82_800 => ((one, None), vec![one, two]),
            82_800..86_400 => ((one, Some(two)), vec![one, two]),
            86_400..90_000 => ((two, Some(one)), vec![one, two]),
            _ => ((two, None), vec![two]),
        };
        assert_eq!((world.serving(), world.open()), (serving, open), "second {second}");
        let old = second < 90_000;
        assert_eq!(world.keys().contains(&one), old, "second {second}");
        assert_eq!(world.keys().contains(&(FIRST + 2)), second >= 86_400, "second {second}");
    }
    assert_eq!(world.destroyed, [one]);
}

#[test]
fn exactly_at_the_change() {
    let mut world = World::started(at(FIRST, 86_399));
    assert_eq!(world.serving(), (FIRST, Some(FIRST + 1)));
    world.tick(SCHEDULE.length * (FIRST + 1) - Duration::from_nanos(1));
    assert_eq!(world.serving(), (FIRST, Some(FIRST + 1)));
    world.tick(SCHEDULE.length * (FIRST + 1));
    assert_eq!(world.serving(), (FIRST + 1, Some(FIRST)), "one step, nothing to wait for");
}

#[test]
fn a_restart_in_the_overlap_serves_both_again() {
    for second in [0, 1, 1_800, 3_599] {
        let mut world = World::default();
        world.state.keys.extend([FIRST, FIRST + 1]);
        world.settle(at(FIRST + 1, second));
        assert_eq!(world.serving(), (FIRST + 1, Some(FIRST)), "second {second}");
    }
    let mut world = World::default();
    world.state.keys.extend([FIRST, FIRST + 1]);
    world.settle(at(FIRST + 1, 3_600));
    assert_eq!((world.serving(), world.destroyed.clone()), ((FIRST + 1, None), vec![FIRST]));
}

#[test]
fn a_clock_that_jumps_back_finds_its_keys() {
    let mut world = World::started(at(FIRST, 83_000));
    world.settle(at(FIRST + 1, 100));
    // Back across the change, and on again.
    world.settle(at(FIRST, 86_390));
    assert_eq!(world.serving(), (FIRST, Some(FIRST + 1)));
    world.settle(at(FIRST, 40_000));
    assert_eq!((world.serving(), world.open()), ((FIRST, None), vec![FIRST]));
    assert!(world.keys().contains(&(FIRST + 1)), "closed, but not destroyed");
    world.settle(at(FIRST + 1, 100));
    assert_eq!(world.serving(), (FIRST + 1, Some(FIRST)));
    assert!(world.destroyed.is_empty());
}

#[test]
fn a_clock_that_jumps_back_behind_all_keys_gets_new_ones() {
    let mut world = World::started(at(FIRST, 40_000));
    world.settle(at(FIRST - 5, 40_000));
    assert_eq!(world.serving(), (FIRST - 5, None));
    assert_eq!(world.keys(), [FIRST - 5, FIRST - 4, FIRST, FIRST + 1], "later keys are kept");
}

#[test]
fn sleep_over_several_rotations() {
    let mut world = World::started(at(FIRST, 40_000));
    let now = at(FIRST + 7, 20);
    world.tick(now);
    assert_eq!(world.serving(), (FIRST, None), "an old key rather than none");
    assert!(!world.destroyed.contains(&FIRST));
    world.opened();
    world.settle(now);
    assert_eq!(world.serving(), (FIRST + 7, None));
    assert_eq!(world.keys(), [FIRST + 7, FIRST + 8]);
    assert_eq!(world.destroyed, [FIRST + 1, FIRST]);
}

#[test]
fn a_slow_filter_delays_its_key_and_nothing_else() {
    let mut world = World::started(at(FIRST, 40_000));
    for second in [81_900, 82_800, 86_399] {
        world.tick(at(FIRST, second));
        assert_eq!(world.serving(), (FIRST, None));
    }
    world.tick(at(FIRST + 1, 5_000));
    assert_eq!(world.serving(), (FIRST, None), "beyond its time, until the next one is ready");
    world.opened();
    world.settle(at(FIRST + 1, 5_001));
    assert_eq!((world.serving(), world.destroyed.clone()), ((FIRST + 1, None), vec![FIRST]));
}

#[test]
fn a_lost_key_is_replaced() {
    let mut world = World::started(at(FIRST, 40_000));
    world.state.keys.remove(&(FIRST + 1));
    world.tick(at(FIRST, 40_001));
    assert_eq!(*world.done.last().unwrap(), Action::Make(FIRST + 1));
    assert_eq!(world.serving(), (FIRST, None));
}
