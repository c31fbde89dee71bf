//! Stocks of reply SURBs, which decide how much somebody may answer.

use chacha20::ChaCha20Rng;
use phix_proto::message::SenderTag;
use rand::RngExt;

use super::world::{Fate, World};
use super::{fast, pattern};
use crate::mixnet::core::{Counters, Outgoing};

const NAME: SenderTag = SenderTag::from_bytes([9; 16]);

fn loses(rng: &mut ChaCha20Rng, _: usize) -> Fate {
    if rng.random_range(0..20) == 0 { Fate::Lost } else { Fate::Passes }
}

/// A client has said something under a name, and keeps the one who heard it supplied.
fn world(seed: u64, supplied: u32) -> World {
    let mut world = World::new(&[fast(), fast()], seed);
    let recipient = *world.members[1].core.own();
    let outgoing =
        Outgoing::Named { recipient, name: NAME, data: b"hello".to_vec(), reply_surbs: 3 };
    let now = world.now;
    let core = &mut world.members[0].core;
    core.send(outgoing, Some(1), now).unwrap();
    core.keep_supplied(NAME, recipient, supplied, now);
    world.run(loses, |members| !members[1].received.is_empty());
    assert_eq!(world.members[1].received[0].sender, Some(NAME));
    world
}

fn answer(world: &mut World, len: usize) {
    let reply = Outgoing::Reply { sender: NAME, data: pattern(len, 1) };
    let now = world.now;
    world.members[1].core.send(reply, None, now).unwrap();
}

/// Packets that carried a fragment of the answer.
fn spent(counters: &Counters) -> u64 {
    counters.sent_fragments + counters.sent_again
}

#[test]
fn a_long_answer_is_supplied_without_being_asked_for() {
    let mut world = world(41, 40);
    answer(&mut world, 200_000);
    world.run(loses, |members| !members[0].received.is_empty());
    assert!(world.members[0].received[0].data == pattern(200_000, 1));
    // A stock of 40 is used up several times; requests alone, ten seconds apart, take longer.
    let seconds = world.now.as_nanos() / 1_000_000_000;
    assert!(seconds < 20, "{seconds} s");
}

#[test]
fn nobody_answers_more_than_their_stock() {
    let mut world = world(42, 0);
    answer(&mut world, 60_000);
    let departed = world.members[0].departures.len();
    // About half a minute, in which more is asked for and nothing given.
    world.run(loses, |members| members[0].departures.len() > departed + 6_000);
    assert!(world.members[0].received.is_empty());
    assert!(spent(world.members[1].core.counters()) <= 3);
    let (recipient, now) = (*world.members[1].core.own(), world.now);
    world.members[0].core.keep_supplied(NAME, recipient, 20, now);
    world.run(loses, |members| !members[0].received.is_empty());
    assert!(world.members[0].received[0].data == pattern(60_000, 1));
    world.members[0].core.forget_name(&NAME);
}
