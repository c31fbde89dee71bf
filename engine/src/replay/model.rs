//! The orders in which threads can meet in a few words, tried one by one by a model checker: all
//! those in which threads are interrupted [`INTERRUPTIONS`] times, and every value that a relaxed
//! load may give.

use alloc::vec::Vec;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;

use super::Verdict;
use super::word::{self, PLACES, Shared};

/// Times that a thread loses its turn before it is done. A lost update takes one.
const INTERRUPTIONS: usize = 2;

impl Shared for AtomicU64 {
    fn read(&self) -> u64 {
        self.load(Relaxed)
    }

    fn change(&self, read: u64, wanted: u64) -> Result<u64, u64> {
        self.compare_exchange(read, wanted, Relaxed, Relaxed)
    }
}

/// Lets one thread for each of `orders` insert its fingerprints, in its order, into words that hold
/// `held` others already; asserts that each fingerprint was new to one thread, or found no place.
fn race(held: usize, words: usize, orders: &'static [&'static [u64]]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(INTERRUPTIONS);
    model.check(move || {
        let shared: Arc<Vec<AtomicU64>> = Arc::new((0..words).map(|_| AtomicU64::new(0)).collect());
        for other in 0..held {
            assert_eq!(word::settle(shared.iter(), 1000 + other as u64), Verdict::New);
        }
        let threads: Vec<_> = orders
            .iter()
            .map(|&order| {
                let shared = Arc::clone(&shared);
                let settle = move |&print: &u64| (print, word::settle(shared.iter(), print));
                thread::spawn(move || order.iter().map(settle).collect::<Vec<_>>())
            })
            .collect();
        let verdicts: Vec<(u64, Verdict)> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let new = |print| verdicts.iter().filter(|&&said| said == (print, Verdict::New)).count();
        for &(print, verdict) in &verdicts {
            let expected = usize::from(verdict != Verdict::Full);
            assert_eq!(new(print), expected, "{print} of {verdicts:?}");
        }
        let count: usize = shared.iter().map(|word| word::count(word.read())).sum();
        let all = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::New).count();
        assert_eq!(count, held + all, "every place was given away once");
        assert!(count <= words * PLACES);
    });
}

#[test]
fn of_three_threads_one_inserts() {
    race(0, 1, &[&[7], &[7], &[7]]);
    race(2, 2, &[&[7], &[7], &[7]]);
}

#[test]
fn orders_that_cross_between_words() {
    race(2, 2, &[&[7, 8], &[8, 7]]);
    race(2, 2, &[&[7, 8], &[8, 9], &[9]]);
}

#[test]
fn the_last_places_are_given_once() {
    race(5, 2, &[&[7, 8], &[8, 7]]);
}
