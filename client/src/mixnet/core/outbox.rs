//! What waits to be sent, and what was sent and is not acknowledged yet.
//!
//! The outbox decides about order and repetition only. It knows neither what a parcel holds nor
//! when the next packet leaves; whoever sends takes the [`next`](Outbox::next) parcel when the
//! stream gives it a turn, and says by [`sent`](Outbox::sent) until when to wait for the
//! acknowledgement.
//!
//! Parcels of one lane leave in order, and lanes take turns, so that a short message does not wait
//! behind a long one.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use phix_engine::units::Time;

/// What an acknowledgement names: the identifier of a fragment, as it stands on the wire.
pub(super) type Key = [u8; 5];

/// A message that was handed in; numbered in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub(super) u64);

/// Messages that share a lane leave one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A lane of one message.
    Own(MessageId),
    /// A lane that an application numbered.
    Numbered(u64),
    /// The lane of the reply SURBs that others are kept supplied with.
    Supplies,
}

struct Flight<P> {
    parcel: P,
    message: MessageId,
    sends: u32,
    /// When it is sent again. Nothing while it waits for its turn.
    deadline: Option<Time>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of its parcels were acknowledged.
    Arrived(MessageId),
    /// One of its parcels was sent as often as allowed, and never acknowledged.
    GivenUp(MessageId),
}

/// Parcels that wait or are under way.
pub(super) struct Outbox<P> {
    flights: HashMap<Key, Flight<P>>,
    left: HashMap<MessageId, u32>,
    lanes: HashMap<Lane, VecDeque<Key>>,
    turns: VecDeque<Lane>,
    again: VecDeque<Key>,
    deadlines: BinaryHeap<Reverse<(Time, Key)>>,
    capacity: usize,
    sends_max: Option<u32>,
}

impl<P> Outbox<P> {
    /// Room for `capacity` parcels, each of which is sent `retransmissions` times more at most.
    pub(super) fn new(capacity: usize, retransmissions: Option<u32>) -> Self {
        Self {
            flights: HashMap::new(),
            left: HashMap::new(),
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            again: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            capacity,
            sends_max: retransmissions.map(|count| count.saturating_add(1)),
        }
    }

    /// Whether so many parcels more can be taken. A message that is longer than the whole outbox is
    /// taken when nothing else is there.
    pub(super) fn has_room(&self, parcels: usize) -> bool {
        self.flights.is_empty() || self.flights.len().saturating_add(parcels) <= self.capacity
    }

    /// Whether a parcel waits for its turn.
    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty() || !self.again.is_empty()
    }

    /// Parcels of a lane that wait for their first turn.
    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, VecDeque::len)
    }

    /// Parcels that are held, waiting and under way.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether a parcel of this identifier is held.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.flights.contains_key(key)
    }

    /// Takes the parcels of a message.
    ///
    /// # Panics
    /// If an identifier is held already; whoever draws them looks at [`Outbox::holds`].
    pub(super) fn post(
        &mut self,
        message: MessageId,
        lane: Lane,
        parcels: impl IntoIterator<Item = (Key, P)>,
    ) {
        let queue = self.lanes.entry(lane).or_default();
        if queue.is_empty() {
            self.turns.push_back(lane);
        }
        let mut count = 0;
        for (key, parcel) in parcels {
            let flight = Flight { parcel, message, sends: 0, deadline: None };
            let before = self.flights.insert(key, flight);
            assert!(before.is_none(), "identifiers of parcels are drawn to be unused");
            queue.push_back(key);
            count += 1;
        }
        if queue.is_empty() {
            self.lanes.remove(&lane);
            self.turns.retain(|other| *other != lane);
        }
        *self.left.entry(message).or_default() += count;
    }

    /// The parcel whose turn it is: one to be sent again, or else the first of the next lane.
    pub(super) fn next(&mut self) -> Option<(Key, &P)> {
        let key = self.next_again().or_else(|| self.next_fresh())?;
        self.flights.get(&key).map(|flight| (key, &flight.parcel))
    }

    fn next_again(&mut self) -> Option<Key> {
        while let Some(key) = self.again.pop_front() {
            if self.flights.contains_key(&key) {
                return Some(key);
            }
        }
        None
    }

    fn next_fresh(&mut self) -> Option<Key> {
        while let Some(lane) = self.turns.pop_front() {
            let Entry::Occupied(mut queue) = self.lanes.entry(lane) else { continue };
            let key = queue.get_mut().pop_front();
            if queue.get().is_empty() {
                queue.remove();
            } else {
                self.turns.push_back(lane);
            }
            if let Some(key) = key.filter(|key| self.flights.contains_key(key)) {
                return Some(key);
            }
        }
        None
    }

    /// A parcel that [`Outbox::next`] gave was not sent after all; it has another turn soon.
    pub(super) fn put_back(&mut self, key: Key) {
        if self.flights.get(&key).is_some_and(|flight| flight.deadline.is_none()) {
            self.again.push_back(key);
        }
    }

    /// How many of the parcels that are not under way are of a kind.
    pub(super) fn count_waiting(&self, kind: impl Fn(&P) -> bool) -> usize {
        let waiting = self.flights.values().filter(|flight| flight.deadline.is_none());
        waiting.filter(|flight| kind(&flight.parcel)).count()
    }

    /// The parcel of this identifier.
    pub(super) fn parcel(&self, key: &Key) -> Option<&P> {
        self.flights.get(key).map(|flight| &flight.parcel)
    }

    /// The message that a parcel belongs to.
    pub(super) fn message_of(&self, key: &Key) -> Option<MessageId> {
        self.flights.get(key).map(|flight| flight.message)
    }

    /// The parcel has left; without an acknowledgement until `deadline` it will be sent again. How
    /// often it has left by now.
    pub(super) fn sent(&mut self, key: Key, deadline: Time) -> u32 {
        let Some(flight) = self.flights.get_mut(&key) else { return 0 };
        flight.sends += 1;
        flight.deadline = Some(deadline);
        self.deadlines.push(Reverse((deadline, key)));
        flight.sends
    }

    /// The parcel has arrived. Says if that was the last one of its message.
    pub(super) fn acknowledged(&mut self, key: &Key) -> Option<Outcome> {
        let flight = self.flights.remove(key)?;
        let left = self.left.get_mut(&flight.message)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.left.remove(&flight.message);
        Some(Outcome::Arrived(flight.message))
    }

    /// When to call [`Outbox::expire`] at the latest.
    pub(super) fn deadline(&mut self) -> Option<Time> {
        while let Some(Reverse((time, key))) = self.deadlines.peek() {
            if self.flights.get(key).is_some_and(|flight| flight.deadline == Some(*time)) {
                return Some(*time);
            }
            self.deadlines.pop();
        }
        None
    }

    /// Puts what waited too long into the queue again; how many, and the messages that are given
    /// up.
    pub(super) fn expire(&mut self, now: Time) -> (u32, Vec<Outcome>) {
        let (mut again, mut given_up) = (0, Vec::new());
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let Some(Reverse((_, key))) = self.deadlines.pop() else { break };
            let flight = self.flights.get_mut(&key).expect("deadline() skips what is gone");
            flight.deadline = None;
            if self.sends_max.is_some_and(|most| flight.sends >= most) {
                let message = flight.message;
                self.withdraw(message);
                given_up.push(Outcome::GivenUp(message));
            } else {
                self.again.push_back(key);
                again += 1;
            }
        }
        (again, given_up)
    }

    /// Forgets a message and all of its parcels.
    pub(super) fn withdraw(&mut self, message: MessageId) {
        self.left.remove(&message);
        self.flights.retain(|_, flight| flight.message != message);
    }

    /// Drops the parcels of a lane that wait for their first turn, with their messages.
    pub(super) fn close(&mut self, lane: Lane) -> Vec<Outcome> {
        let keys = self.lanes.remove(&lane).unwrap_or_default();
        let flights = keys.iter().filter_map(|key| self.flights.get(key));
        let mut messages: Vec<_> = flights.map(|flight| flight.message).collect();
        messages.dedup();
        messages.iter().for_each(|message| self.withdraw(*message));
        messages.into_iter().map(Outcome::GivenUp).collect()
    }
}

#[cfg(test)]
mod tests {
    use phix_engine::units::Span;

    use super::*;

    const fn key(number: u8) -> Key {
        [number, 0, 0, 0, 0]
    }

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Span::from_millis(millis))
    }

    fn own(message: u64) -> (MessageId, Lane) {
        (MessageId(message), Lane::Own(MessageId(message)))
    }

    fn outbox(retransmissions: Option<u32>) -> Outbox<u8> {
        Outbox::new(10, retransmissions)
    }

    fn post(outbox: &mut Outbox<u8>, message: u64, keys: impl IntoIterator<Item = u8>) {
        let (id, lane) = own(message);
        outbox.post(id, lane, keys.into_iter().map(|number| (key(number), number)));
    }

    fn order(outbox: &mut Outbox<u8>) -> Vec<u8> {
        std::iter::from_fn(|| outbox.next().map(|(_, &number)| number)).collect()
    }

    #[test]
    fn lanes_take_turns_and_keep_their_order() {
        let mut outbox = outbox(None);
        post(&mut outbox, 1, 0..4);
        post(&mut outbox, 2, 4..5);
        let lane = Lane::Numbered(7);
        outbox.post(MessageId(3), lane, [(key(5), 5)]);
        outbox.post(MessageId(4), lane, [(key(6), 6)]);
        assert_eq!(outbox.waiting(lane), 2);
        assert_eq!(order(&mut outbox), [0, 4, 5, 1, 6, 2, 3]);
        assert!(outbox.lanes.is_empty() && outbox.turns.is_empty());
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_first() {
        let mut outbox = outbox(None);
        post(&mut outbox, 1, 0..3);
        let (first, _) = outbox.next().unwrap();
        outbox.sent(first, at(100));
        assert_eq!(outbox.deadline(), Some(at(100)));
        assert_eq!(outbox.expire(at(99)), (0, vec![]));
        assert_eq!(outbox.expire(at(100)), (1, vec![]));
        assert_eq!(outbox.deadline(), None);
        assert_eq!(order(&mut outbox), [0, 1, 2]);
        // An acknowledgement that comes while it waits for its second turn spares that turn.
        outbox.sent(first, at(200));
        outbox.expire(at(200));
        assert_eq!(outbox.acknowledged(&first), None);
        assert_eq!(outbox.acknowledged(&first), None);
        assert!(order(&mut outbox).is_empty());
        assert_eq!(outbox.acknowledged(&key(1)), None);
        assert_eq!(outbox.acknowledged(&key(2)), Some(Outcome::Arrived(MessageId(1))));
        assert_eq!((outbox.len(), outbox.left.len()), (0, 0));
    }

    #[test]
    fn an_old_deadline_does_not_count() {
        let mut outbox = outbox(None);
        post(&mut outbox, 1, 0..1);
        let (only, _) = outbox.next().unwrap();
        outbox.sent(only, at(100));
        outbox.expire(at(100));
        outbox.next().unwrap();
        outbox.sent(only, at(300));
        assert_eq!(outbox.deadline(), Some(at(300)));
        assert_eq!(outbox.acknowledged(&only), Some(Outcome::Arrived(MessageId(1))));
        assert_eq!(outbox.deadline(), None);
    }

    #[test]
    fn a_message_is_given_up_as_a_whole() {
        let mut outbox = outbox(Some(1));
        post(&mut outbox, 1, 0..2);
        for round in 1..=2u64 {
            let (first, _) = outbox.next().unwrap();
            outbox.sent(first, at(round * 100));
            let (again, gone) = outbox.expire(at(round * 100));
            assert_eq!(again, u32::from(round == 1));
            assert_eq!(gone.len(), usize::from(round == 2));
        }
        assert_eq!((outbox.len(), order(&mut outbox).len()), (0, 0));
    }

    #[test]
    fn room_is_bounded_and_a_long_message_still_gets_through() {
        let mut outbox = outbox(None);
        assert!(outbox.has_room(1000));
        post(&mut outbox, 1, 0..9);
        assert!(outbox.has_room(1) && !outbox.has_room(2));
        assert_eq!(outbox.close(own(1).1), [Outcome::GivenUp(MessageId(1))]);
        assert!(outbox.has_room(1000));
    }

    #[test]
    fn what_is_put_back_has_another_turn_unless_it_is_under_way() {
        let mut outbox = outbox(None);
        post(&mut outbox, 1, 0..3);
        let (first, _) = outbox.next().unwrap();
        let (second, _) = outbox.next().unwrap();
        assert_eq!(outbox.count_waiting(|&number| number < 2), 2);
        outbox.sent(second, at(100));
        assert_eq!(outbox.count_waiting(|&number| number < 2), 1);
        outbox.put_back(first);
        outbox.put_back(second);
        assert_eq!(order(&mut outbox), [0, 2]);
    }
}
