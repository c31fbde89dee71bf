//! Berths under the orders of events that the memory model allows, run by loom: all of them for
//! two threads.

use alloc::sync::Arc;
use alloc::vec::Vec;

use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::Berth;

type Shared = Berth<AtomicU64>;

/// What a descriptor for wake-ups does: a call is kept until the owner waits for it.
type Bell = Arc<Notify>;

/// Two rooms for packets. Loom reports any two threads that use one without an order between them.
struct Rooms([UnsafeCell<u64>; 2]);

fn node() -> (Arc<Shared>, Bell) {
    (Arc::new(Berth::new(2)), Arc::new(Notify::new()))
}

/// Leaves `notes`, as far as the berth can be claimed; says whether it could.
fn give(berth: &Shared, bell: &Notify, notes: &[u64]) -> bool {
    let Some(mut claim) = berth.claim() else { return false };
    notes.iter().for_each(|&note| claim.put([note, note + 1]));
    if claim.end() {
        bell.notify();
    }
    true
}

fn take(berth: &Shared, into: &mut Vec<u64>) {
    berth.take(|[one, two]| {
        assert_eq!(two, one + 1, "a note is whole");
        into.push(one);
    });
}

/// The owner's part of a turn: waits unless something is there, then takes it.
fn turn(berth: &Shared, bell: &Notify, into: &mut Vec<u64>) {
    if berth.sleep() {
        bell.wait();
        berth.wake();
    }
    take(berth, into);
}

#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let (berth, bell) = node();
        berth.want(true);
        let giver = {
            let (berth, bell) = (Arc::clone(&berth), Arc::clone(&bell));
            thread::spawn(move || assert!(give(&berth, &bell, &[10, 20])))
        };
        // If a wake-up were lost, the owner would wait for good, and loom would say so.
        let mut got = Vec::new();
        while got.is_empty() {
            turn(&berth, &bell, &mut got);
        }
        assert_eq!(got, [10, 20]);
        giver.join().unwrap();
    });
}

#[test]
fn what_two_neighbours_leave_is_taken_once_each() {
    // Three threads have too many orders to try all of them: those with up to two preemptions.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (berth, bell) = node();
        berth.want(true);
        let givers: Vec<_> = [10, 20]
            .into_iter()
            .map(|note| {
                let (berth, bell) = (Arc::clone(&berth), Arc::clone(&bell));
                thread::spawn(move || give(&berth, &bell, &[note]).then_some(note))
            })
            .collect();
        let mut got = Vec::new();
        turn(&berth, &bell, &mut got);
        let given: Vec<u64> = givers.into_iter().filter_map(|g| g.join().unwrap()).collect();
        take(&berth, &mut got);
        got.sort_unstable();
        assert_eq!(got, given);
        assert!(!given.is_empty());
    });
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    loom::model(|| {
        let (berth, bell) = node();
        berth.want(true);
        let giver = {
            let (berth, bell) = (Arc::clone(&berth), Arc::clone(&bell));
            thread::spawn(move || give(&berth, &bell, &[10]))
        };
        let mut got = Vec::new();
        berth.leave();
        take(&berth, &mut got);
        let given = giver.join().unwrap();
        assert_eq!(got.len(), usize::from(given));
        assert!(!berth.is_full());
    });
}

/// The berth alone orders the uses of what the notes stand for.
#[test]
#[expect(clippy::arc_with_non_send_sync, reason = "the model finds out whether that is right")]
fn notes_order_what_they_are_about() {
    loom::model(|| {
        let (berth, bell) = node();
        let rooms = Arc::new(Rooms([UnsafeCell::new(0), UnsafeCell::new(0)]));
        berth.want(true);
        let giver = {
            let (berth, bell, rooms) = (Arc::clone(&berth), Arc::clone(&bell), Arc::clone(&rooms));
            thread::spawn(move || {
                for round in 0..2 {
                    let Some(mut claim) = berth.claim() else { continue };
                    rooms.0[0].with_mut(|_| ());
                    claim.put([0, 1 + round]);
                    if claim.end() {
                        bell.notify();
                    }
                }
            })
        };
        let take = || {
            let mut count = 0;
            berth.take(|[room, _]| {
                rooms.0[room as usize].with_mut(|_| ());
                count += 1;
            });
            count
        };
        let mut count = 0;
        if berth.sleep() {
            bell.wait();
            berth.wake();
        }
        count += take();
        giver.join().unwrap();
        count += take();
        assert!(count >= 1);
    });
}
