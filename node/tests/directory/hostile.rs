//! Registrations that are wrong, old, stolen or too many.

use std::time::Duration;

use phix_node::directory::desk::Desk;
use phix_node::directory::refused::Refused;
use phix_node::directory::store::{FORGOTTEN_MAX, Store};
use phix_proto::directory::refresh::RefreshRequest;
use phix_proto::directory::registration::{Description, LEN_MAX, Refusal};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::common::{BEGIN, address, description, desk, key, probe, register, registration};

fn count(desk: &Desk, name: &str) -> u64 {
    desk.counts().all().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn what_is_wrong_is_refused_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let minute = Duration::from_secs(60);
    let good = registration(1, BEGIN);
    let text = String::from_utf8(good.clone()).unwrap();
    let forged = text.replace("\"mix_port\":1789", "\"mix_port\":1790").into_bytes();
    let signed = |change: fn(&mut Description)| {
        let mut one = description(1, BEGIN);
        change(&mut one);
        serde_json::to_vec(&one.sign(&key(1))).unwrap()
    };
    let huge = vec![b' '; LEN_MAX + 1];
    let cases = [
        (b"{}".to_vec(), BEGIN, Refusal::Malformed),
        (good[..good.len() - 1].to_vec(), BEGIN, Refusal::Malformed),
        (huge, BEGIN, Refusal::Oversize),
        (good.clone(), BEGIN + 3 * minute, Refusal::Old),
        (good.clone(), BEGIN - 3 * minute, Refusal::Future),
        (forged, BEGIN, Refusal::Signature),
        (signed(|one| one.addresses.clear()), BEGIN, Refusal::Address),
        (signed(|one| one.mix_port = 0), BEGIN, Refusal::Port),
        (signed(|one| one.sphinx.clear()), BEGIN, Refusal::Keys),
        (signed(|one| one.roles = Default::default()), BEGIN, Refusal::Roles),
        (signed(|one| one.software = "\u{0}".into()), BEGIN, Refusal::Text),
    ];
    for (body, now, refusal) in cases {
        let before = count(&desk, refusal.name());
        let refused = desk.register(&body, address(1), now).unwrap_err();
        assert_eq!(refused, Refused::Form(refusal));
        assert_eq!(count(&desk, refusal.name()), before + 1);
    }
    assert_eq!(desk.register(&good, address(2), BEGIN), Err(Refused::Source));
    assert_eq!(count(&desk, "registered"), 0);
    assert_eq!(desk.register(&good, address(1), BEGIN).map(|one| one.node_id), Ok(1));
    // The same once more is a replay.
    assert_eq!(desk.register(&good, address(1), BEGIN), Err(Refused::Form(Refusal::Old)));
    assert_eq!((count(&desk, "registered"), count(&desk, "source")), (1, 1));
}

#[test]
fn nobody_takes_the_place_of_a_node_that_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let own = register(&desk, 1, BEGIN);
    probe(&desk, &[(own, 4)]);
    let later = BEGIN + Duration::from_secs(1);
    let thief = |change: fn(&mut Description)| {
        let mut one = description(2, later);
        one.addresses = vec![address(1)];
        change(&mut one);
        let body = serde_json::to_vec(&one.sign(&key(2))).unwrap();
        desk.register(&body, address(1), later).map(|one| one.node_id)
    };
    assert_eq!(thief(|_| {}), Err(Refused::Taken), "the same address and port");
    assert_eq!(thief(|one| one.mix_port = 1), Err(Refused::Taken), "another Noise key there");
    // Two nodes of one owner share an address if they share the key.
    let shares = |one: &mut Description| {
        one.mix_port = 1790;
        one.noise = description(1, BEGIN).noise;
    };
    assert_eq!(thief(shares), Ok(2));
    // An address whose node is dead is free, and the number of the dead stays its own.
    probe(&desk, &[(own, 0)]);
    probe(&desk, &[(own, 0)]);
    let mut heir = description(3, later);
    heir.addresses = vec![address(1)];
    heir.noise = description(1, BEGIN).noise;
    let body = serde_json::to_vec(&heir.sign(&key(3))).unwrap();
    assert_eq!(desk.register(&body, address(1), later).map(|one| one.node_id), Ok(3));
    assert!(desk.targets(later).1.iter().all(|target| target.node != own));
}

/// A node that is away for a moment, or not there yet, does not lose its address to one that names
/// it beside its own.
#[test]
fn an_address_is_not_taken_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let own = register(&desk, 1, BEGIN);
    let later = BEGIN + Duration::from_secs(1);
    let mut squatter = description(2, later);
    squatter.addresses = vec![address(2), address(1), address(3)];
    let body = serde_json::to_vec(&squatter.sign(&key(2))).unwrap();
    assert_eq!(desk.register(&body, address(2), later), Err(Refused::Source));
    assert!(desk.targets(later).1.iter().any(|target| target.node == own));
    register(&desk, 3, later);
}

#[test]
fn a_source_that_hurries_waits() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let tries = (0..1_000).map(|_| desk.register(b"{", address(9), BEGIN).unwrap_err());
    let refused: Vec<_> = tries.collect();
    assert_eq!(refused[0], Refused::Form(Refusal::Malformed));
    assert_eq!(refused[999], Refused::Hurried);
    register(&desk, 1, BEGIN);
    let minute = Duration::from_secs(60);
    register(&desk, 9, BEGIN + minute);
}

#[test]
fn refreshes_are_for_nodes_that_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let now = BEGIN.as_secs() as i64;
    let body = |n, at| serde_json::to_vec(&RefreshRequest::new(&key(n), at)).unwrap();
    assert_eq!(desk.refresh(&body(1, now), BEGIN), Err(Refused::Unknown));
    register(&desk, 1, BEGIN);
    assert_eq!(desk.refresh(&body(1, now), BEGIN), Ok(1));
    assert_eq!(desk.refresh(&body(1, now - 31), BEGIN), Err(Refused::Form(Refusal::Old)));
    assert_eq!(desk.refresh(b"null", BEGIN), Err(Refused::Form(Refusal::Malformed)));
    assert_eq!((count(&desk, "unknown"), count(&desk, "old")), (1, 1));
    // Only a new one is looked at out of turn.
    assert!(desk.is_new(1) && !desk.is_new(2));
    probe(&desk, &[(1, 0)]);
    assert_eq!(desk.refresh(&body(1, now), BEGIN), Ok(1));
    assert!(!desk.is_new(1));
}

/// Identities cost nothing; what is remembered of those that were forgotten has a bound.
#[test]
fn nodes_that_come_and_go_do_not_fill_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut signed = description(1, BEGIN).sign(&key(1));
    let mut last = 0;
    for number in 0..FORGOTTEN_MAX + 50 {
        signed.description.identity.0[..4].copy_from_slice(&number.to_be_bytes());
        let node = store.describe(&signed).unwrap();
        assert!(node > last, "a number is used once");
        last = node;
        store.forget(node).unwrap();
    }
    // The one that was forgotten last has its number still, the first one has a new one.
    assert_eq!(store.describe(&signed).unwrap(), last);
    signed.description.identity.0[..4].fill(0);
    assert_eq!(store.describe(&signed).unwrap(), last + 1);
}

/// Seeded damage to everything that strangers post: each is taken or counted, and nothing breaks.
#[test]
fn damaged_requests_are_taken_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let desk = desk(dir.path(), BEGIN);
    let total = || desk.counts().all().iter().map(|(_, count)| count).sum::<u64>();
    let mut rng = StdRng::seed_from_u64(11);
    let mut taken = 0;
    for round in 0..4_000_u64 {
        let now = BEGIN + Duration::from_millis(700 * round);
        let n = rng.random_range(1..=200);
        let mut body = registration(n, now);
        for _ in 0..rng.random_range(0..3) {
            let at = rng.random_range(0..body.len());
            match rng.random_range(0..3) {
                0 => body[at] = rng.random(),
                1 => body.truncate(at.max(1)),
                _ => body.insert(at, b"0\",:{}[]"[rng.random_range(0..8)]),
            }
        }
        let before = total();
        taken += u64::from(desk.register(&body, address(n), now).is_ok());
        assert_eq!(total(), before + 1, "round {round} is counted once");
        if desk.refresh(&body, now).is_err() {
            assert_eq!(total(), before + 2);
        }
        if round % 500 == 0 {
            desk.turn(now).unwrap();
        }
    }
    assert!(taken > 1_000 && taken < 3_900, "{taken} of 4000 were taken");
}
