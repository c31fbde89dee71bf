//! What a client makes of what comes.

use phix_engine::units::Time;
use phix_proto::message::{
    Assembled, Fragment, FragmentId, Message, Purpose, Received, Repliable, Reply, receive, unpad,
};

use super::stocks::Place;
use super::{Core, Delivery, Event};

impl Core {
    /// Takes in what the gateway pushed; it is decrypted in place.
    pub fn arrive(&mut self, payload: &mut [u8], now: Time) {
        let replies = &mut self.replies;
        let mut place = None;
        let key_of = |digest: &[u8; 32]| {
            let given = replies.take_key(digest)?;
            place = given.place;
            Some(given.key)
        };
        let received = receive(&self.keys, payload, key_of);
        if let Some(place) = place {
            self.stocks.came_back(place);
        }
        match received {
            Ok(Received::Ack(id)) => self.acknowledged(id),
            Ok(Received::Cover) => self.counters.received_cover += 1,
            Ok(Received::Fragment(fragment) | Received::ReplyFragment(fragment)) => {
                self.assemble(fragment, place, now);
            }
            Err(_) => self.counters.received_unreadable += 1,
        }
    }

    fn acknowledged(&mut self, id: FragmentId) {
        let key = id.to_bytes();
        if !self.outbox.holds(&key) {
            self.counters.acknowledged_other += 1;
            return;
        }
        self.counters.acknowledged += 1;
        let outcome = self.outbox.acknowledged(&key);
        self.report(outcome);
    }

    fn assemble(&mut self, fragment: Fragment, place: Option<Place>, now: Time) {
        match self.assembler.insert(fragment, now) {
            Assembled::Waiting => self.counters.received_fragments += 1,
            Assembled::Duplicate => self.counters.received_duplicates += 1,
            Assembled::Contradiction => self.counters.received_malformed += 1,
            Assembled::Complete(padded) => {
                self.counters.received_fragments += 1;
                let message = unpad(padded).map(|bytes| Message::parse(&bytes));
                let Some(Ok(message)) = message else {
                    self.counters.received_malformed += 1;
                    return;
                };
                self.counters.received_messages += 1;
                self.deliver(message, place, now);
            }
        }
    }

    fn deliver(&mut self, message: Message, place: Option<Place>, now: Time) {
        let (data, sender) = match message {
            Message::Plain(data) | Message::Reply(Reply::Data(data)) => (data, None),
            Message::Reply(Reply::SurbRequest { recipient, amount }) => {
                let name = place.map(|place| place.name);
                return self.give_surbs(recipient, amount, name, now);
            }
            Message::Repliable(Repliable { sender, purpose, surbs }) => {
                let waited = self.replies.receive(sender, surbs, now);
                waited.into_iter().for_each(|key| self.outbox.put_back(key));
                match purpose {
                    Purpose::Data(data) => (data, Some(sender)),
                    Purpose::AdditionalSurbs | Purpose::Heartbeat => return,
                }
            }
        };
        self.events.push_back(Event::Received(Delivery { data, sender }));
    }
}
