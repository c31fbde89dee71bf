//! Packets with their acknowledgements, and cover.

use nym_sphinx::acknowledgements::identifier::recover_identifier;
use nym_sphinx::chunking::fragment::COVER_FRAG_ID;
use nym_sphinx::cover::{generate_loop_cover_packet, is_cover};
use nym_sphinx::message::NymMessage;
use nym_sphinx::params::PacketType;
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use phix_engine::units::{Span, Time};
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    Assembled, Assembler, AssemblyLimits, FragmentId, Message, Received, Routes, SurbFormat,
    Unreadable, receive, unpad,
};

use crate::world::{Client, GATEWAYS, World, data, rng, rotation, route, stock_size};

const SIZES: [PacketSize; 4] =
    [PacketSize::Regular, PacketSize::Extended8, PacketSize::Extended16, PacketSize::Extended32];

fn clients() -> (Client, Client) {
    (Client::new(1, GATEWAYS[0]), Client::new(2, GATEWAYS[1]))
}

#[test]
fn our_packets_are_delivered_read_and_acknowledged() {
    let (world, (alice, bob)) = (World::new(), clients());
    for format in [SurbFormat::Seeds, SurbFormat::Keys] {
        for (size, len) in SIZES.into_iter().flat_map(|size| [(size, 0), (size, 100_000)]) {
            let packets = alice.send(&Message::Plain(data(len)), size, format, &bob);
            let mut receiver = SphinxMessageReceiver::new();
            let mut complete = None;
            for packet in &packets {
                // 1 + 2 + 3 ms either way; the gateways do not delay.
                assert_eq!(packet.delays, Span::from_millis(12));
                let arrived = world.walk_ours(packet);
                assert_eq!(arrived.at, "192.0.2.5:1789".parse().unwrap());
                assert_eq!(arrived.destination, *bob.recipient.identity());
                let (mut message, ack) = world.at_gateway(size, &arrived);
                let plain = receiver
                    .recover_plaintext_from_regular_packet(&bob.stock_encryption, &mut message)
                    .unwrap();
                let fragment = receiver.recover_fragment(plain).unwrap();
                complete = receiver.insert_new_fragment(fragment).unwrap();

                assert_eq!(ack.destination, *alice.recipient.identity());
                assert_eq!(ack.at, "192.0.2.4:1789".parse().unwrap());
                let id = recover_identifier(&alice.stock_ack, &ack.plaintext).unwrap();
                assert_eq!(id, packet.id.to_bytes());
            }
            let Some((NymMessage::Plain(message), _)) = complete else { panic!("it is complete") };
            assert!(message == data(len));
        }
    }
}

#[test]
fn stock_packets_are_read_and_their_acknowledgements_recognised() {
    let (world, (alice, bob)) = (World::new(), clients());
    for (size, len) in SIZES.into_iter().flat_map(|size| [(size, 0), (size, 100_000)]) {
        let message = NymMessage::new_plain(data(len));
        let packets = alice.send_stock(&world, message, stock_size(size), &bob);
        let mut assembler = Assembler::new(AssemblyLimits::default());
        let mut complete = Assembled::Waiting;
        for (first_hop, packet, id) in packets {
            let arrived = world.walk(first_hop, packet);
            let (mut message, mut ack) = world.at_gateway(size, &arrived);
            let received = receive(&bob.keys, &mut message, |_| None);
            let Ok(Received::Fragment(fragment)) = received else { panic!("{received:?}") };
            complete = assembler.insert(fragment, Time::ZERO);

            let acknowledged = receive(&alice.keys, &mut ack.plaintext, |_| None);
            assert_eq!(acknowledged, Ok(Received::Ack(FragmentId::from_bytes(id).unwrap())));
        }
        let Assembled::Complete(padded) = complete else { panic!("it is complete") };
        let message = Message::parse(&unpad(padded).unwrap()).unwrap();
        assert!(matches!(message, Message::Plain(text) if text == data(len)));
    }
}

#[test]
fn who_a_packet_is_not_for_reads_nothing() {
    let (world, (alice, bob)) = (World::new(), clients());
    let packets =
        alice.send(&Message::Plain(data(9)), PacketSize::Regular, SurbFormat::Seeds, &bob);
    let arrived = world.walk_ours(&packets[0]);
    let (mut message, _) = world.at_gateway(PacketSize::Regular, &arrived);
    let read = receive(&alice.keys, &mut message, |_| None);
    assert!(matches!(read, Err(Unreadable::Fragment(_))), "{read:?}");
}

#[test]
fn cover_is_cover_to_both() {
    let (world, alice) = (World::new(), Client::new(1, GATEWAYS[0]));
    let way = route(GATEWAYS[0]);
    let routes = Routes { there: &way, back: &way, rotation: rotation() };
    for size in SIZES {
        let mut packer = alice.packer(SurbFormat::Seeds);
        let packets = packer.cover(size, &[routes; 3], &mut rng(1)).unwrap();
        assert_eq!(packets.len(), 3);
        for packet in packets {
            let arrived = world.walk_ours(&packet);
            assert_eq!(packet.bytes.len(), size.packet_len());
            let (message, ack) = world.at_gateway(size, &arrived);
            let receiver = SphinxMessageReceiver::new();
            let plain = receiver
                .recover_plaintext_from_regular_packet(
                    &alice.stock_encryption,
                    &mut message.clone(),
                )
                .unwrap()
                .to_vec();
            assert!(is_cover(&plain));
            let id = recover_identifier(&alice.stock_ack, &ack.plaintext).unwrap();
            assert_eq!(id, COVER_FRAG_ID.to_bytes());
        }

        let mean = std::time::Duration::from_millis(20);
        let stock = generate_loop_cover_packet(
            &mut rng(2),
            &world.topology,
            &alice.stock_ack,
            &alice.stock_recipient,
            mean,
            mean,
            stock_size(size),
            PacketType::Mix,
        )
        .unwrap();
        let arrived = world.walk(stock.next_hop_address(), stock.into_packet());
        let (mut message, mut ack) = world.at_gateway(size, &arrived);
        assert_eq!(receive(&alice.keys, &mut message, |_| None), Ok(Received::Cover));
        let acknowledged = receive(&alice.keys, &mut ack.plaintext, |_| None);
        assert_eq!(acknowledged, Ok(Received::Ack(FragmentId::COVER)));
    }
}
