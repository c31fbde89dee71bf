//! Making packets ahead of their time.
//!
//! Cryptography costs least in batches, and a packet that lies ready leaves on time. So fragments
//! and cover are packed a few at a time, in the pauses of the streams.

use std::collections::HashMap;

use phix_engine::units::{Span, Time};
use phix_proto::message::{Answer, Message, Packet, Parcel, Reply, Routes, split};

use super::replies::Turn;
use super::routes::Way;
use super::{Cargo, Core, Key, Ready, SIZE, To};

/// Fragments that lie ready, at most. What is ready cannot be overtaken by what comes later.
const FRAGMENTS: usize = 8;

/// Packets of cover that are made at a time.
const COVERS: usize = 16;

/// How many are left when more are made.
const COVERS_LOW: usize = 2;

impl Core {
    /// Makes packets for the next turns, if there are few. To be called when time does not matter;
    /// [`Core::depart`] makes what is missing then.
    pub fn prepare(&mut self, now: Time) {
        if self.ready.is_empty() {
            self.pack_fragments(now);
        }
        if self.covers.len() <= COVERS_LOW {
            self.pack_covers();
        }
    }

    /// The next packet with a fragment that is still to be sent.
    pub(super) fn take_fragment(&mut self, now: Time) -> Option<Packet> {
        loop {
            match self.ready.pop_front() {
                Some(Ready::Once(packet)) => return Some(packet),
                Some(Ready::Fragment(key, packet)) if self.outbox.holds(&key) => {
                    let deadline = now.after(self.ack_wait(&key, packet.delays));
                    match self.outbox.sent(key, deadline) {
                        1 => self.counters.sent_fragments += 1,
                        _ => self.counters.sent_again += 1,
                    }
                    return Some(packet);
                }
                // It was acknowledged, or its message given up, after it was packed.
                Some(Ready::Fragment(..)) => {}
                None => {
                    self.pack_fragments(now);
                    if self.ready.is_empty() {
                        return None;
                    }
                }
            }
        }
    }

    /// How long to wait for the acknowledgement of a packet that asks for `delays`.
    fn ack_wait(&self, key: &Key, delays: Span) -> Span {
        let answer = self.outbox.parcel(key).is_some_and(|cargo| matches!(cargo.to, To::Sender(_)));
        // The way of an answer is known to the maker of its block only; it has three mixes.
        let there = if answer { 3 * self.timing.hop_delay.as_nanos() } else { 0 };
        let expected = delays.as_nanos().saturating_add(there) as f64;
        let wait = (expected * self.timing.ack_wait_factor) as u64;
        Span::from_nanos(wait.saturating_add(self.timing.ack_wait_extra.as_nanos()))
    }

    /// A packet of cover; none while there is no way.
    pub(super) fn take_cover(&mut self) -> Option<Packet> {
        if self.covers.is_empty() {
            self.pack_covers();
        }
        self.covers.pop()
    }

    fn pack_covers(&mut self) {
        let own = *self.own().gateway();
        let ways = (0..COVERS - self.covers.len()).map_while(|_| self.draw_ways(&own));
        let ways: Vec<_> = ways.collect();
        let routes: Vec<_> = ways.iter().map(|ways| self.routes(ways)).collect();
        let made = self.packer.cover(SIZE, &routes, &mut self.rng);
        self.covers.extend(made.expect("ways have four hops, as the builder wants"));
    }

    fn pack_fragments(&mut self, now: Time) {
        self.supply(now);
        let mut forward = Vec::new();
        let mut answers = Vec::new();
        let mut demands = HashMap::new();
        // One look at each: what is put back waits for the next time.
        while forward.len() + answers.len() < FRAGMENTS
            && let Some((key, cargo)) = self.outbox.next()
        {
            let cargo = cargo.clone();
            match cargo.to {
                To::Client(recipient) => match self.draw_ways(recipient.gateway()) {
                    Some(ways) => forward.push((key, cargo, recipient, ways)),
                    None => self.no_way(key, now),
                },
                To::Sender(tag) => {
                    let outbox = &self.outbox;
                    let demand = *demands.entry(tag).or_insert_with(|| {
                        outbox.count_waiting(|other| other.to == To::Sender(tag))
                    });
                    let mut turn = self.replies.turn(&tag, key, demand, now);
                    if let Turn::Ask(surb, amount) = turn {
                        let request = self.surb_request(amount);
                        answers.push((None, request, surb));
                        turn = self.replies.turn(&tag, key, demand, now);
                    }
                    match turn {
                        Turn::Send(surb) => answers.push((Some(key), cargo.fragment, surb)),
                        Turn::Ask(..) | Turn::Wait => {}
                        Turn::Nobody => self.nobody(key),
                    }
                }
            }
        }
        self.pack_forward(&forward);
        self.pack_answers(answers, now);
    }

    fn pack_forward(&mut self, forward: &[(Key, Cargo, phix_proto::message::Recipient, [Way; 2])]) {
        let parcels: Vec<_> = forward
            .iter()
            .map(|(_, cargo, recipient, ways)| Parcel {
                fragment: &cargo.fragment,
                recipient,
                routes: self.routes(ways),
            })
            .collect();
        let packets = self.packer.pack(&parcels, &mut self.rng);
        let packets = packets.expect("ways have four hops, as the builder wants");
        let keys = forward.iter().map(|(key, ..)| *key);
        self.ready.extend(keys.zip(packets).map(|(key, packet)| Ready::Fragment(key, packet)));
    }

    fn pack_answers(
        &mut self,
        answers: Vec<(Option<Key>, phix_proto::message::Fragment, phix_proto::message::ReplySurb)>,
        now: Time,
    ) {
        let own = *self.own().gateway();
        let mut backs: Vec<Way> = Vec::new();
        let mut kept = Vec::new();
        for (key, fragment, surb) in answers {
            match self.router.back(&own, &mut self.rng) {
                Some(back) => {
                    backs.push(back);
                    kept.push((key, fragment, surb));
                }
                None => key.into_iter().for_each(|key| self.no_way(key, now)),
            }
        }
        let keys: Vec<_> = kept.iter().map(|(key, ..)| *key).collect();
        let fragments: Vec<_> = kept.iter().map(|(_, fragment, _)| fragment.clone()).collect();
        let surbs = kept.into_iter().map(|(_, _, surb)| surb);
        let answers: Vec<_> = surbs
            .zip(&fragments)
            .zip(&backs)
            .map(|((surb, fragment), back)| Answer { fragment, surb, back })
            .collect();
        let packets = self.packer.answer(&answers, &mut self.rng);
        let packets = packets.expect("ways have four hops, as the builder wants");
        self.ready.extend(keys.into_iter().zip(packets).map(|(key, packet)| match key {
            Some(key) => Ready::Fragment(key, packet),
            None => Ready::Once(packet),
        }));
    }

    /// The one fragment of a request for more blocks.
    fn surb_request(&mut self, amount: u32) -> phix_proto::message::Fragment {
        let request = Reply::SurbRequest { recipient: *self.own(), amount };
        let mut fragments = split(Message::Reply(request).encode(), SIZE, &mut self.rng);
        fragments.pop().expect("a message has a fragment at least")
    }

    /// The topology has no way for a fragment now; it is tried again as if it had been lost.
    fn no_way(&mut self, key: Key, now: Time) {
        self.counters.no_route += 1;
        self.outbox.sent(key, now.after(self.timing.ack_wait_extra));
    }

    /// The one whom an answer is for was forgotten meanwhile.
    fn nobody(&mut self, key: Key) {
        if let Some(message) = self.outbox.message_of(&key) {
            self.outbox.withdraw(message);
            self.report([super::Outcome::GivenUp(message)]);
        }
    }

    /// A way to a client of `gateway`, and one for the acknowledgement.
    fn draw_ways(&mut self, gateway: &[u8; 32]) -> Option<[Way; 2]> {
        let own = *self.own().gateway();
        let there = self.router.there(gateway, &mut self.rng)?;
        Some([there, self.router.back(&own, &mut self.rng)?])
    }

    fn routes<'a>(&self, [there, back]: &'a [Way; 2]) -> Routes<'a> {
        Routes { there, back, rotation: self.router.rotation() }
    }
}
