//! What the assembler keeps and gives up, where only the order and the time of arrival matter. The
//! formats are held against the stock crates in `phix-interop`.

use phix_engine::units::{Span, Time};
use phix_engine::wire::geometry::PacketSize;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::*;

const TIMEOUT: Span = Span::from_millis(30 * 60 * 1000);

fn at(seconds: u64) -> Time {
    Time::ZERO.after(Span::from_millis(seconds * 1000))
}

fn limits() -> AssemblyLimits {
    AssemblyLimits { bytes: 100_000, sets: 8, remembered: 4, timeout: TIMEOUT }
}

/// The fragments of a message of `len` bytes, which no other seed's are taken for.
fn fragments(len: usize, seed: u64) -> Vec<Fragment> {
    let message = Message::Plain(vec![seed as u8; len]);
    split(message.encode(), PacketSize::Regular, &mut StdRng::seed_from_u64(seed))
}

fn set(number: u32) -> SetId {
    SetId::new(number).unwrap()
}

fn fragment(number: u32, total: u8, position: u8, link: Option<Link>) -> Fragment {
    Fragment { set: set(number), total, position, link, payload: vec![position; 10] }
}

fn insert_all(assembler: &mut Assembler, fragments: &[Fragment], now: Time) -> Vec<Assembled> {
    fragments.iter().map(|fragment| assembler.insert(fragment.clone(), now)).collect()
}

#[test]
fn what_is_sent_again_starts_no_new_message() {
    let mut assembler = Assembler::new(limits());
    let parts = fragments(5000, 1);
    let first = insert_all(&mut assembler, &parts[..2], at(0));
    assert_eq!(first, [Assembled::Waiting, Assembled::Waiting]);
    assert_eq!(assembler.insert(parts[0].clone(), at(1)), Assembled::Duplicate);
    let rest = insert_all(&mut assembler, &parts[2..], at(2));
    assert!(matches!(rest.last(), Some(Assembled::Complete(_))));
    for part in &parts {
        assert_eq!(assembler.insert(part.clone(), at(3)), Assembled::Duplicate);
    }
    assert_eq!((assembler.bytes(), assembler.expires_at()), (0, None));
}

/// After so many other messages its number is forgotten, as it has to be some time.
#[test]
fn the_memory_of_complete_messages_is_bounded() {
    let mut assembler = Assembler::new(limits());
    let part = fragments(1, 1).remove(0);
    assert!(matches!(assembler.insert(part.clone(), at(0)), Assembled::Complete(_)));
    for seed in 2..5 {
        insert_all(&mut assembler, &fragments(1, seed), at(0));
        assert_eq!(assembler.insert(part.clone(), at(0)), Assembled::Duplicate);
    }
    insert_all(&mut assembler, &fragments(1, 5), at(0));
    assert!(matches!(assembler.insert(part, at(0)), Assembled::Complete(_)));
}

#[test]
fn a_set_that_waits_too_long_is_given_up() {
    let mut assembler = Assembler::new(limits());
    let (one, two) = (fragments(3000, 1), fragments(3000, 2));
    assembler.insert(one[0].clone(), at(0));
    assembler.insert(two[0].clone(), at(10));
    assert_eq!(assembler.expires_at(), Some(at(0).after(TIMEOUT)));
    assert_eq!(assembler.expire(at(1799)), 0);
    assert_eq!(assembler.expire(at(1800)), 1);
    assert_eq!(assembler.expires_at(), Some(at(10).after(TIMEOUT)));
    assert_eq!(assembler.insert(one[1].clone(), at(1801)), Assembled::Waiting);
    assert!(matches!(assembler.insert(two[1].clone(), at(1802)), Assembled::Complete(_)));
    assert_eq!(assembler.given_up(), 1);
}

/// Every fragment starts the wait anew.
#[test]
fn a_set_that_is_still_coming_is_kept() {
    let mut assembler = Assembler::new(limits());
    let parts = fragments(6000, 1);
    for (at_part, part) in parts.iter().enumerate() {
        let now = at(1700 * at_part as u64);
        assert_eq!(assembler.expire(now), 0);
        let last = at_part + 1 == parts.len();
        assert_eq!(matches!(assembler.insert(part.clone(), now), Assembled::Complete(_)), last);
    }
}

/// Whoever floods a client with beginnings of messages pushes out what has waited for longest.
#[test]
fn sets_are_bounded_and_the_longest_silent_one_goes_first() {
    let mut assembler = Assembler::new(limits());
    let kept = fragments(8000, 1000);
    let (last, before) = kept.split_last().unwrap();
    for (round, part) in before.iter().enumerate() {
        let now = 100 * round as u64;
        assembler.insert(part.clone(), at(now));
        for seed in 0..7 {
            let beginning = fragments(3000, now + seed).remove(0);
            assembler.insert(beginning, at(now + seed));
        }
    }
    let started = 1 + 7 * before.len() as u64;
    assert_eq!(assembler.given_up(), started - 8);
    assert!(matches!(assembler.insert(last.clone(), at(9999)), Assembled::Complete(_)));
}

#[test]
fn the_bytes_of_large_fragments_are_bounded_too() {
    let few = AssemblyLimits { bytes: 10_000, ..limits() };
    let mut assembler = Assembler::new(few);
    for seed in 0..50 {
        for part in &fragments(5000, seed)[..3] {
            assembler.insert(part.clone(), at(seed));
            assert!(assembler.bytes() <= few.bytes);
        }
    }
    assert!(assembler.given_up() > 40);
}

#[test]
fn contradictions_are_refused_and_change_nothing() {
    let mut assembler = Assembler::new(limits());
    assert_eq!(assembler.insert(fragment(1, 3, 1, None), at(0)), Assembled::Waiting);
    assert_eq!(assembler.insert(fragment(1, 2, 2, None), at(0)), Assembled::Contradiction);
    assert_eq!(assembler.insert(fragment(1, 3, 2, None), at(0)), Assembled::Waiting);
    let complete = assembler.insert(fragment(1, 3, 3, None), at(0));
    let expected = [[1; 10], [2; 10], [3; 10]].concat();
    assert_eq!(complete, Assembled::Complete(expected));
}

#[test]
fn a_long_message_comes_together_in_any_order_of_its_sets() {
    let roomy = AssemblyLimits { bytes: 10 << 20, ..limits() };
    for seed in 0..6 {
        let mut assembler = Assembler::new(roomy);
        let mut parts = fragments(900_000, seed);
        parts.shuffle(&mut StdRng::seed_from_u64(seed));
        let outcomes = insert_all(&mut assembler, &parts, at(0));
        let (last, before) = outcomes.split_last().unwrap();
        assert!(before.iter().all(|outcome| *outcome == Assembled::Waiting));
        let Assembled::Complete(padded) = last else { panic!("it is complete") };
        let message = Message::parse(&unpad(padded.clone()).unwrap()).unwrap();
        assert!(matches!(message, Message::Plain(data) if data == vec![seed as u8; 900_000]));
    }
}

/// Sets that name each other in a circle, or name one that does not name them, are no message, and
/// the search for one ends.
#[test]
fn links_that_lead_nowhere_do_no_harm() {
    let circle = |assembler: &mut Assembler, order: [(u32, u32, u32); 2]| {
        for (own, before, after) in order {
            for position in 1..=u8::MAX {
                let link = match position {
                    1 => Some(Link::Previous(set(before))),
                    u8::MAX => Some(Link::Next(set(after))),
                    _ => None,
                };
                let part = fragment(own, u8::MAX, position, link);
                assert_eq!(assembler.insert(part, at(0)), Assembled::Waiting);
            }
        }
    };
    let mut assembler = Assembler::new(limits());
    circle(&mut assembler, [(1, 2, 2), (2, 1, 1)]);
    circle(&mut assembler, [(3, 4, 4), (4, 5, 3)]);
    assert_eq!(assembler.expire(at(1800)), 4);
    assert_eq!(assembler.bytes(), 0);
}

#[test]
fn a_set_after_one_that_does_not_name_it_waits() {
    let mut assembler = Assembler::new(limits());
    assert!(matches!(assembler.insert(fragment(1, 1, 1, None), at(0)), Assembled::Complete(_)));
    let stray = fragment(2, 1, 1, Some(Link::Previous(set(1))));
    assert_eq!(assembler.insert(stray, at(0)), Assembled::Waiting);
}

#[test]
fn secrets_are_absent_from_debug_output() {
    let keys = ClientKeys::generate(&mut StdRng::seed_from_u64(1));
    assert_eq!(format!("{keys:?} {:?}", keys.ack()), "ClientKeys(..) AckKey(..)");
    assert_eq!(format!("{:?}", ReplyKey::from_bytes([9; 16])), "ReplyKey(..)");
}
