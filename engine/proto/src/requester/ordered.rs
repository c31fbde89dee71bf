//! Puts the messages of one direction of a connection in order.

use std::collections::BTreeMap;
use std::fmt;

/// How far ahead of the next message one may be: what stock clients allow each other
/// (nym-ordered-buffer 1.21.6).
const AHEAD_MAX: u64 = 1000;

/// What a held message costs besides its bytes, roughly.
const OVERHEAD: usize = 64;

/// The messages of one direction, numbered from 0, in order again.
///
/// The mixnet delivers every message, in any order, and says of none that it will not come; so what
/// comes early is held. What is held has a bound in bytes, and so has the distance.
#[derive(Debug)]
pub struct Ordered {
    next: u64,
    held: BTreeMap<u64, Vec<u8>>,
    weight: usize,
    most: usize,
    last: Option<u64>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// It has come before. Nothing is lost.
    Repeated,
    /// It lies behind the message that said it was the last, or another one said so of itself.
    AfterEnd,
    /// It is too far ahead of what has come.
    TooFarAhead,
    /// There is no room for it until some is taken out. If it is let go, the stream has a hole.
    Full,
}

impl Ordered {
    /// An empty stream that holds up to `most` bytes.
    pub const fn new(most: usize) -> Self {
        Self { next: 0, held: BTreeMap::new(), weight: 0, most, last: None }
    }

    /// Takes a message; `closed` says that none follows it.
    ///
    /// # Errors
    /// If it was not taken. All but [`OrderError::Repeated`] mean that the stream cannot go on as
    /// its sender meant it.
    pub fn insert(&mut self, sequence: u64, data: Vec<u8>, closed: bool) -> Result<(), OrderError> {
        if sequence < self.next || self.held.contains_key(&sequence) {
            return Err(OrderError::Repeated);
        }
        if self.last.is_some_and(|last| sequence > last || closed) {
            return Err(OrderError::AfterEnd);
        }
        if closed && self.held.last_key_value().is_some_and(|(&held, _)| held > sequence) {
            return Err(OrderError::AfterEnd);
        }
        if sequence - self.next > AHEAD_MAX {
            return Err(OrderError::TooFarAhead);
        }
        let weight = self.weight + data.len() + OVERHEAD;
        if weight > self.most {
            return Err(OrderError::Full);
        }
        self.weight = weight;
        self.held.insert(sequence, data);
        if closed {
            self.last = Some(sequence);
        }
        Ok(())
    }

    /// The bytes of the next message, if it is there; none of a message that carried none.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let data = self.held.remove(&self.next)?;
        self.next += 1;
        self.weight -= data.len() + OVERHEAD;
        Some(data)
    }

    /// Whether all has been taken, up to the message that was the last.
    pub const fn has_ended(&self) -> bool {
        matches!(self.last, Some(last) if self.next > last)
    }

    /// The number of the message that others wait for, if any wait.
    pub fn gap(&self) -> Option<u64> {
        let waits = !self.held.is_empty() && !self.held.contains_key(&self.next);
        waits.then_some(self.next)
    }

    /// Bytes that are held, with what it costs to hold them.
    pub const fn weight(&self) -> usize {
        self.weight
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Repeated => "the message has come before",
            Self::AfterEnd => "the message lies behind the end of the stream",
            Self::TooFarAhead => "the message is too far ahead of what has come",
            Self::Full => "more was sent than is taken",
        })
    }
}

impl std::error::Error for OrderError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(ordered: &mut Ordered) -> Vec<u8> {
        std::iter::from_fn(|| ordered.take()).flatten().collect()
    }

    #[test]
    fn any_order_becomes_the_right_one_and_ends_with_the_last() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let mut ordered = Ordered::new(1 << 16);
            let mut bytes = Vec::new();
            for sequence in order {
                assert!(!ordered.has_ended());
                ordered.insert(sequence, vec![sequence as u8; 3], sequence == 3).unwrap();
                bytes.extend(all(&mut ordered));
            }
            assert_eq!(bytes, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
            assert!(ordered.has_ended() && ordered.weight() == 0 && ordered.gap().is_none());
        }
    }

    #[test]
    fn a_gap_is_seen_and_empty_messages_count() {
        let mut ordered = Ordered::new(1 << 16);
        assert_eq!(ordered.gap(), None);
        ordered.insert(1, vec![1], false).unwrap();
        assert_eq!((ordered.gap(), ordered.take()), (Some(0), None));
        ordered.insert(0, vec![], false).unwrap();
        assert_eq!(ordered.gap(), None);
        assert_eq!((ordered.take(), ordered.take()), (Some(vec![]), Some(vec![1])));
    }

    #[test]
    fn what_does_not_fit_the_stream_is_refused() {
        let mut ordered = Ordered::new(2 * OVERHEAD + 10);
        ordered.insert(0, vec![0; 5], false).unwrap();
        assert_eq!(ordered.insert(0, vec![], false), Err(OrderError::Repeated));
        assert_eq!(ordered.insert(1, vec![0; 6], false), Err(OrderError::Full));
        ordered.insert(2, vec![0; 5], false).unwrap();
        assert_eq!(ordered.insert(1, vec![], true), Err(OrderError::AfterEnd));
        assert_eq!(ordered.take(), Some(vec![0; 5]));
        ordered.insert(1, vec![], false).unwrap();
        assert_eq!(all(&mut ordered), [0; 5]);
        assert_eq!(ordered.insert(2, vec![], false), Err(OrderError::Repeated));
        assert_eq!(ordered.insert(3 + AHEAD_MAX + 1, vec![], false), Err(OrderError::TooFarAhead));
        ordered.insert(4, vec![], true).unwrap();
        assert_eq!(ordered.insert(5, vec![], false), Err(OrderError::AfterEnd));
        assert_eq!(ordered.insert(3, vec![], true), Err(OrderError::AfterEnd));
        ordered.insert(3, vec![], false).unwrap();
        assert!(all(&mut ordered).is_empty());
        assert!(ordered.has_ended());
    }

    #[test]
    fn numbers_at_the_end_of_their_range_do_no_harm() {
        let mut ordered = Ordered::new(1 << 10);
        assert_eq!(ordered.insert(u64::MAX, vec![], true), Err(OrderError::TooFarAhead));
        assert_eq!(ordered.weight(), 0);
    }
}
