//! Padding a message and cutting it into fragments.
//!
//! The message is followed by the byte 1 and zeros, so that the fragments are all full; how many
//! there are follows from its length alone. Facts from nym-sphinx and nym-sphinx-chunking 2.0.0.

use phix_engine::wire::geometry::PacketSize;
use rand_core::CryptoRng;

use super::fragment::{Fragment, LINKED_HEADER, Link, SET_MAX, SetId, UNLINKED_HEADER};
use super::payload::ACK_PART;
use super::seal::KEY_PART;

/// Ends a message; zeros follow.
const END: u8 = 1;

/// Bytes that a fragment may have in a packet of `size`.
///
/// # Panics
/// If it is the size of acknowledgements, which carry no fragment.
pub const fn fragment_room(size: PacketSize) -> usize {
    assert!(!matches!(size, PacketSize::Ack), "an acknowledgement carries no fragment");
    size.message_len() - ACK_PART - KEY_PART
}

/// Packets of `size` that a message of `len` bytes takes, without what its kind adds.
pub fn packets_needed(len: usize, size: PacketSize) -> usize {
    Plan::of(len, fragment_room(size)).fragments()
}

/// Pads `message`, which is an encoded [`Message`](super::Message), and cuts it into fragments for
/// packets of `size`, in order.
pub fn split<R: CryptoRng + ?Sized>(
    mut message: Vec<u8>,
    size: PacketSize,
    rng: &mut R,
) -> Vec<Fragment> {
    let room = fragment_room(size);
    let plan = Plan::of(message.len(), room);
    message.push(END);
    message.resize(plan.padded_len(), 0);

    let sets = distinct(plan.sets, rng);
    let mut fragments = Vec::with_capacity(plan.fragments());
    let mut rest = &message[..];
    for (at, set) in sets.iter().enumerate() {
        let last = at + 1 == sets.len();
        let total = if last { plan.last_set } else { SET_MAX };
        for position in 1..=total {
            let link = match position {
                1 if at > 0 => Some(Link::Previous(sets[at - 1])),
                SET_MAX if !last => Some(Link::Next(sets[at + 1])),
                _ => None,
            };
            let header = if link.is_some() { LINKED_HEADER } else { UNLINKED_HEADER };
            let (payload, after) = rest.split_at(room - header);
            rest = after;
            fragments.push(Fragment {
                set: *set,
                total: total as u8,
                position: position as u8,
                link,
                payload: payload.to_vec(),
            });
        }
    }
    debug_assert!(rest.is_empty());
    fragments
}

/// The message in front of its padding; none if there is no byte that ends it.
pub fn unpad(mut padded: Vec<u8>) -> Option<Vec<u8>> {
    let end = padded.iter().rposition(|&byte| byte == END)?;
    padded.truncate(end);
    Some(padded)
}

/// How a message is cut.
struct Plan {
    room: usize,
    sets: usize,
    /// Fragments of the last set.
    last_set: usize,
}

impl Plan {
    /// For a message of `len` bytes before its padding.
    fn of(len: usize, room: usize) -> Self {
        let (len, plain, linked) = (len + 1, room - UNLINKED_HEADER, room - LINKED_HEADER);
        let unlinked_set = SET_MAX * plain;
        if len <= unlinked_set {
            return Self { room, sets: 1, last_set: len.div_ceil(plain) };
        }
        // The first and the last set have one link, those between them two.
        let link = LINKED_HEADER - UNLINKED_HEADER;
        let (outer, inner) = (unlinked_set - link, unlinked_set - 2 * link);
        let between = len.saturating_sub(2 * outer).div_ceil(inner);
        let rest = len - outer - between * inner;
        let last_set = 1 + rest.saturating_sub(linked).div_ceil(plain);
        Self { room, sets: between + 2, last_set }
    }

    fn fragments(&self) -> usize {
        (self.sets - 1) * SET_MAX + self.last_set
    }

    fn padded_len(&self) -> usize {
        let links = 2 * (self.sets - 1);
        self.fragments() * (self.room - UNLINKED_HEADER) - links * (LINKED_HEADER - UNLINKED_HEADER)
    }
}

/// `count` numbers of sets, all different, for a set cannot be its own neighbour.
fn distinct<R: CryptoRng + ?Sized>(count: usize, rng: &mut R) -> Vec<SetId> {
    let mut sets = Vec::with_capacity(count);
    while sets.len() < count {
        let set = SetId::random(rng);
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}
