//! The messages of a handover as bytes: a tag, then the fields, numbers little-endian, strings with
//! their length before them. What a message is about besides, a descriptor, goes along with it.

use phix_io::noise::{Pattern, ReceivingKey};
use phix_io::{Unfinished, UnfinishedNoise};
use zeroize::Zeroizing;

use crate::replay_store::KeyId;

/// The version of these messages. Another one is refused before anything has changed.
pub(super) const VERSION: u32 = 2;
/// Bytes of the longest message: a connection inside the longest record and the longest packet.
pub(super) const MESSAGE_MAX: usize = 128 * 1024;

/// One message.
#[derive(Debug)]
pub(super) enum Message {
    /// From the running node, first of all: the version of the messages, and its process.
    Hello { version: u32, process: u32 },
    /// A listener for one shard; comes with its descriptor, as all up to `Prepare` do.
    Listener,
    /// The listener of the metrics.
    Metrics,
    /// The lock of the state directory.
    Lock,
    /// The memory of a replay filter.
    Filter { number: u32, key: KeyId },
    /// That was all that a node needs to make ready.
    Prepare,
    /// From the new node: it is ready.
    Ready,
    /// From the new node: it cannot be, for this reason.
    Refused(String),
    /// From the running node, which accepts nothing more: a journal, with its file.
    Journal { number: u32, len: u64, sequence: u64 },
    /// A connection, with its descriptor.
    Connection(Unfinished),
    /// That was all.
    All,
    /// From the new node: it has all of it.
    Took,
    /// The new node is the node.
    Go,
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMessage;

impl Message {
    /// The bytes; they can be secret.
    pub(super) fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(256));
        match self {
            Self::Hello { version, process } => {
                out.push(0);
                out.extend(version.to_le_bytes());
                out.extend(process.to_le_bytes());
            }
            Self::Listener => out.push(1),
            Self::Metrics => out.push(2),
            Self::Lock => out.push(3),
            Self::Filter { number, key } => {
                out.push(4);
                out.extend(number.to_le_bytes());
                out.extend(key);
            }
            Self::Prepare => out.push(5),
            Self::Ready => out.push(6),
            Self::Refused(why) => {
                out.push(7);
                string(&mut out, why.as_bytes());
            }
            Self::Journal { number, len, sequence } => {
                out.push(8);
                out.extend(number.to_le_bytes());
                out.extend(len.to_le_bytes());
                out.extend(sequence.to_le_bytes());
            }
            Self::Connection(unfinished) => {
                out.push(9);
                connection(&mut out, unfinished);
            }
            Self::All => out.push(10),
            Self::Took => out.push(11),
            Self::Go => out.push(12),
        }
        out
    }

    /// Reads what [`Message::bytes`] wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NoMessage> {
        let mut fields = Fields(bytes);
        let [tag] = fields.array()?;
        let message = match tag {
            0 => Self::Hello { version: fields.u32()?, process: fields.u32()? },
            1 => Self::Listener,
            2 => Self::Metrics,
            3 => Self::Lock,
            4 => Self::Filter { number: fields.u32()?, key: fields.array()? },
            5 => Self::Prepare,
            6 => Self::Ready,
            7 => Self::Refused(String::from_utf8_lossy(fields.string()?).into_owned()),
            8 => {
                Self::Journal { number: fields.u32()?, len: fields.u64()?, sequence: fields.u64()? }
            }
            9 => Self::Connection(fields.connection()?),
            10 => Self::All,
            11 => Self::Took,
            12 => Self::Go,
            _ => return Err(NoMessage),
        };
        if fields.0.is_empty() { Ok(message) } else { Err(NoMessage) }
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn connection(out: &mut Vec<u8>, Unfinished { frame, noise }: &Unfinished) {
    string(out, frame);
    out.push(u8::from(noise.is_some()));
    if let Some(UnfinishedNoise { key, record }) = noise {
        out.push(key.pattern as u8);
        out.extend(*key.key);
        out.extend(key.records.to_le_bytes());
        string(out, record);
    }
}

/// The fields of a message that are still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], NoMessage> {
        let (array, rest) = self.0.split_first_chunk().ok_or(NoMessage)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, NoMessage> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, NoMessage> {
        self.array().map(u64::from_le_bytes)
    }

    fn string(&mut self) -> Result<&'a [u8], NoMessage> {
        let len = self.u32()? as usize;
        let (string, rest) = self.0.split_at_checked(len).ok_or(NoMessage)?;
        self.0 = rest;
        Ok(string)
    }

    fn connection(&mut self) -> Result<Unfinished, NoMessage> {
        let frame = self.string()?.to_vec();
        let [is_noise] = self.array()?;
        if is_noise == 0 {
            return Ok(Unfinished { frame, noise: None });
        }
        let [pattern] = self.array()?;
        let patterns = [Pattern::XkPsk3, Pattern::IkPsk2];
        let pattern = patterns.into_iter().find(|&one| one as u8 == pattern).ok_or(NoMessage)?;
        let key = Zeroizing::new(self.array()?);
        let key = ReceivingKey { pattern, key, records: self.u64()? };
        let record = self.string()?.to_vec();
        Ok(Unfinished { frame, noise: Some(UnfinishedNoise { key, record }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let key = ReceivingKey {
            pattern: Pattern::IkPsk2,
            key: Zeroizing::new([5; 32]),
            records: u64::MAX - 1,
        };
        let noise = Some(UnfinishedNoise { key, record: vec![3; 70_000] });
        vec![
            Message::Hello { version: VERSION, process: 77 },
            Message::Listener,
            Message::Metrics,
            Message::Lock,
            Message::Filter { number: 9, key: [4; 16] },
            Message::Prepare,
            Message::Ready,
            Message::Refused("it is not.".into()),
            Message::Journal { number: 1, len: 1 << 40, sequence: 2 },
            Message::Connection(Unfinished { frame: Vec::new(), noise: None }),
            Message::Connection(Unfinished { frame: vec![2; 33_000], noise }),
            Message::All,
            Message::Took,
            Message::Go,
        ]
    }

    #[test]
    fn messages_there_and_back() {
        for message in all() {
            let bytes = message.bytes();
            assert!(bytes.len() <= MESSAGE_MAX);
            let read = Message::read(&bytes).unwrap();
            assert_eq!(read.bytes(), bytes, "{message:?}");
        }
    }

    #[test]
    fn what_is_cut_or_longer_is_no_message() {
        for message in all() {
            let mut bytes = message.bytes();
            for len in 0..bytes.len().min(200) {
                assert!(Message::read(&bytes[..len]).is_err(), "{len} bytes of {message:?}");
            }
            bytes.push(0);
            assert!(Message::read(&bytes).is_err(), "{message:?} and more");
        }
        assert!(Message::read(&[13]).is_err());
        assert!(Message::read(&[9, 0xff, 0xff, 0xff, 0xff, 1]).is_err());
    }
}
