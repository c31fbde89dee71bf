//! Repliable messages and what comes back by their reply blocks.

use nym_sphinx::acknowledgements::identifier::recover_identifier;
use nym_sphinx::anonymous_replies::requests::{
    AnonymousSenderTag, RepliableMessage, RepliableMessageContent, ReplyMessage,
    ReplyMessageContent,
};
use nym_sphinx::anonymous_replies::{ReplySurbWithKeyRotation, SurbEncryptionKey};
use nym_sphinx::message::{NymMessage, PaddedMessage};
use nym_sphinx::params::{PacketSize as StockSize, PacketType};
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use phix_engine::sphinx::build::Hop;
use phix_engine::units::Time;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    Answer, Assembled, Assembler, AssemblyLimits, Message, Purpose, Received, Repliable, Reply,
    ReplySurb, SenderTag, SurbFormat, receive, split, unpad,
};

use crate::world::{Client, GATEWAYS, World, data, rng, rotation, route};

const SIZE: PacketSize = PacketSize::Regular;

fn clients() -> (Client, Client) {
    (Client::new(1, GATEWAYS[0]), Client::new(2, GATEWAYS[1]))
}

/// `count` blocks that lead to `client` at the first gateway.
fn surbs(client: &Client, format: SurbFormat, count: usize) -> Vec<ReplySurb> {
    let way = route(GATEWAYS[0]);
    let routes: Vec<&[Hop]> = vec![&way; count];
    client.packer(format).surbs(&routes, rotation(), &mut rng(5)).unwrap()
}

/// What stock clients make of `message`.
fn stock(message: &Message) -> NymMessage {
    let mut padded = message.encode();
    padded.extend([1, 0, 0]);
    PaddedMessage::new_reconstructed(padded).remove_padding().unwrap()
}

/// What we make of a stock client's message.
fn ours(client: &Client, message: NymMessage) -> Message {
    let fragments = client.preparer(3).pad_and_split_message(message, StockSize::RegularPacket);
    let mut padded = Vec::new();
    fragments.iter().for_each(|fragment| padded.extend(fragment.payload()));
    Message::parse(&unpad(padded).unwrap()).unwrap()
}

fn stock_surbs(world: &World, client: &Client, count: usize) -> Vec<ReplySurbWithKeyRotation> {
    client.preparer(4).generate_reply_surbs(count, &world.topology).unwrap()
}

fn bytes_of(surbs: &[ReplySurb]) -> Vec<Vec<u8>> {
    let bytes = surbs.iter().map(|surb| {
        let mut bytes = Vec::new();
        surb.write(&mut bytes);
        bytes
    });
    bytes.collect()
}

fn stock_bytes_of(surbs: &[ReplySurbWithKeyRotation]) -> Vec<Vec<u8>> {
    surbs.iter().map(|surb| surb.inner_reply_surb().to_bytes()).collect()
}

#[test]
fn repliable_messages_are_read_by_stock_clients() {
    let (alice, _) = clients();
    let sender = SenderTag::random(&mut rng(6));
    for purpose in [Purpose::Data(data(77)), Purpose::AdditionalSurbs, Purpose::Heartbeat] {
        for count in [0, 1, 10] {
            let surbs = surbs(&alice, SurbFormat::Seeds, count);
            let message = Repliable { sender, purpose: purpose.clone(), surbs };
            let expected = bytes_of(&message.surbs);
            let NymMessage::Repliable(read) = stock(&Message::Repliable(message)) else {
                panic!("it is repliable")
            };
            assert_eq!(read.sender_tag.to_bytes(), sender.to_bytes());
            let surbs = match (read.content, &purpose) {
                (RepliableMessageContent::DataV2(content), Purpose::Data(data)) => {
                    assert_eq!(content.message, *data);
                    content.reply_surbs
                }
                (RepliableMessageContent::AdditionalSurbsV2(content), Purpose::AdditionalSurbs) => {
                    content.reply_surbs
                }
                (RepliableMessageContent::HeartbeatV2(content), Purpose::Heartbeat) => {
                    content.additional_reply_surbs
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(stock_bytes_of(&surbs), expected);
            let rotations = surbs.iter().map(|surb| surb.key_rotation() as u8);
            assert!(rotations.eq(surbs.iter().map(|_| rotation().byte())));
        }
    }
}

#[test]
fn repliable_messages_of_stock_clients_are_read() {
    let (world, (alice, _)) = (World::new(), clients());
    let tag = AnonymousSenderTag::from_bytes([5; 16]);
    for count in [0, 1, 10] {
        let of_data = |surbs| RepliableMessage::new_data(data(3000), tag, surbs);
        let of_surbs = |surbs| RepliableMessage::new_additional_surbs(tag, surbs);
        for (is_data, make) in [
            (true, &of_data as &dyn Fn(Vec<ReplySurbWithKeyRotation>) -> RepliableMessage),
            (false, &of_surbs),
        ] {
            let surbs = stock_surbs(&world, &alice, count);
            let expected = stock_bytes_of(&surbs);
            let Message::Repliable(read) = ours(&alice, NymMessage::new_repliable(make(surbs)))
            else {
                panic!("it is repliable")
            };
            assert_eq!(read.sender.to_bytes(), [5; 16]);
            assert_eq!(bytes_of(&read.surbs), expected);
            assert!(read.surbs.iter().all(|surb| surb.rotation() == rotation()));
            match read.purpose {
                Purpose::Data(read) => assert!(is_data && read == data(3000)),
                Purpose::AdditionalSurbs => assert!(!is_data),
                Purpose::Heartbeat => panic!("nobody sent one"),
            }
        }
    }
}

#[test]
fn replies_and_requests_for_blocks_cross_both_ways() {
    let (alice, _) = clients();
    let answer = Message::Reply(Reply::Data(data(50)));
    let NymMessage::Reply(read) = stock(&answer) else { panic!("it is a reply") };
    assert!(matches!(read.content, ReplyMessageContent::Data { message } if message == data(50)));
    let sent = NymMessage::new_reply(ReplyMessage::new_data_message(data(50)));
    let read = ours(&alice, sent);
    assert!(matches!(read, Message::Reply(Reply::Data(message)) if message == data(50)));

    let wish = Reply::SurbRequest { recipient: alice.recipient, amount: 300 };
    let NymMessage::Reply(read) = stock(&Message::Reply(wish.clone())) else {
        panic!("it is a reply")
    };
    let ReplyMessageContent::SurbRequest { recipient, amount } = read.content else {
        panic!("it is a request")
    };
    assert_eq!((recipient.to_bytes(), amount), (alice.recipient.to_bytes(), 300));
    let sent = NymMessage::new_additional_surbs_request(alice.stock_recipient, 300);
    assert!(matches!(ours(&alice, sent), Message::Reply(read) if read == wish));
}

/// Bob answers by blocks that a stock Alice made; she finds the key by its digest.
#[test]
fn stock_blocks_carry_our_answers() {
    let (world, (alice, bob)) = (World::new(), clients());
    let fragments = split(Message::Reply(Reply::Data(data(9000))).encode(), SIZE, &mut rng(7));
    let blocks = stock_surbs(&world, &alice, fragments.len());
    let keys: Vec<SurbEncryptionKey> = blocks.iter().map(|block| *block.encryption_key()).collect();
    let message = RepliableMessage::new_data(vec![], [5; 16].into(), blocks);
    let Message::Repliable(read) = ours(&alice, NymMessage::new_repliable(message)) else {
        panic!("it is repliable")
    };
    let back = route(GATEWAYS[1]);
    let answers: Vec<_> = fragments
        .iter()
        .zip(read.surbs)
        .map(|(fragment, surb)| Answer { fragment, surb, back: &back })
        .collect();
    let packets = bob.packer(SurbFormat::Seeds).answer(&answers, &mut rng(8)).unwrap();

    let mut receiver = SphinxMessageReceiver::new();
    let mut complete = None;
    for (packet, key) in packets.iter().zip(keys) {
        let arrived = world.walk_ours(packet);
        assert_eq!(arrived.destination, *alice.recipient.identity());
        let (mut message, ack) = world.at_gateway(SIZE, &arrived);
        let (digest, content) = message.split_at_mut(32);
        assert_eq!(digest, key.compute_digest().as_slice());
        receiver.recover_plaintext_from_reply(content, key).unwrap();
        let fragment = receiver.recover_fragment(content).unwrap();
        complete = receiver.insert_new_fragment(fragment).unwrap();
        let id = recover_identifier(&bob.stock_ack, &ack.plaintext).unwrap();
        assert_eq!(id, packet.id.to_bytes());
    }
    let Some((NymMessage::Reply(reply), _)) = complete else { panic!("it is complete") };
    assert!(
        matches!(reply.content, ReplyMessageContent::Data { message } if message == data(9000))
    );
}

/// A stock Bob answers by blocks that our Alice made.
#[test]
fn our_blocks_carry_stock_answers() {
    let (world, (alice, bob)) = (World::new(), clients());
    let mut preparer = bob.preparer(12);
    let answer = NymMessage::new_reply(ReplyMessage::new_data_message(data(9000)));
    let fragments = preparer.pad_and_split_message(answer, StockSize::RegularPacket);
    let made = surbs(&alice, SurbFormat::Seeds, fragments.len());
    let keys: Vec<_> = made.iter().map(|surb| surb.key().clone()).collect();
    let sender = SenderTag::random(&mut rng(6));
    let message = Repliable { sender, purpose: Purpose::AdditionalSurbs, surbs: made };
    let NymMessage::Repliable(read) = stock(&Message::Repliable(message)) else {
        panic!("it is repliable")
    };
    let RepliableMessageContent::AdditionalSurbsV2(content) = read.content else {
        panic!("it brings blocks")
    };

    let mut assembler = Assembler::new(AssemblyLimits::default());
    let mut complete = Assembled::Waiting;
    for (fragment, block) in fragments.into_iter().zip(content.reply_surbs) {
        let prepared = preparer
            .prepare_reply_chunk_for_sending(
                fragment,
                &world.topology,
                &bob.stock_ack,
                block,
                PacketType::Mix,
            )
            .unwrap();
        let packet = prepared.mix_packet;
        assert_eq!(packet.key_rotation() as u8, rotation().byte());
        let arrived = world.walk(packet.next_hop_address(), packet.into_packet());
        assert_eq!(arrived.destination, *alice.recipient.identity());
        let (mut message, _) = world.at_gateway(SIZE, &arrived);
        let find = |digest: &[u8; 32]| keys.iter().find(|key| key.digest() == *digest).cloned();
        let received = receive(&alice.keys, &mut message, find);
        let Ok(Received::ReplyFragment(fragment)) = received else { panic!("{received:?}") };
        complete = assembler.insert(fragment, Time::ZERO);
    }
    let Assembled::Complete(padded) = complete else { panic!("it is complete") };
    let message = Message::parse(&unpad(padded).unwrap()).unwrap();
    assert!(matches!(message, Message::Reply(Reply::Data(text)) if text == data(9000)));
}
