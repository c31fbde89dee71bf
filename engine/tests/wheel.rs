//! The timing wheel against a sorted map.

use std::collections::{BTreeMap, BTreeSet};

use phix_engine::limits::TICK;
use phix_engine::pool::{Pool, Slot};
use phix_engine::units::{Span, Time};
use phix_engine::wheel::Wheel;
use phix_engine::wire::geometry::PacketSize;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use rand::SeedableRng;
use rand::rngs::SmallRng;

const T: u64 = TICK.as_nanos();
const SLOTS: usize = 256;
/// How far ahead the wheel reaches, in ticks.
const RANGE: u64 = 1024 * 255;

/// One thing done to the wheel. Times are relative to the present, in nanoseconds.
#[derive(Clone, Debug)]
enum Step {
    /// A packet comes in with this deadline, which may be past.
    Insert(i64),
    /// Time passes, and the wheel is turned whenever it asks for it.
    Pass(u64),
    /// Time passes unseen; then one turn with a limit.
    Jump(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tick = T as i64;
    let deadline = prop_oneof![
        1 => -100 * tick..=0,
        3 => 0..3 * tick,
        4 => 0..1100 * tick,
        2 => 0..10_000_000_000_i64,
        1 => (0..2048_i64).prop_map(move |ticks| ticks * tick),
    ];
    let pass = prop_oneof![
        3 => 0..2 * T,
        3 => 0..500 * T,
        1 => 0..3000 * T,
        1 => 0..11_000_000_000_u64,
    ];
    let limit = prop_oneof![0_usize..8, Just(usize::MAX)];
    vec(
        prop_oneof![
            6 => deadline.prop_map(Step::Insert),
            1 => pass.clone().prop_map(Step::Pass),
            1 => (pass, limit).prop_map(|(pass, limit)| Step::Jump(pass, limit)),
        ],
        1..200,
    )
}

/// The readable twin: due ticks, each with its slots.
#[derive(Default)]
struct Model {
    now: u64,
    due: BTreeMap<u64, BTreeSet<usize>>,
    deadlines: BTreeMap<usize, (u64, u64)>,
}

impl Model {
    fn insert(&mut self, index: usize, deadline: Time) {
        let deadline = deadline.as_nanos().min((self.now + RANGE) * T);
        let tick = deadline.div_ceil(T).max(self.now);
        assert!(self.due.entry(tick).or_default().insert(index));
        assert!(self.deadlines.insert(index, (deadline, tick)).is_none());
    }

    /// Checks that `index` may be the next to leave in a turn at `target`, and removes it.
    fn leave(&mut self, index: usize, deadline: Time, target: u64) {
        let (expected, tick) = self.deadlines.remove(&index).expect("it was in the wheel");
        assert_eq!(deadline.as_nanos(), expected);
        let (&first, slots) = self.due.iter_mut().next().expect("something is due");
        assert!(tick == first && first <= target, "out of order or early");
        assert!(slots.remove(&index));
        if slots.is_empty() {
            self.due.remove(&first);
        }
        self.now = first;
    }

    /// Checks that a turn at `target` which let `out` of `limit` go could not let more go.
    fn end_turn(&mut self, target: u64, out: usize, limit: usize) {
        if self.due.keys().next().is_none_or(|&first| first > target) {
            self.now = self.now.max(target);
        } else {
            assert_eq!(out, limit, "something stayed behind");
        }
    }
}

struct World {
    pool: Pool,
    wheel: Wheel,
    model: Model,
    now: Time,
    rng: SmallRng,
}

impl World {
    fn new(start: u64) -> Self {
        let pool = Pool::new([SLOTS, 0, 0, 0, 0]);
        let now = Time::from_nanos(start);
        let wheel = Wheel::new(pool.capacity(), now);
        let model = Model { now: start / T, ..Model::default() };
        Self { pool, wheel, model, now, rng: SmallRng::seed_from_u64(start) }
    }

    /// Turns once and gives the longest lateness of a slot whose deadline was ahead when it came.
    fn turn(&mut self, limit: usize) -> Span {
        let Self { pool, wheel, model, now, rng } = self;
        let (mut worst, mut count) = (Span::ZERO, 0);
        let target = now.as_nanos() / T;
        let out = wheel.turn(*now, limit, rng, &mut |slot: Slot, deadline| {
            assert!(deadline <= *now, "never early");
            worst = worst.max(now.since(deadline));
            count += 1;
            model.leave(slot.index(), deadline, target);
            pool.give_back(slot);
        });
        assert_eq!(out, count);
        model.end_turn(target, out, limit);
        assert_eq!(wheel.len(), model.deadlines.len());
        assert_eq!(wheel.is_empty(), model.deadlines.is_empty());
        worst
    }

    /// The wheel must ask for a turn no later than the model's first due tick.
    fn check_next(&self) {
        match (self.wheel.next_deadline(), self.model.due.keys().next()) {
            (None, None) => {}
            (Some(next), Some(&first)) => assert!(next.as_nanos() <= first * T),
            (next, first) => panic!("{next:?} against {first:?}"),
        }
    }

    fn pass(&mut self, span: u64) {
        let end = self.now.after(Span::from_nanos(span));
        self.turn(usize::MAX);
        while let Some(next) = self.wheel.next_deadline().filter(|&next| next <= end) {
            assert!(next > self.now, "a full turn leaves nothing for the present");
            self.now = next;
            let worst = self.turn(usize::MAX);
            assert!(worst < TICK, "late by {worst:?}");
        }
        self.now = end;
        assert!(self.turn(usize::MAX) < TICK);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Insert(ahead) => {
                let deadline = Time::from_nanos(self.now.as_nanos().saturating_add_signed(ahead));
                if let Some(slot) = self.pool.take(PacketSize::Ack) {
                    self.model.insert(slot.index(), deadline);
                    self.wheel.insert(slot, deadline);
                }
            }
            Step::Pass(span) => self.pass(span),
            Step::Jump(span, limit) => {
                self.now = self.now.after(Span::from_nanos(span));
                self.turn(limit);
            }
        }
        self.check_next();
    }
}

proptest! {
    #![proptest_config(Config {
        cases: 512,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn the_wheel_is_a_sorted_map(start in 0..1_u64 << 45, steps in steps()) {
        let mut world = World::new(start);
        steps.iter().for_each(|step| world.step(step));
        world.pass(11_000_000_000);
        prop_assert!(world.wheel.is_empty());
        prop_assert_eq!(world.pool.free(), SLOTS);
    }
}
