//! Reply blocks: what whoever got one makes with it is the packet that its maker could have built,
//! and that one is held against sphinx-packet's in `building`.

use phix_engine::crypto::tiers;
use phix_engine::limits::BATCH_MAX;
use phix_engine::sphinx::build::{Builder, Fault, Reply, Request, Unbuildable, hop_key_len};
use phix_engine::wire::geometry::{HEADER, MAX_HOPS, PacketSize};
use rand::RngExt;

use crate::building::{Plan, build};
use crate::world::World;

/// Header and payload keys.
type Block = ([u8; HEADER], Vec<u8>);

fn blocks(builder: &mut Builder, requests: &[Request<'_>]) -> Vec<Block> {
    let len = |request: &Request<'_>| request.route.len() * hop_key_len(request.version);
    let mut blocks: Vec<Block> =
        requests.iter().map(|request| ([0x5a; HEADER], vec![0x5a; len(request)])).collect();
    let (mut headers, mut keys): (Vec<_>, Vec<_>) =
        blocks.iter_mut().map(|(header, keys)| (header, &mut keys[..])).unzip();
    builder.build_blocks(requests, &mut headers, &mut keys).unwrap();
    blocks
}

fn try_reply(
    builder: &mut Builder,
    replies: &[Reply<'_>],
    sizes: &[PacketSize],
) -> (Vec<Vec<u8>>, Result<(), Unbuildable>) {
    let mut packets: Vec<_> = sizes.iter().map(|size| vec![0xa5; size.packet_len()]).collect();
    let mut rows: Vec<_> = packets.iter_mut().map(|packet| &mut packet[..]).collect();
    let result = builder.build_replies(replies, &mut rows);
    (packets, result)
}

#[test]
fn a_reply_is_the_packet_that_the_maker_of_the_block_could_have_built() {
    let mut world = World::new(2100);
    for tier in tiers() {
        let mut builder = Builder::new(tier);
        for round in 0..12 {
            let count = if round == 0 { BATCH_MAX } else { world.rng.random_range(1..=BATCH_MAX) };
            let plans: Vec<Plan> = (0..count).map(|_| Plan::any(&mut world)).collect();
            let requests: Vec<_> = plans.iter().map(Plan::request).collect();
            let blocks = blocks(&mut builder, &requests);
            let replies: Vec<_> = plans
                .iter()
                .zip(&blocks)
                .map(|(plan, (header, keys))| Reply {
                    header,
                    version: plan.version,
                    keys,
                    message: &plan.message,
                })
                .collect();
            let sizes: Vec<_> = plans.iter().map(|plan| plan.size).collect();
            let (packets, result) = try_reply(&mut builder, &replies, &sizes);
            result.unwrap();
            assert!(packets == build(&mut builder, &plans), "{} differs", tier.name);
        }
    }
}

/// Replies come from strangers' blocks: whatever their keys are, nothing is written and no panic.
#[test]
fn a_reply_that_cannot_be_is_named_and_nothing_is_written() {
    let mut builder = Builder::new(tiers()[0]);
    let header = [1; HEADER];
    let good = Reply { header: &header, version: 259, keys: &[7; 64], message: b"answer" };
    let long = [0; 22];
    for (version, len, message, fault) in [
        (259, 0, &b""[..], Fault::RouteLength),
        (259, 15, b"", Fault::RouteLength),
        (259, 65, b"", Fault::RouteLength),
        (259, 16 * (MAX_HOPS + 1), b"", Fault::RouteLength),
        (258, 16, b"", Fault::RouteLength),
        (258, 192 * (MAX_HOPS + 1), b"", Fault::RouteLength),
        (259, 16, &long, Fault::MessageTooLong),
    ] {
        let keys = vec![7; len];
        let bad = Reply { header: &header, version, keys: &keys, message };
        let (packets, result) = try_reply(&mut builder, &[good, bad], &[PacketSize::Ack; 2]);
        assert_eq!(result, Err(Unbuildable { lane: 1, fault }), "{version}, {len} bytes of keys");
        assert!(packets.iter().flatten().all(|&byte| byte == 0xa5));
    }
    let (_, result) = try_reply(&mut builder, &[good], &[PacketSize::Ack]);
    assert_eq!(result, Ok(()));
}
