//! Connections as a weapon: many of them, dead ones, slow ones, ones that talk nonsense.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use crate::common::{is_closed, stream, until};
use crate::scene::{connect_from, each, stays_open};

const ATTACKER: [u8; 4] = [127, 6, 6, 6];

fn attack(server: &phix_io::Server, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| connect_from(ATTACKER, server).unwrap()).collect()
}

/// Makes the coming close of the connection a reset.
fn reset_at_close(connection: &TcpStream) {
    SockRef::from(connection).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn one_source_has_its_share_of_connections_over_all_shards() {
    each(
        |config| (config.shards, config.peers.connections) = (2, 4),
        |scene| {
            let server = &scene.server;
            let mut kept = attack(server, 4);
            until(server, "accepted", |counters| counters.accepted == 4);
            let mut refused = attack(server, 20);
            assert!(refused.iter_mut().all(is_closed));
            until(server, "refused", |counters| counters.refused_source == 20);
            // Another source is let in; and a connection that ends makes room for one of its own.
            scene.passes(2);
            kept.pop();
            let mut tries = 0;
            while !stays_open(&mut connect_from(ATTACKER, server).unwrap()) {
                tries += 1;
                assert!(tries < 100, "the place of a connection that went stays taken");
            }
        },
        |report| assert_eq!(report.counters.refused, 0),
    );
}

#[test]
fn a_flood_of_connections_leaves_the_others_their_places() {
    const FLOOD: usize = 3_000;
    each(
        |config| config.peers.connections = 64,
        |scene| {
            let server = &scene.server;
            let mut kept: Vec<TcpStream> = Vec::new();
            for part in 0..FLOOD / 100 {
                // Some are kept open on this side, some closed, some reset.
                let more = attack(server, 100);
                match part % 3 {
                    0 => kept.extend(more),
                    1 => drop(more),
                    _ => more.iter().for_each(reset_at_close),
                }
            }
            scene.passes(20);
            until(server, "refused", |counters| counters.refused_source >= 900);
        },
        |report| assert_eq!(report.counters.refused, 0),
    );
}

#[test]
fn connections_that_never_send_or_send_a_byte_at_a_time_cost_their_places_only() {
    each(
        |_| (),
        |scene| {
            let server = &scene.server;
            let frames = stream(&scene.packets(1));
            let silent = attack(server, 200);
            let mut slow = attack(server, 200);
            until(server, "accepted", |counters| counters.accepted == 400);
            // One byte per connection and round: no packet, and no slot before the header is there.
            for byte in &frames[..40] {
                slow.iter_mut().for_each(|one| one.write_all(&[*byte]).unwrap());
                scene.passes(1);
            }
            assert_eq!(server.counters().dropped_total(), 0);
            drop(silent);
            drop(slow);
            until(server, "cut off", |counters| counters.truncated == 200);
        },
        |report| assert_eq!(report.counters.forwarded, 40),
    );
}

#[test]
fn garbage_closes_its_own_connections_and_reaches_no_packet() {
    each(
        |_| (),
        |scene| {
            let server = &scene.server;
            // A byte that begins no frame; a header that names no size; and a good header before
            // bytes that no key opens.
            let good = stream(&scene.packets(1));
            let forged = [&good[..5], &vec![0x5a; good.len() - 5]].concat();
            let noise = vec![0x5a; 4096];
            for round in 0..50 {
                let mut bad = attack(server, 4);
                for (one, bytes) in bad.iter_mut().zip([&noise, &noise, &forged, &forged]) {
                    // The server may have closed before it has read everything.
                    let _ = one.write_all(bytes);
                }
                let seen = 2 * (round + 1);
                until(server, "malformed", |counters| counters.malformed == seen);
                until(server, "forged", |counters| counters.dropped_total() == seen);
                if round % 10 == 0 {
                    scene.passes(5);
                }
            }
        },
        |report| assert_eq!(report.counters.forwarded, 25),
    );
}

#[test]
fn peers_that_reset_or_vanish_in_the_middle_leave_nothing_behind() {
    each(
        |config| config.shard.capacity = [0, 64, 0, 0, 0],
        |scene| {
            let server = &scene.server;
            let frames = stream(&scene.packets(1));
            for round in 1..=20_u64 {
                for mut one in attack(server, 50) {
                    one.write_all(&frames[..frames.len() / 2]).unwrap();
                    reset_at_close(&one);
                }
                // All of their slots are needed for the next round.
                let ended = |counters: &phix_engine::counters::Counters| {
                    counters.accepted == 50 * round + round - 1
                };
                until(server, "accepted", ended);
                let free = std::time::Instant::now();
                while server.held().total() > 0 {
                    assert!(free.elapsed() < Duration::from_secs(10));
                }
                scene.passes(1);
            }
        },
        |report| assert_eq!(report.counters.forwarded, 20),
    );
}
