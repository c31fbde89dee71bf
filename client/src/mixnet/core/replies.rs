//! Reply SURBs: those that this client has given away, and those that others gave to it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use chacha20::ChaCha20Rng;
use phix_engine::units::{Span, Time};
use phix_proto::message::{Recipient, ReplyKey, ReplySurb, SenderTag};

use super::outbox::Key;
use super::stocks::Place;

/// Keys of blocks given away that are remembered, at most.
const KEYS_MAX: usize = 1 << 16;

/// How long they are (nym-client-core-config-types 2.0.0); nodes forget the route's keys earlier.
const KEY_AGE: Span = Span::from_millis(24 * 3600 * 1000);

/// Recipients for whom a pseudonym is kept, and senders whose blocks are, at most.
const PEERS_MAX: usize = 4096;

/// Blocks kept of one sender, at most.
const BLOCKS_MAX: usize = 200;

/// Blocks that are asked for at a time.
const ASK: std::ops::RangeInclusive<u32> = 10..=50;

/// Blocks that are kept for asking: a request can be lost, as can a fragment when all have gone,
/// and without a block there is no way to ask for more.
const RESERVE: usize = 3;

/// How long to wait before asking again.
const ASK_AGAIN: Span = Span::from_millis(10_000);

/// How long an answer waits for blocks before it is given up.
const PATIENCE: Span = Span::from_millis(5 * 60 * 1000);

/// What can be done about a fragment of an answer.
pub(super) enum Turn {
    /// Send it with this block.
    Send(ReplySurb),
    /// Ask for so many more blocks, with this one; then ask here about the fragment again: it may
    /// go all the same. If the first one only ever asked, it would never go.
    Ask(ReplySurb, u32),
    /// It waits for more blocks.
    Wait,
    /// There is nobody to answer.
    Nobody,
}

/// Blocks of somebody who can be answered.
struct Sender {
    blocks: VecDeque<ReplySurb>,
    /// Blocks that have come so far.
    given: usize,
    asked: Option<Time>,
    /// Fragments that wait for blocks, and since when.
    parked: VecDeque<Key>,
    parked_since: Time,
    used: Time,
}

/// A block that was given away.
pub(super) struct Given {
    /// What reads the packet that it brings.
    pub(super) key: ReplyKey,
    /// Where it stands in a stock, if it is of one.
    pub(super) place: Option<Place>,
}

pub(super) struct Replies {
    keys: HashMap<[u8; 32], Given>,
    keys_by_age: VecDeque<(Time, [u8; 32])>,
    pseudonyms: HashMap<Recipient, (SenderTag, Time)>,
    senders: HashMap<SenderTag, Sender>,
}

impl Replies {
    pub(super) fn new() -> Self {
        Self {
            keys: HashMap::new(),
            keys_by_age: VecDeque::new(),
            pseudonyms: HashMap::new(),
            senders: HashMap::new(),
        }
    }

    /// The name by which `recipient` knows this client; a new one if there is none.
    pub(super) fn pseudonym(
        &mut self,
        recipient: &Recipient,
        now: Time,
        rng: &mut ChaCha20Rng,
    ) -> SenderTag {
        if !self.pseudonyms.contains_key(recipient) && self.pseudonyms.len() >= PEERS_MAX {
            let oldest = self.pseudonyms.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(recipient, _)| *recipient) {
                self.pseudonyms.remove(&oldest);
            }
        }
        let entry = self.pseudonyms.entry(*recipient);
        let (tag, used) = entry.or_insert_with(|| (SenderTag::random(rng), now));
        *used = now;
        *tag
    }

    /// The name by which `recipient` knows this client already. Who has none and asks for blocks is
    /// not answered: they would learn that two names are one client.
    pub(super) fn known_pseudonym(&self, recipient: &Recipient) -> Option<SenderTag> {
        self.pseudonyms.get(recipient).map(|(tag, _)| *tag)
    }

    /// Remembers the keys of blocks that are given away; `first` is where the first of them stands
    /// in their stock.
    pub(super) fn give_away(&mut self, blocks: &[ReplySurb], first: Option<Place>, now: Time) {
        for (block, after) in blocks.iter().zip(0..) {
            let digest = block.key().digest();
            let place = first.map(|place| Place { number: place.number + after, ..place });
            self.keys.insert(digest, Given { key: block.key().clone(), place });
            self.keys_by_age.push_back((now, digest));
        }
        while self.keys_by_age.len() > KEYS_MAX {
            self.forget_oldest_key();
        }
    }

    /// Takes the key of a reply out: a block serves once.
    pub(super) fn take_key(&mut self, digest: &[u8; 32]) -> Option<Given> {
        self.keys.remove(digest)
    }

    fn forget_oldest_key(&mut self) {
        if let Some((_, digest)) = self.keys_by_age.pop_front() {
            self.keys.remove(&digest);
        }
    }

    /// Keeps blocks of a sender; gives back the fragments that waited for them.
    pub(super) fn receive(
        &mut self,
        tag: SenderTag,
        blocks: Vec<ReplySurb>,
        now: Time,
    ) -> VecDeque<Key> {
        if !self.senders.contains_key(&tag) && self.senders.len() >= PEERS_MAX {
            let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.used);
            if let Some(oldest) = oldest.map(|(tag, _)| *tag) {
                self.senders.remove(&oldest);
            }
        }
        let sender = match self.senders.entry(tag) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Sender {
                blocks: VecDeque::new(),
                given: 0,
                asked: None,
                parked: VecDeque::new(),
                parked_since: now,
                used: now,
            }),
        };
        if blocks.is_empty() {
            return VecDeque::new();
        }
        sender.used = now;
        sender.asked = None;
        sender.given = sender.given.saturating_add(blocks.len());
        // Newer blocks go through keys that nodes have for longer.
        sender.blocks.extend(blocks);
        let surplus = sender.blocks.len().saturating_sub(BLOCKS_MAX);
        sender.blocks.drain(..surplus);
        std::mem::take(&mut sender.parked)
    }

    /// Whether `tag` is somebody who can be answered.
    pub(super) fn knows(&self, tag: &SenderTag) -> bool {
        self.senders.contains_key(tag)
    }

    /// What to do about the fragment `key` of an answer to `tag`, of which `demand` fragments are
    /// held. A few blocks are kept for asking, but of somebody who gave no more than that, all are
    /// used if the answer fits them.
    pub(super) fn turn(&mut self, tag: &SenderTag, key: Key, demand: usize, now: Time) -> Turn {
        let Some(sender) = self.senders.get_mut(tag) else { return Turn::Nobody };
        sender.used = now;
        let fits = sender.given <= RESERVE && sender.blocks.len() >= demand;
        let enough = fits || sender.blocks.len() >= demand.saturating_add(RESERVE);
        let may_ask = sender.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN);
        if !enough
            && may_ask
            && let Some(block) = sender.blocks.pop_front()
        {
            sender.asked = Some(now);
            let wanted = demand.saturating_add(RESERVE);
            let missing = wanted.saturating_sub(sender.blocks.len());
            let amount = u32::try_from(missing).unwrap_or(u32::MAX);
            return Turn::Ask(block, amount.clamp(*ASK.start(), *ASK.end()));
        }
        let spare = if enough { 0 } else { RESERVE };
        if sender.blocks.len() > spare
            && let Some(block) = sender.blocks.pop_front()
        {
            return Turn::Send(block);
        }
        park(sender, key, now);
        Turn::Wait
    }

    /// Lets go of what is too old. Gives fragments that should have another turn, because it is
    /// time to ask again, and those that have waited in vain.
    pub(super) fn expire(&mut self, now: Time) -> (Vec<Key>, Vec<Key>) {
        while self.keys_by_age.front().is_some_and(|(made, _)| now.since(*made) >= KEY_AGE) {
            self.forget_oldest_key();
        }
        let (mut again, mut given_up) = (Vec::new(), Vec::new());
        for sender in self.senders.values_mut().filter(|sender| !sender.parked.is_empty()) {
            if now.since(sender.parked_since) >= PATIENCE {
                given_up.extend(sender.parked.drain(..));
            } else if sender.asked.is_none_or(|asked| now.since(asked) >= ASK_AGAIN)
                && !sender.blocks.is_empty()
            {
                again.extend(sender.parked.drain(..));
            }
        }
        (again, given_up)
    }
}

fn park(sender: &mut Sender, key: Key, now: Time) {
    if sender.parked.is_empty() {
        sender.parked_since = now;
    }
    sender.parked.push_back(key);
}

#[cfg(test)]
mod tests {
    use phix_engine::wire::frame::KeyRotation;

    use super::*;

    fn blocks(count: u8) -> Vec<ReplySurb> {
        let block = |key: u8| {
            let mut bytes = vec![key; 16 + 348 + 32 + 4 * 16];
            bytes[16 + 348] = 4;
            ReplySurb::parse(&bytes, KeyRotation::Unknown).unwrap()
        };
        (0..count).map(block).collect()
    }

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    /// No request is answered: there are several, ten seconds apart, and then the answer is given
    /// up.
    #[test]
    fn requests_that_are_lost_are_made_again() {
        let (mut replies, tag) = (Replies::new(), SenderTag::from_bytes([1; 16]));
        replies.receive(tag, blocks(10), at(0));
        let mut waiting: VecDeque<Key> = (0..20).map(|at| [0, 0, 0, 0, at]).collect();
        let (mut asked, mut sent, mut given_up) = (Vec::new(), 0, 0);
        for second in 0..400 {
            while let Some(key) = waiting.pop_front() {
                match replies.turn(&tag, key, 20 - sent, at(second)) {
                    Turn::Send(_) => sent += 1,
                    Turn::Ask(_, amount) => {
                        asked.push((second, amount));
                        waiting.push_front(key);
                    }
                    Turn::Wait => {}
                    Turn::Nobody => panic!("the sender is known"),
                }
            }
            let (again, in_vain) = replies.expire(at(second));
            waiting.extend(again);
            given_up += in_vain.len();
        }
        assert_eq!(sent + asked.len(), 10, "every block was used once");
        let seconds: Vec<_> = asked.iter().map(|(second, _)| *second).collect();
        assert_eq!(seconds, [0, 11, 22, 33]);
        assert!(asked.iter().all(|(_, amount)| ASK.contains(amount)));
        assert_eq!(sent + given_up, 20);
    }

    /// All fragments have gone, and then one after another turns out to be lost.
    #[test]
    fn blocks_are_left_to_ask_for_more_when_fragments_are_lost() {
        let (mut replies, tag) = (Replies::new(), SenderTag::from_bytes([1; 16]));
        replies.receive(tag, blocks(20), at(0));
        for left in (1..=12).rev() {
            assert!(matches!(replies.turn(&tag, [0; 5], left, at(0)), Turn::Send(_)));
        }
        for _ in 0..5 {
            assert!(matches!(replies.turn(&tag, [0; 5], 1, at(2)), Turn::Send(_)));
        }
        assert!(matches!(replies.turn(&tag, [0; 5], 1, at(2)), Turn::Ask(..)));
        assert!(matches!(replies.turn(&tag, [0; 5], 1, at(2)), Turn::Wait));
        assert!(matches!(replies.turn(&tag, [1; 5], 2, at(2)), Turn::Wait));
        assert_eq!(replies.receive(tag, blocks(10), at(3)).len(), 2);
        assert!(matches!(replies.turn(&tag, [0; 5], 2, at(3)), Turn::Send(_)));
    }

    /// The first fragment is not left behind while later ones go, whenever more blocks come.
    #[test]
    fn who_asks_goes_first_all_the_same() {
        let (mut replies, tag) = (Replies::new(), SenderTag::from_bytes([1; 16]));
        replies.receive(tag, blocks(10), at(0));
        assert!(matches!(replies.turn(&tag, [0; 5], 50, at(0)), Turn::Ask(..)));
        assert!(matches!(replies.turn(&tag, [0; 5], 50, at(0)), Turn::Send(_)));
    }

    #[test]
    fn blocks_that_are_enough_are_all_used() {
        let (mut replies, tag) = (Replies::new(), SenderTag::from_bytes([1; 16]));
        replies.receive(tag, blocks(3), at(0));
        for left in (1..=3).rev() {
            assert!(matches!(replies.turn(&tag, [0; 5], left, at(0)), Turn::Send(_)));
        }
    }
}
