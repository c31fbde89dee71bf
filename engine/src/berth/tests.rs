//! What one thread sees of a berth; what several see is in `models`.

use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use super::Berth;

fn notes(berth: &Berth) -> Vec<u64> {
    let mut notes = Vec::new();
    berth.take(|[one, two]| {
        assert_eq!(two, one + 1);
        notes.push(one);
    });
    notes
}

#[test]
fn a_berth_is_claimed_if_its_owner_wants_and_nothing_lies_there() {
    let berth = Berth::<AtomicU64>::new(4);
    assert!(berth.claim().is_none(), "nobody has asked");
    berth.want(true);
    let mut claim = berth.claim().unwrap();
    assert!(berth.claim().is_none(), "one at a time");
    assert!(!berth.is_full());
    for note in [10, 20, 30] {
        claim.put([note, note + 1]);
    }
    assert_eq!(claim.room(), 1);
    assert!(!claim.end(), "the owner is awake");
    assert!(berth.is_full() && berth.claim().is_none());
    assert!(!berth.sleep(), "there are notes");
    assert_eq!(notes(&berth), [10, 20, 30]);
    assert_eq!(notes(&berth), [0; 0]);
    berth.want(false);
    assert!(berth.claim().is_none());
    berth.leave();
    berth.want(true);
    assert!(berth.claim().is_none(), "the owner is gone");
}

#[test]
fn only_notes_wake_an_owner_and_only_one_who_sleeps() {
    let berth = Berth::<AtomicU64>::new(2);
    berth.want(true);
    assert!(berth.sleep());
    assert!(!berth.claim().unwrap().end(), "no note was left");
    let mut claim = berth.claim().unwrap();
    claim.put([1, 2]);
    assert!(claim.end());
    berth.wake();
    assert_eq!(notes(&berth), [1]);
    let mut claim = berth.claim().unwrap();
    claim.put([3, 4]);
    assert!(!claim.end());
}

#[test]
fn a_claim_that_is_dropped_leaves_its_notes() {
    let berth = Berth::<AtomicU64>::new(2);
    berth.want(true);
    let mut claim = berth.claim().unwrap();
    claim.put([5, 6]);
    drop(claim);
    assert_eq!(notes(&berth), [5]);
    drop(berth.claim().unwrap());
    assert!(!berth.is_full());
}
