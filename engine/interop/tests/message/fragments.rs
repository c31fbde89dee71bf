//! Messages are padded and cut at the same places, and put together from each other's pieces.

use nym_sphinx::chunking::fragment::Fragment as StockFragment;
use nym_sphinx::message::NymMessage;
use nym_sphinx::receiver::{MessageReceiver, SphinxMessageReceiver};
use phix_engine::units::Time;
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{
    Assembled, Assembler, AssemblyLimits, Fragment, Link, Message, fragment_room, packets_needed,
    split, unpad,
};
use rand::seq::SliceRandom;

use crate::world::{Client, GATEWAYS, data, rng, stock_size};

/// Lengths at which the number of fragments or of sets changes, and their neighbours.
fn awkward_lengths(size: PacketSize) -> Vec<usize> {
    let (plain, link) = (fragment_room(size) - 7, 3);
    let set = 255 * plain;
    let edges = [
        0,
        1,
        plain,
        2 * plain,
        254 * plain,
        set,
        set - link + plain - link,
        2 * (set - link),
        2 * (set - link) + plain,
        3 * set - 4 * link,
        3 * set - 4 * link + plain,
    ];
    // The kind of the message and the byte behind it count, too.
    let near = edges.iter().flat_map(|edge| (0..6).map(move |before| edge.saturating_sub(before)));
    near.chain(edges.iter().map(|edge| edge + 1)).collect()
}

fn stock_fragments(len: usize, size: PacketSize) -> Vec<StockFragment> {
    let message = NymMessage::new_plain(data(len));
    Client::new(1, GATEWAYS[0]).preparer(1).pad_and_split_message(message, stock_size(size))
}

fn our_fragments(len: usize, size: PacketSize) -> Vec<Fragment> {
    split(Message::Plain(data(len)).encode(), size, &mut rng(2))
}

/// All that is not a random number.
fn shape(total: u8, position: u8, previous: bool, next: bool) -> (u8, u8, bool, bool) {
    (total, position, previous, next)
}

#[test]
fn messages_are_cut_where_the_stock_software_cuts_them() {
    for size in [PacketSize::Regular, PacketSize::Extended8] {
        for len in awkward_lengths(size) {
            let (ours, stock) = (our_fragments(len, size), stock_fragments(len, size));
            assert_eq!(ours.len(), stock.len(), "{len} bytes");
            assert_eq!(packets_needed(len + 1, size), ours.len(), "{len} bytes");
            for (ours, stock) in ours.iter().zip(stock) {
                let previous = matches!(ours.link(), Some(Link::Previous(_)));
                let next = matches!(ours.link(), Some(Link::Next(_)));
                let stock_links = (
                    stock.previous_fragments_set_id().is_some(),
                    stock.next_fragments_set_id().is_some(),
                );
                assert_eq!(
                    shape(ours.total(), ours.id().position(), previous, next),
                    shape(
                        stock.total_fragments(),
                        stock.current_fragment(),
                        stock_links.0,
                        stock_links.1
                    ),
                );
                assert_eq!(ours.payload(), stock.payload());
            }
        }
    }
}

#[test]
fn fragments_cross_both_ways_in_any_order() {
    for len in [0, 1, 1595, 1596, 5000, 100_000, 1 << 20] {
        let mut ours = our_fragments(len, PacketSize::Regular);
        ours.shuffle(&mut rng(3));
        let mut receiver = SphinxMessageReceiver::new();
        let mut complete = None;
        for fragment in &ours {
            let mut bytes = Vec::new();
            fragment.write(&mut bytes);
            assert_eq!(bytes.len(), fragment.encoded_len());
            assert_eq!(Fragment::parse(&bytes), Ok(fragment.clone()));
            let stock = StockFragment::try_from_bytes(&bytes).unwrap();
            assert_eq!(stock.fragment_identifier().to_bytes(), fragment.id().to_bytes());
            assert!(complete.is_none());
            complete = receiver.insert_new_fragment(stock).unwrap();
        }
        let (NymMessage::Plain(message), _) = complete.expect("all fragments are there") else {
            panic!("it is a plain message");
        };
        assert!(message == data(len));

        let mut stock = stock_fragments(len, PacketSize::Regular);
        stock.shuffle(&mut rng(4));
        let mut assembler = Assembler::new(AssemblyLimits::default());
        let count = stock.len();
        for (at, fragment) in stock.into_iter().enumerate() {
            let fragment = Fragment::parse(&fragment.into_bytes()).unwrap();
            match assembler.insert(fragment, Time::ZERO) {
                Assembled::Complete(padded) => {
                    assert_eq!(at + 1, count);
                    let message = Message::parse(&unpad(padded).unwrap());
                    assert!(matches!(message, Ok(Message::Plain(text)) if text == data(len)));
                }
                other => assert_eq!((other, at + 1 < count), (Assembled::Waiting, true)),
            }
        }
        assert_eq!(assembler.bytes(), 0);
    }
}

/// Every header of seven or ten bytes with awkward fields is read alike.
#[test]
fn headers_are_read_or_refused_alike() {
    let sets = [0_u32, 1, 5, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0x8000_0005, 0xffff_ffff];
    let counts = [0, 1, 2, 254, 255];
    let (mut read, mut refused) = (0, 0);
    for (set, total, position, other, len) in itertools(&sets, &counts) {
        let mut bytes = set.to_be_bytes().to_vec();
        bytes.extend([total, position]);
        bytes.extend(other.to_be_bytes());
        bytes.extend(b"payload");
        bytes.truncate(len);
        let (ours, stock) = (Fragment::parse(&bytes), StockFragment::try_from_bytes(&bytes));
        assert_eq!(ours.is_ok(), stock.is_ok(), "{bytes:?}: {ours:?}, {stock:?}");
        match (ours, stock) {
            (Ok(ours), Ok(stock)) => {
                assert_eq!(ours.payload(), stock.payload());
                assert_eq!(ours.id().to_bytes(), stock.fragment_identifier().to_bytes());
                read += 1;
            }
            _ => refused += 1,
        }
    }
    assert!(read > 50 && refused > 1000, "{read} read, {refused} refused");
}

fn itertools(sets: &[u32], counts: &[u8]) -> Vec<(u32, u8, u8, u32, usize)> {
    let mut all = Vec::new();
    for &set in sets {
        for &total in counts {
            for &position in counts {
                for &other in sets {
                    all.extend([6, 7, 9, 10, 17].map(|len| (set, total, position, other, len)));
                }
            }
        }
    }
    all
}
