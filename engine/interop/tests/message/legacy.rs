//! Blocks with payload keys, as clients up to 1.21.6 make them unless told otherwise.

use nym_sphinx::NymPacket;
use phix_engine::units::Time;
use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    Answer, Assembled, Assembler, AssemblyLimits, Message, Purpose, Received, Repliable, Reply,
    ReplySurb, SenderTag, SurbFormat, receive, split, unpad,
};
use sphinx_packet_06::header::delays::Delay;
use sphinx_packet_06::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet_06::surb::{SURB, SURBMaterial};
use sphinx_packet_06::version::X25519_WITH_EXPLICIT_PAYLOAD_KEYS_VERSION;

use crate::world::{Client, GATEWAYS, World, data, rng, rotation, route};

const SIZE: PacketSize = PacketSize::Regular;
/// Key, header, first hop, four payload keys.
const BLOCK: usize = 16 + 348 + 32 + 4 * 192;

/// A block that sphinx-packet 0.6.0 makes, behind the key of a reply.
fn legacy_block(client: &Client) -> Vec<u8> {
    let nodes = route(GATEWAYS[0])
        .map(|hop| Node::new(NodeAddressBytes::from_bytes(hop.address), hop.public_key.into()));
    let delays = vec![Delay::new_from_nanos(5); nodes.len()];
    let destination = DestinationAddressBytes::from_bytes(*client.recipient.identity());
    let destination = Destination::new(destination, [0; 16]);
    let material = SURBMaterial::new(nodes.to_vec(), delays, destination)
        .with_version(X25519_WITH_EXPLICIT_PAYLOAD_KEYS_VERSION);
    [vec![0x2a; 16], material.construct_SURB().unwrap().to_bytes()].concat()
}

#[test]
fn blocks_with_keys_carry_answers() {
    let (world, alice) = (World::new(), Client::new(1, GATEWAYS[0]));
    let bob = Client::new(2, GATEWAYS[1]);
    let block = legacy_block(&alice);
    assert_eq!(block.len(), BLOCK);
    let surb = ReplySurb::parse(&block, rotation()).unwrap();
    assert_eq!((surb.format(), surb.hops()), (SurbFormat::Keys, 4));
    let mut written = Vec::new();
    surb.write(&mut written);
    assert_eq!(written, block);

    let key = surb.key().clone();
    let fragments = split(Message::Reply(Reply::Data(data(99))).encode(), SIZE, &mut rng(1));
    let answer = Answer { fragment: &fragments[0], surb, back: &route(GATEWAYS[1]) };
    let packets = bob.packer(SurbFormat::Keys).answer(&[answer], &mut rng(2)).unwrap();
    let arrived = world.walk_ours(&packets[0]);
    let (mut message, _) = world.at_gateway(SIZE, &arrived);
    let received = receive(&alice.keys, &mut message, |digest| {
        assert_eq!(*digest, key.digest());
        Some(key)
    });
    let Ok(Received::ReplyFragment(fragment)) = received else { panic!("{received:?}") };
    let mut assembler = Assembler::new(AssemblyLimits::default());
    let Assembled::Complete(padded) = assembler.insert(fragment, Time::ZERO) else {
        panic!("it is complete")
    };
    let message = Message::parse(&unpad(padded).unwrap()).unwrap();
    assert!(matches!(message, Message::Reply(Reply::Data(text)) if text == data(99)));
}

#[test]
fn our_blocks_with_keys_are_used_by_the_older_software() {
    let (world, alice) = (World::new(), Client::new(1, GATEWAYS[0]));
    let way = route(GATEWAYS[0]);
    let surbs = alice.packer(SurbFormat::Keys).surbs(&[&way], rotation(), &mut rng(3)).unwrap();
    let mut bytes = Vec::new();
    surbs[0].write(&mut bytes);
    assert_eq!(bytes.len(), BLOCK);
    let block = SURB::from_bytes(&bytes[16..]).unwrap();
    assert!(!block.uses_key_seeds());
    let (packet, first_hop) = block.use_surb(b"an answer", SIZE.payload_len()).unwrap();
    assert_eq!(*first_hop.as_bytes(), way[0].address);
    let packet = NymPacket::sphinx_from_bytes(&packet.to_bytes()).unwrap();
    let arrived = world.walk(surbs[0].first_hop(), packet);
    assert_eq!(arrived.destination, *alice.recipient.identity());
    assert_eq!(arrived.plaintext, b"an answer");
}

/// The layout of 1.21.6: a number of four bytes, and no word on hops or rotation.
#[test]
fn messages_with_such_blocks_have_the_older_layout() {
    let alice = Client::new(1, GATEWAYS[0]);
    let way = route(GATEWAYS[0]);
    let mut packer = alice.packer(SurbFormat::Keys);
    let surbs = packer.surbs(&[&way, &way], KeyRotation::Unknown, &mut rng(4)).unwrap();
    let mut blocks = Vec::new();
    surbs.iter().for_each(|surb| surb.write(&mut blocks));
    for (kind, purpose) in
        [Purpose::Data(data(20)), Purpose::AdditionalSurbs, Purpose::Heartbeat].iter().enumerate()
    {
        let sender = SenderTag::from_bytes([9; 16]);
        let message = Repliable { sender, purpose: purpose.clone(), surbs: surbs.clone() };
        let encoded = Message::Repliable(message).encode();
        let mut expected = vec![1];
        expected.extend([9; 16]);
        expected.extend([kind as u8, 0, 0, 0, 2]);
        expected.extend(&blocks);
        if let Purpose::Data(data) = purpose {
            expected.extend(data);
        }
        assert_eq!(encoded, expected);
        let Ok(Message::Repliable(read)) = Message::parse(&encoded) else {
            panic!("it is repliable")
        };
        assert_eq!((read.sender, read.purpose, read.surbs.len()), (sender, purpose.clone(), 2));
        assert!(read.surbs.iter().all(|surb| surb.rotation() == KeyRotation::Unknown));
    }
}
