//! What was written to a client and is perhaps not with it yet.
//!
//! That a connection took a message says little: the client may have vanished minutes ago, and what
//! the kernel still holds is lost with the connection. So a ping follows what was written. Clients
//! answer pings in the order in which they read; with the pong, what was before it is theirs.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::delivery::Message;
use super::limits::{CONFIRMING, UNCONFIRMED};

/// What a session has written that its client has not confirmed.
#[derive(Debug, Default)]
pub(crate) struct Unconfirmed {
    /// The number in the last ping, and in the last pong.
    asked: u64,
    heard: u64,
    /// Messages, each with the number of the ping after it.
    messages: VecDeque<(u64, Message)>,
    /// Numbers in the inbox up to which it was written, in the same way.
    stored: VecDeque<(u64, i64)>,
    /// Who wants to know when a ping is answered.
    asker: Option<(u64, oneshot::Sender<()>)>,
    /// When the client must have answered something.
    deadline: Option<Instant>,
}

/// What a pong tells.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// Messages that the client has.
    pub(crate) messages: Vec<Message>,
    /// The number in the inbox up to which it has all, if that is news.
    pub(crate) stored: Option<i64>,
}

impl Unconfirmed {
    /// Whether another message may be written.
    pub(crate) fn has_room(&self) -> bool {
        self.messages.len() < UNCONFIRMED
    }

    /// A message is about to be written, and a ping to follow.
    pub(crate) fn write(&mut self, message: Message) {
        self.messages.push_back((self.asked + 1, message));
    }

    /// The inbox was written up to this number, and a ping is to follow.
    pub(crate) fn write_stored(&mut self, last: i64) {
        self.stored.push_back((self.asked + 1, last));
    }

    /// Somebody wants to know when the next ping is answered.
    pub(crate) fn ask(&mut self, asker: oneshot::Sender<()>) {
        self.asker = Some((self.asked + 1, asker));
    }

    /// What the next ping has in it.
    pub(crate) fn ping(&mut self) -> [u8; 8] {
        self.asked += 1;
        self.deadline.get_or_insert_with(|| Instant::now() + CONFIRMING);
        self.asked.to_be_bytes()
    }

    /// What a pong with these bytes confirms. Pings that were overtaken by a later one need no
    /// answer of their own (RFC 6455, section 5.5.3).
    pub(crate) fn pong(&mut self, bytes: &[u8]) -> Confirmed {
        let number = <[u8; 8]>::try_from(bytes).map_or(0, u64::from_be_bytes);
        let mut confirmed = Confirmed::default();
        if number <= self.heard || number > self.asked {
            return confirmed;
        }
        self.heard = number;
        self.deadline = (self.asked > number).then(|| Instant::now() + CONFIRMING);
        while let Some((_, message)) = self.messages.pop_front_if(|(ping, _)| *ping <= number) {
            confirmed.messages.push(message);
        }
        while let Some((_, last)) = self.stored.pop_front_if(|(ping, _)| *ping <= number) {
            confirmed.stored = Some(last);
        }
        if let Some((_, asker)) = self.asker.take_if(|(ping, _)| *ping <= number) {
            // Who asked may have lost patience.
            let _ = asker.send(());
        }
        confirmed
    }

    /// When the client is held for one that takes nothing, if it has to answer.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The messages that the client has not confirmed.
    pub(crate) fn into_messages(self) -> impl Iterator<Item = Message> {
        self.messages.into_iter().map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(byte: u8) -> Message {
        Message { bytes: [byte].into(), acknowledgement: None }
    }

    #[test]
    fn a_pong_confirms_what_was_before_its_ping_and_nothing_else() {
        let mut written = Unconfirmed::default();
        assert_eq!(written.deadline(), None);
        written.write(message(1));
        written.write_stored(10);
        let first = written.ping();
        written.write(message(2));
        let (asker, mut answered) = oneshot::channel();
        written.ask(asker);
        let second = written.ping();
        written.write(message(3));
        for nothing in [&[][..], &[0; 8], &3_u64.to_be_bytes(), b"elsewhere"] {
            let Confirmed { messages, stored } = written.pong(nothing);
            assert!(messages.is_empty() && stored.is_none(), "{nothing:?}");
        }
        let confirmed = written.pong(&first);
        assert_eq!((confirmed.messages, confirmed.stored), (vec![message(1)], Some(10)));
        assert!(written.deadline().is_some() && answered.try_recv().is_err());
        assert_eq!(written.pong(&second).messages, [message(2)]);
        assert!(written.deadline().is_none() && answered.try_recv().is_ok());
        assert!(written.pong(&second).messages.is_empty(), "once");
        assert_eq!(written.into_messages().collect::<Vec<_>>(), [message(3)]);
    }

    #[test]
    fn a_later_pong_answers_for_those_before() {
        let mut written = Unconfirmed::default();
        let pings: Vec<_> = (0..UNCONFIRMED)
            .map(|number| {
                assert!(written.has_room());
                written.write(message(number as u8));
                written.ping()
            })
            .collect();
        assert!(!written.has_room());
        assert_eq!(written.pong(pings.last().unwrap()).messages.len(), UNCONFIRMED);
        assert!(written.has_room() && written.deadline().is_none());
    }
}
