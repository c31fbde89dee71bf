//! Clients in virtual time, over a network that loses, repeats and reorders.

mod supply;
mod world;

use chacha20::ChaCha20Rng;
use phix_engine::units::{Span, Time};
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::SenderTag;
use rand::{Rng, RngExt, SeedableRng};

use super::{Lane, MESSAGE_MAX, Outgoing, Unsendable};
use crate::mixnet::settings::{Length, Settings};
use crate::stats::{Erlang, ks_critical, ks_distance};
use world::{Fate, Member, World, topology};

const PACKET: usize = PacketSize::Regular.packet_len();
const ACK: usize = PacketSize::Ack.packet_len();

fn settings() -> Settings {
    Settings { directory: Some("http://unused".into()), ..Settings::default() }
}

/// A fast stream, where the time between packets is not the subject.
fn fast() -> Settings {
    Settings { main_stream: Length::millis(5), loop_cover: Length::millis(0), ..settings() }
}

/// For clients that have nothing to say: their cover only costs time.
fn mute() -> Settings {
    Settings { main_stream: Length::millis(60_000), loop_cover: Length::millis(0), ..settings() }
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed).collect()
}

fn send(world: &mut World, from: usize, to: usize, data: Vec<u8>, reply_surbs: u32) {
    let recipient = *world.members[to].core.own();
    let outgoing = Outgoing::Message { recipient, data, reply_surbs };
    let now = world.now;
    world.members[from].core.send(outgoing, None, now).unwrap();
}

fn passes(_: &mut ChaCha20Rng, _: usize) -> Fate {
    Fate::Passes
}

#[test]
fn messages_arrive_once_each_whatever_the_network_does() {
    let mut world = World::new(&[fast(), mute()], 11);
    let sizes = [0, 1, 2, 1000, 1601, 1602, 1603, 5000, 30_000, 100_000];
    let mut expected: Vec<_> = sizes.iter().zip(0..).map(|(&len, i)| pattern(len, i)).collect();
    for message in &expected {
        send(&mut world, 0, 1, message.clone(), 0);
    }
    world.run(
        |rng, len| match rng.random_range(0..100) {
            0..15 => Fate::Lost,
            15..30 if len == PACKET => Fate::Twice,
            // Acknowledgements are lost more often still.
            30..45 if len == ACK => Fate::Lost,
            _ => Fate::Passes,
        },
        |members| members[0].arrived.len() == sizes.len(),
    );
    let mut received: Vec<_> =
        world.members[1].received.iter().map(|delivery| delivery.data.clone()).collect();
    received.sort();
    expected.sort();
    assert!(received == expected, "each message came once");
    let (sender, receiver) = (world.members[0].core.counters(), world.members[1].core.counters());
    assert!(sender.sent_again > 0 && receiver.received_duplicates > 0, "{sender:?} {receiver:?}");
    assert_eq!(receiver.received_fragments, sender.sent_fragments);
    assert_eq!((receiver.received_unreadable, receiver.received_malformed), (0, 0));
    assert_eq!(world.members[0].core.queued(), 0);
}

#[test]
fn a_fragment_is_sent_again_when_its_acknowledgement_is_overdue_and_not_before() {
    let mut world = World::new(&[settings(), mute()], 12);
    send(&mut world, 0, 1, b"hello".to_vec(), 0);
    let drop_acks = |_: &mut _, len| if len == ACK { Fate::Lost } else { Fate::Passes };
    world.run(drop_acks, |members| members[0].core.counters().sent_again == 1);
    // 1.5 s and one and a half times delays that nobody knows here, and a turn of the stream.
    let waited = world.now.as_nanos() as f64 / 1e9;
    assert!((1.5..3.0).contains(&waited), "{waited}");
    world.run(passes, |members| members[0].arrived.len() == 1);
    assert_eq!(world.members[1].received.len(), 1);
    assert!(world.members[1].core.counters().received_duplicates >= 1);
}

#[test]
fn a_stream_without_cover_sends_what_waits_and_nothing_else() {
    let bare = Settings { main_cover: false, main_stream: Length::millis(1), ..fast() };
    let mut world = World::new(&[bare, mute()], 31);
    send(&mut world, 0, 1, pattern(50_000, 1), 0);
    let some_lost = |rng: &mut ChaCha20Rng, _| match rng.random_range(0..10) {
        0 => Fate::Lost,
        _ => Fate::Passes,
    };
    world.run(some_lost, |members| members[0].arrived.len() == 1);
    assert_eq!(world.members[1].received[0].data, pattern(50_000, 1));
    let counters = world.members[0].core.counters();
    assert!(counters.sent_again > 0, "{counters:?}");
    assert_eq!((counters.sent_cover_main, counters.no_route), (0, 0));
    // It looks only now and then what there is to do.
    let core = &mut world.members[0].core;
    let now = core.deadline();
    assert!(core.depart(now).is_none());
    assert!(core.deadline().since(now) > Span::from_millis(50));
}

#[test]
fn a_message_is_given_up_after_as_many_retransmissions_as_are_allowed() {
    let limited = Settings { retransmissions: Some(2), ..settings() };
    let mut world = World::new(&[limited, mute()], 13);
    send(&mut world, 0, 1, pattern(5000, 0), 0);
    let drop_all = |_: &mut _, _| Fate::Lost;
    world.run(drop_all, |members| !members[0].given_up.is_empty());
    let counters = world.members[0].core.counters();
    assert_eq!((counters.given_up, world.members[0].core.queued()), (1, 0));
    assert!((2..=8).contains(&counters.sent_again), "{counters:?}");
}

/// The times between departures, in milliseconds.
fn intervals(member: &Member) -> Vec<f64> {
    let times: Vec<_> = member.departures.iter().map(|(at, _)| at.as_nanos() as f64).collect();
    times.windows(2).map(|pair| (pair[1] - pair[0]) / 1e6).collect()
}

#[test]
fn an_observer_sees_no_difference() {
    const PACKETS: usize = 2001;
    // Both streams together are one Poisson process, whose rates add up.
    let mean = 1.0 / (1.0 / 20.0 + 1.0 / 200.0);
    let theory = Erlang::new(1, mean);
    for busy in [false, true] {
        let mut world = World::new(&[settings()], 14 + u64::from(busy));
        let recipient = *world.members[0].core.own();
        let done = |members: &mut [Member]| {
            let now = members[0].departures.last().map_or(Time::ZERO, |(at, _)| *at);
            if busy && members[0].core.queued() < 40 {
                let data = pattern(200_000, 0);
                let outgoing = Outgoing::Message { recipient, data, reply_surbs: 0 };
                members[0].core.send(outgoing, None, now).unwrap();
            }
            members[0].departures.len() >= PACKETS
        };
        world.run(passes, done);
        let member = &world.members[0];
        assert!(member.departures.iter().all(|(_, len)| *len == PACKET));
        let distance = ks_distance(&intervals(member), |x| theory.cdf(x));
        let critical = ks_critical(PACKETS - 1, 0.001);
        assert!(distance < critical, "busy {busy}: {distance} of {critical}");
        let counters = member.core.counters();
        // The two states were what they claim to be.
        assert_eq!(counters.sent_cover_main == 0, busy, "{counters:?}");
        assert_eq!(counters.sent_fragments > 1500, busy, "{counters:?}");
        assert!(counters.sent_cover_loop > 100);
    }
}

#[test]
fn cover_comes_back_and_is_acknowledged() {
    let mut world = World::new(&[settings()], 16);
    world.run(passes, |members| members[0].core.counters().acknowledged_other >= 100);
    let counters = world.members[0].core.counters();
    assert!(counters.received_cover >= 100 && counters.received_unreadable == 0, "{counters:?}");
    assert!(world.members[0].received.is_empty());
}

#[test]
fn a_client_without_loop_cover_sends_the_main_stream_alone() {
    let quiet = Settings { loop_cover: Length::millis(0), ..settings() };
    let mut world = World::new(&[quiet], 17);
    world.run(passes, |members| members[0].departures.len() >= 50);
    assert_eq!(world.members[0].core.counters().sent_cover_loop, 0);
}

#[test]
fn somebody_unknown_is_answered_also_at_length() {
    let mut world = World::new(&[fast(), fast()], 18);
    send(&mut world, 0, 1, b"who are you?".to_vec(), 10);
    world.run(passes, |members| !members[1].received.is_empty());
    let sender = world.members[1].received[0].sender.unwrap();
    // Fifty fragments, five times as many as there are blocks for.
    for (len, answers) in [(10, 1), (80_000, 2)] {
        let reply = Outgoing::Reply { sender, data: pattern(len, 3) };
        let now = world.now;
        world.members[1].core.send(reply, None, now).unwrap();
        let lossy = |rng: &mut ChaCha20Rng, _| match rng.random_range(0..20) {
            0 => Fate::Lost,
            _ => Fate::Passes,
        };
        world.run(lossy, |members| {
            members[0].received.len() == answers && members[1].arrived.len() == answers
        });
        let answer = world.members[0].received.last().unwrap();
        assert!(answer.data == pattern(len, 3) && answer.sender.is_none());
    }
}

#[test]
fn nobody_is_answered_who_did_not_write() {
    let mut world = World::new(&[settings()], 19);
    let sender = SenderTag::from_bytes([1; 16]);
    let core = &mut world.members[0].core;
    let refused = core.send(Outgoing::Reply { sender, data: vec![] }, None, Time::ZERO);
    assert_eq!(refused, Err(Unsendable::UnknownSender(sender)));
    let recipient = *core.own();
    let data = vec![0; MESSAGE_MAX + 1];
    let long = Outgoing::Message { recipient, data, reply_surbs: 0 };
    assert_eq!(core.send(long, None, Time::ZERO), Err(Unsendable::TooLong));
}

#[test]
fn what_was_made_for_old_keys_is_made_anew() {
    let mut world = World::new(&[settings(), mute()], 20);
    send(&mut world, 0, 1, pattern(20_000, 1), 0);
    world.run(passes, |members| members[1].core.counters().received_fragments >= 3);
    world.change_keys(2);
    for member in &mut world.members {
        member.core.set_topology(topology(2));
    }
    let before = world.members[0].core.counters().sent_again;
    world.run(passes, |members| members[0].arrived.len() == 1);
    let again = world.members[0].core.counters().sent_again - before;
    // What was under way is lost with the keys; what lay ready is not.
    assert!(again <= 8, "{again}");
    assert_eq!(world.members[1].received[0].data, pattern(20_000, 1));
}

#[test]
fn without_a_way_nothing_leaves_and_nothing_is_lost() {
    let mut world = World::new(&[settings(), mute()], 21);
    let stranger = *world.members[1].core.own();
    let elsewhere = phix_proto::message::Recipient::new(
        *stranger.identity(),
        *stranger.encryption(),
        crate::keyfile::KeyKind::Identity.public(&[99; 32]),
    );
    let recipient = elsewhere.unwrap();
    let outgoing = Outgoing::Message { recipient, data: b"x".to_vec(), reply_surbs: 0 };
    world.members[0].core.send(outgoing, None, Time::ZERO).unwrap();
    world.run(passes, |members| members[0].departures.len() >= 200);
    // The stream goes on with cover meanwhile.
    let core = &world.members[0].core;
    assert_eq!((core.queued(), core.counters().sent_fragments), (1, 0));
    assert!(core.counters().no_route >= 2);
}

#[test]
fn a_lane_is_closed_and_its_length_told() {
    let mut world = World::new(&[settings(), mute()], 22);
    let recipient = *world.members[1].core.own();
    let core = &mut world.members[0].core;
    for _ in 0..3 {
        let data = pattern(4000, 0);
        let outgoing = Outgoing::Message { recipient, data, reply_surbs: 0 };
        core.send(outgoing, Some(5), Time::ZERO).unwrap();
    }
    assert_eq!(core.waiting(Lane::Numbered(5)), 9);
    core.close_lane(5);
    assert_eq!((core.waiting(Lane::Numbered(5)), core.queued()), (0, 0));
    assert_eq!(core.events().count(), 3);
}

#[test]
fn the_queue_is_bounded() {
    let small = Settings { queue: 20, ..settings() };
    let mut world = World::new(&[small], 23);
    let core = &mut world.members[0].core;
    let recipient = *core.own();
    let outgoing = |len| Outgoing::Message { recipient, data: vec![0; len], reply_surbs: 0 };
    assert!(core.has_room(&outgoing(1_000_000)), "a long message has room when it is alone");
    for _ in 0..20 {
        assert!(core.has_room(&outgoing(1)));
        core.send(outgoing(1), None, Time::ZERO).unwrap();
    }
    assert!(!core.has_room(&outgoing(1)));
}

#[test]
fn what_nobody_sent_is_counted_and_changes_nothing() {
    let mut world = World::new(&[settings()], 24);
    let mut rng = ChaCha20Rng::seed_from_u64(24);
    let core = &mut world.members[0].core;
    for len in (0..60).chain([386, 1643, 2048, 40_000]) {
        let mut payload = vec![0; len];
        rng.fill_bytes(&mut payload);
        core.arrive(&mut payload, Time::ZERO);
    }
    let counters = *core.counters();
    // Of the length of an acknowledgement anything is one, of a fragment that is not there.
    assert_eq!(counters.received_unreadable + counters.acknowledged_other, 64);
    assert_eq!(core.events().count(), 0);
}

#[test]
fn who_was_cut_off_starts_anew() {
    let mut world = World::new(&[settings()], 25);
    let later = Time::ZERO.after(Span::from_millis(100_000));
    let core = &mut world.members[0].core;
    core.resume(later);
    assert!(core.depart(later).is_none());
    assert!(core.deadline() > later);
}
