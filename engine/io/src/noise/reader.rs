//! Finds the records in the stream of one connection, however it is cut, and opens them.
//!
//! A record that lies whole in the bytes offered is opened there and handed on from there. One that
//! does not is put together in a buffer of its own, which is given back with the record's last
//! byte. What the taker has no room for yet waits in such a buffer, too.

use std::mem;

use super::cipher::{Opener, ReceivingKey};
use super::record::{BODY_MAX, HEADER_LEN, Kind, RecordHeader, TAG_LEN};

/// Bytes of a small buffer: any record around one packet of the usual size.
const SMALL: usize = 4096;
/// Large buffers that one shard has at most, 16 MiB together. Small ones take less than that even
/// if every connection has one.
const LARGE_MAX: usize = 256;
/// Large buffers that are kept for the next record.
const LARGE_KEPT: usize = 16;

/// The buffers of one shard for records that came in parts. Allocated as they are needed, then used
/// again.
#[derive(Debug, Default)]
pub struct Gathering {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    large_lent: usize,
}

impl Gathering {
    fn lend(&mut self, len: usize) -> Option<Vec<u8>> {
        if len <= SMALL {
            return Some(self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL)));
        }
        if self.large_lent == LARGE_MAX {
            return None;
        }
        self.large_lent += 1;
        Some(self.large.pop().unwrap_or_else(|| Vec::with_capacity(BODY_MAX)))
    }

    fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() < BODY_MAX {
            self.small.push(buffer);
            return;
        }
        self.large_lent -= 1;
        if self.large.len() < LARGE_KEPT {
            self.large.push(buffer);
        }
    }

    /// Large buffers that connections have at the moment.
    #[cfg(test)]
    pub(super) const fn large_lent(&self) -> usize {
        self.large_lent
    }
}

/// Why a stream of records ends. `E` is the reason of whoever takes the plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError<E> {
    /// What came is not a record of this connection, or not what the other end sealed.
    Forged,
    /// There is no buffer for a record in parts.
    Crowded,
    /// The plaintext is refused.
    Inside(E),
}

#[derive(Debug)]
enum State {
    /// The first `have` bytes of a header have come, fewer than all.
    Header { bytes: [u8; HEADER_LEN], have: usize },
    /// The body has `len` bytes, more than the buffer has yet.
    Body { buffer: Vec<u8>, len: usize },
    /// A body was opened; its plaintext between `from` and `end`, never empty, waits.
    Text { buffer: Vec<u8>, from: usize, end: usize },
}

impl State {
    const BETWEEN: Self = Self::Header { bytes: [0; HEADER_LEN], have: 0 };
}

/// The receiving end of one connection.
///
/// Invariant: it has a buffer only while a record is in parts or its plaintext waits.
#[derive(Debug)]
pub struct Reader {
    opener: Opener,
    state: State,
}

impl Reader {
    /// A reader at the end of the handshake.
    pub const fn new(opener: Opener) -> Self {
        Self { opener, state: State::BETWEEN }
    }

    /// A reader that goes on with another's connection. What [`Reader::begun`] gave comes first.
    pub fn resume(key: ReceivingKey) -> Self {
        Self::new(Opener::resume(key))
    }

    /// What another reader needs to go on with this connection: the key, and the bytes of the
    /// record that has begun. Nothing while plaintext waits.
    pub fn begun(&self) -> Option<(ReceivingKey, Vec<u8>)> {
        let bytes = match &self.state {
            State::Header { bytes, have } => bytes[..*have].to_vec(),
            State::Body { buffer, len } => {
                let pattern = self.opener.pattern();
                let header = RecordHeader { pattern, kind: Kind::Data, len: *len as u16 };
                [&header.bytes(), buffer.as_slice()].concat()
            }
            State::Text { .. } => return None,
        };
        Some((self.opener.receiving_key(), bytes))
    }

    /// Opens what it can of `bytes`, in place, and offers the plaintext to `take`, which says how
    /// much it took. Says how many bytes it is done with: all of them unless plaintext waits
    /// ([`Reader::waits`]), in which case the rest must be offered again later.
    ///
    /// # Errors
    /// If the connection is of no use any more; close it.
    pub fn push<E>(
        &mut self,
        bytes: &mut [u8],
        gathering: &mut Gathering,
        mut take: impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<usize, RecordError<E>> {
        let mut used = 0;
        loop {
            self.hand_on(gathering, &mut take).map_err(RecordError::Inside)?;
            if self.waits() || used == bytes.len() {
                return Ok(used);
            }
            used += match self.state {
                State::Header { .. } => self.begin(&mut bytes[used..], gathering, &mut take)?,
                _ => self.go_on(&bytes[used..])?,
            };
        }
    }

    /// Whether plaintext waits that was not taken.
    pub const fn waits(&self) -> bool {
        matches!(self.state, State::Text { .. })
    }

    /// Whether the stream is inside a record.
    pub const fn is_inside(&self) -> bool {
        !matches!(self.state, State::Header { have: 0, .. })
    }

    /// How many bytes may come next, if at most `fits` bytes of plaintext can be taken at once, so
    /// that no bytes need be offered twice: as many as fit, or else the rest of the present
    /// record, whose plaintext can wait here.
    pub fn allowance(&self, fits: usize) -> usize {
        match &self.state {
            State::Body { buffer, len } => {
                fits.saturating_sub(buffer.len()).max(len - buffer.len())
            }
            State::Header { .. } | State::Text { .. } => fits,
        }
    }

    /// Gives the buffer back, if it has one. For a connection that ends.
    pub fn finish(&mut self, gathering: &mut Gathering) {
        match mem::replace(&mut self.state, State::BETWEEN) {
            State::Body { buffer, .. } | State::Text { buffer, .. } => gathering.give_back(buffer),
            State::Header { .. } => {}
        }
    }

    /// Offers plaintext that waits.
    fn hand_on<E>(
        &mut self,
        gathering: &mut Gathering,
        take: &mut impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        if let State::Text { buffer, from, end } = &mut self.state {
            *from += take(&buffer[*from..*end])?;
            if from == end {
                self.finish(gathering);
            }
        }
        Ok(())
    }

    /// Takes a header, and its body with it if that is there as a whole.
    fn begin<E>(
        &mut self,
        bytes: &mut [u8],
        gathering: &mut Gathering,
        take: &mut impl FnMut(&[u8]) -> Result<usize, E>,
    ) -> Result<usize, RecordError<E>> {
        let State::Header { bytes: head, have } = &mut self.state else { return Ok(0) };
        let used = bytes.len().min(HEADER_LEN - *have);
        head[*have..*have + used].copy_from_slice(&bytes[..used]);
        *have += used;
        if *have < HEADER_LEN {
            return Ok(used);
        }
        let header = RecordHeader::parse(head).ok_or(RecordError::Forged)?;
        let len = usize::from(header.len);
        let ours = header.kind == Kind::Data && header.pattern == self.opener.pattern();
        if !ours || len < TAG_LEN {
            return Err(RecordError::Forged);
        }
        let Some(body) = bytes.get_mut(used..used + len) else {
            let buffer = gathering.lend(len).ok_or(RecordError::Crowded)?;
            self.state = State::Body { buffer, len };
            return Ok(used);
        };
        let text = self.opener.open(body).map_err(|_| RecordError::Forged)?;
        let taken = take(text).map_err(RecordError::Inside)?;
        self.state = State::BETWEEN;
        let waiting = &text[taken..];
        if !waiting.is_empty() {
            let mut buffer = gathering.lend(waiting.len()).ok_or(RecordError::Crowded)?;
            buffer.extend_from_slice(waiting);
            self.state = State::Text { from: 0, end: buffer.len(), buffer };
        }
        Ok(used + len)
    }

    /// Adds to a body, and opens it if it is whole.
    fn go_on<E>(&mut self, bytes: &[u8]) -> Result<usize, RecordError<E>> {
        let State::Body { buffer, len } = &mut self.state else { return Ok(0) };
        let used = bytes.len().min(*len - buffer.len());
        buffer.extend_from_slice(&bytes[..used]);
        if buffer.len() == *len {
            let end = self.opener.open(buffer).map_err(|_| RecordError::Forged)?.len();
            let buffer = mem::take(buffer);
            self.state = State::Text { buffer, from: 0, end };
        }
        Ok(used)
    }
}
