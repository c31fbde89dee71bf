//! The table of next hops: queues, quotas, who makes room for whom.

use core::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::units::Span;

fn address(port: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port as u16 + 1)
}

/// Each in a place of its own: the strangers' quota is all that bounds them.
fn host(number: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number as u32)), 1789)
}

const fn at(nanos: usize) -> Time {
    Time::from_nanos(nanos as u64)
}

fn put(egress: &mut Egress, port: usize, slot: u32, now: Time) -> Result<PeerId, Slot> {
    let id = egress.expect(address(port), now).expect("room for a peer");
    egress.queue(id, Slot::from_raw(slot), now).map(|()| id)
}

#[test]
fn queues_are_first_in_first_out_and_take_turns() {
    let mut egress = Egress::new(8);
    for slot in 0..6 {
        put(&mut egress, slot % 2, slot as u32, Time::ZERO).unwrap();
    }
    let mut order = Vec::new();
    while let Some((id, to)) = egress.rotate() {
        order.push((to.port() - 1, egress.pop(id).unwrap().into_raw()));
    }
    assert_eq!(order, [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4), (1, 5)]);
    assert!(egress.is_empty());
}

#[test]
fn the_newest_is_refused_when_a_queue_is_full() {
    let mut egress = Egress::new(PEER_QUEUE_MAX + 1);
    for slot in 0..PEER_QUEUE_MAX {
        put(&mut egress, 0, slot as u32, Time::ZERO).unwrap();
    }
    let refused = put(&mut egress, 0, PEER_QUEUE_MAX as u32, Time::ZERO).unwrap_err();
    assert_eq!(refused.into_raw() as usize, PEER_QUEUE_MAX);
    assert_eq!(egress.len(), PEER_QUEUE_MAX);
}

#[test]
fn patience_ends() {
    let mut egress = Egress::new(2);
    let later = Time::ZERO.after(Span::from_millis(1));
    put(&mut egress, 0, 0, Time::ZERO).unwrap();
    put(&mut egress, 1, 1, later).unwrap();
    let limit = egress.next_expiry().unwrap();
    assert_eq!(limit, Time::ZERO.after(EGRESS_PATIENCE));
    assert_eq!(egress.pop_expired(limit).unwrap().into_raw(), 0);
    assert_eq!(egress.pop_expired(limit), None);
    assert_eq!(egress.next_expiry(), Some(later.after(EGRESS_PATIENCE)));
    Slot::into_raw(egress.pop_expired(later.after(EGRESS_PATIENCE)).unwrap());
}

#[test]
fn a_full_table_replaces_only_idle_peers() {
    let mut egress = Egress::new(PEERS_MAX);
    egress.set_next_hops(NextHops::only((0..=PEERS_MAX).map(address)));
    for port in 0..PEERS_MAX {
        egress.expect(address(port), at(port)).unwrap();
    }
    let one_more = address(PEERS_MAX);
    assert_eq!(egress.expect(one_more, Time::ZERO), Err(DropReason::PeerTableFull));
    egress.forget(PeerId::from_index(5));
    assert_eq!(egress.expect(one_more, Time::ZERO).unwrap().index(), 5);
}

#[test]
fn strangers_push_out_strangers_and_no_one_else() {
    let mut egress = Egress::new(PEERS_MAX);
    let honest: Vec<PeerId> = (0..PEERS_MAX - STRANGERS_MAX)
        .map(|number| {
            let id = egress.expect(host(number), at(number)).unwrap();
            egress.forget(id);
            egress.reached(id);
            id
        })
        .collect();
    // Strangers with packets on the way hold their places, but those of their own kind only.
    let first = PEERS_MAX;
    for number in first..first + STRANGERS_MAX {
        egress.expect(host(number), at(number)).unwrap();
    }
    let more = egress.expect(host(first + STRANGERS_MAX), at(9_000));
    assert_eq!(more, Err(DropReason::PeerTableFull));
    // The one that was idle for the longest goes first.
    for number in [first + 7, first + 3] {
        let id = egress.expect(host(number), at(number)).unwrap();
        (0..2).for_each(|_| egress.forget(id));
    }
    egress.expect(host(9_001), at(9_001)).unwrap();
    assert!(!egress.by_address.contains_key(&host(first + 3)));
    assert!(egress.by_address.contains_key(&host(first + 7)));
    for (number, id) in honest.into_iter().enumerate() {
        assert_eq!(egress.expect(host(number), at(9_002)), Ok(id), "{number} kept its place");
    }
}

#[test]
fn a_stranger_that_is_reached_makes_room_for_another() {
    let mut egress = Egress::new(PEERS_MAX);
    for number in 0..PEERS_MAX {
        let id = egress.expect(host(number), at(number)).unwrap();
        egress.reached(id);
        egress.reached(id);
    }
    assert_eq!(egress.expect(host(PEERS_MAX), at(0)), Err(DropReason::PeerTableFull));
    egress.forget(PeerId::from_index(8));
    assert_eq!(egress.expect(host(PEERS_MAX), at(0)).unwrap().index(), 8);
    assert_eq!(egress.strangers, 1);
}

#[test]
fn the_ports_of_one_host_share_a_quota() {
    let v6 = |net: u64, number: usize| -> SocketAddr {
        let bits = u128::from(net) << 64 | number as u128;
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), number as u16 + 1)
    };
    let mut egress = Egress::new(PEERS_MAX);
    for number in 0..PEERS_PER_HOST_MAX {
        for to in [address(number), v6(1 << 61, number)] {
            let id = egress.expect(to, at(number)).unwrap();
            egress.reached(id);
        }
    }
    for one_more in [address(PEERS_PER_HOST_MAX), v6(1 << 61, 5_000)] {
        assert_eq!(egress.expect(one_more, at(9)), Err(DropReason::PeerTableFull));
    }
    assert!(egress.expect(v6((1 << 61) + 1, 0), at(9)).is_ok(), "the network beside it");
    let id = egress.expect(address(3), at(9)).unwrap();
    (0..2).for_each(|_| egress.forget(id));
    assert_eq!(egress.expect(address(PEERS_PER_HOST_MAX), at(9)), Ok(id));
}

#[test]
fn what_is_not_on_the_list_is_unknown_also_if_it_was_used_before() {
    let mut egress = Egress::new(4);
    let old = put(&mut egress, 0, 0, Time::ZERO).unwrap();
    egress.set_next_hops(NextHops::only([address(1)]));
    let unknown = Err(DropReason::NextHopUnknown);
    assert_eq!(egress.expect(address(0), Time::ZERO), unknown);
    assert!(egress.expect(address(1), Time::ZERO).is_ok());
    // What is on its way still goes.
    assert_eq!(egress.rotate(), Some((old, address(0))));
    assert_eq!(egress.pop(old).unwrap().into_raw(), 0);
}
