//! One filter, many threads: a tag is new to exactly one of them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use phix_engine::replay::{ReplayFilter, Verdict};

const THREADS: u64 = 4;

fn tag(round: u64, number: u64) -> [u8; 32] {
    let mut tag = [0; 32];
    tag[..8].copy_from_slice(&round.to_le_bytes());
    tag[8..16].copy_from_slice(&number.to_le_bytes());
    tag
}

/// Lets every thread ask for all of `tags`, each in an order of its own, and counts per tag how
/// often it was new and how often there was no room.
fn race(filter: &ReplayFilter, tags: &[[u8; 32]], batch: usize) -> Vec<(u32, u32)> {
    let counts: Vec<[AtomicU32; 2]> = tags.iter().map(|_| Default::default()).collect();
    let start = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS as usize {
            let (counts, start) = (&counts, &start);
            scope.spawn(move || {
                let mut order: Vec<usize> = (0..tags.len()).collect();
                match thread {
                    0 | 1 => {}
                    2 => order.reverse(),
                    _ => order.rotate_left(tags.len() / 2),
                }
                let asked: Vec<[u8; 32]> = order.iter().map(|&index| tags[index]).collect();
                let mut verdicts = vec![Verdict::Full; tags.len()];
                start.wait();
                for (tags, verdicts) in asked.chunks(batch).zip(verdicts.chunks_mut(batch)) {
                    filter.check_and_set_all(tags, verdicts);
                }
                for (index, verdict) in order.into_iter().zip(verdicts) {
                    match verdict {
                        Verdict::New => counts[index][0].fetch_add(1, Ordering::Relaxed),
                        Verdict::Full => counts[index][1].fetch_add(1, Ordering::Relaxed),
                        Verdict::Seen => 0,
                    };
                }
            });
        }
    });
    counts.into_iter().map(|[new, full]| (new.into_inner(), full.into_inner())).collect()
}

#[test]
fn a_tag_is_new_to_exactly_one_thread() {
    let (rounds, per_round) = (1_000, 60);
    let mut never_new = 0;
    for round in 0..rounds {
        // Four lines of eight words: the threads meet in the same words all the time.
        let filter = ReplayFilter::new(64, [round as u8; 32]);
        let tags: Vec<[u8; 32]> = (0..per_round).map(|number| tag(round, number)).collect();
        let counts = race(&filter, &tags, 1 + round as usize % 8);
        for &(new, full) in &counts {
            assert!(new <= 1, "round {round}: one tag passed {new} times");
            assert_eq!(full, 0);
            never_new += u32::from(new == 0);
        }
        let passed = counts.iter().filter(|&&(new, _)| new == 1).count();
        assert_eq!(filter.len(), passed, "every place was given away once");
    }
    // Two of 60 tags share a fingerprint in 60 * 59 / 2 / 2^21 = 0.08 % of the rounds: 0.8 times.
    assert!(never_new <= 6, "{never_new}");
}

#[test]
fn lines_that_overflow_lose_nothing() {
    for round in 0..20 {
        // 40 lines, and more tags than places: threads race through full lines for the last places.
        let filter = ReplayFilter::new(640, [7; 32]);
        let tags: Vec<[u8; 32]> = (0..1_200).map(|number| tag(round, number)).collect();
        let counts = race(&filter, &tags, 1);
        let passed = counts.iter().filter(|&&(new, _)| new == 1).count();
        assert!(counts.iter().all(|&(new, _)| new <= 1));
        assert!(counts.iter().any(|&(_, full)| full > 0), "the filter was meant to overflow");
        assert_eq!(filter.len(), passed);
    }
}

#[test]
fn a_large_filter_under_load() {
    let filter = ReplayFilter::new(200_000, [9; 32]);
    let tags: Vec<[u8; 32]> = (0..200_000).map(|number| tag(1, number)).collect();
    let counts = race(&filter, &tags, 64);
    assert!(counts.iter().all(|&(new, full)| new <= 1 && full == 0));
    // Expected 200,000 * 8 / 2^21 = 0.8.
    assert!(counts.iter().filter(|&&(new, _)| new == 0).count() <= 8);
}
