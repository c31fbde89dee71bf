//! Messages: what stands in the fragments once they are together and the padding is off.
//!
//! ```text
//! plain:      0 | data
//! repliable:  1 | sender tag 16 | kind 1 | reply blocks | data
//! reply:      2 | 0 | data
//!             2 | 1 | recipient 96 | amount 4                   (asks for reply blocks)
//! ```
//!
//! Kinds 0 to 2 (data, blocks, heartbeat) come with blocks of version 258: their number in four
//! bytes, then blocks of four hops. Kinds 3 to 5 are the same with `number 2 | hops 1 | rotation 1`
//! in front. Stock clients up to 1.21.6 send the former unless told otherwise and read both; those
//! of 2.0.0 know the latter only. Facts from nym-sphinx and nym-sphinx-anonymous-replies 1.21.6 and
//! 2.0.0.

use std::error::Error;
use std::fmt;

use phix_engine::wire::frame::KeyRotation;
use phix_engine::wire::geometry::MAX_HOPS;

use super::recipient::{RECIPIENT, Recipient, RecipientError};
use super::surb::{ReplySurb, SurbError, SurbFormat};
use super::tag::SenderTag;

const PLAIN: u8 = 0;
const REPLIABLE: u8 = 1;
const REPLY: u8 = 2;

/// What kinds of repliable messages count from, by the format of their blocks.
const KEYS_BASE: u8 = 0;
const SEEDS_BASE: u8 = 3;
/// Hops of a block behind a number of four bytes.
const KEYS_HOPS: usize = 4;

const REPLY_DATA: u8 = 0;
const REPLY_REQUEST: u8 = 1;

/// Reply blocks that one message can bring, at most.
pub const SURBS_MAX: usize = u16::MAX as usize;

/// A message from client to client.
#[derive(Clone, Debug)]
pub enum Message {
    /// Data from a sender who wants no answer.
    Plain(Vec<u8>),
    /// From a sender who can be answered.
    Repliable(Repliable),
    /// From somebody who used a reply block.
    Reply(Reply),
}

/// A message that brings reply blocks.
#[derive(Clone, Debug)]
pub struct Repliable {
    /// Whose blocks these are.
    pub sender: SenderTag,
    /// Why it was sent.
    pub purpose: Purpose,
    /// The blocks, all of one format, number of hops and rotation.
    pub surbs: Vec<ReplySurb>,
}

/// Why a repliable message was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To say something.
    Data(Vec<u8>),
    /// To bring the blocks that were asked for.
    AdditionalSurbs,
    /// To keep the sender's blocks from being forgotten.
    Heartbeat,
}

/// A message that came by a reply block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer.
    Data(Vec<u8>),
    /// The answer needs more blocks than there are.
    SurbRequest {
        /// Where to send them.
        recipient: Recipient,
        /// How many are wanted.
        amount: u32,
    },
}

impl Message {
    /// The bytes to pad and split.
    ///
    /// # Panics
    /// If reply blocks differ in format, hops or rotation, if there are more than [`SURBS_MAX`], or
    /// if blocks with keys have a route of other than four hops, for which there is no encoding.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Plain(data) => [&[PLAIN], &data[..]].concat(),
            Self::Repliable(message) => {
                let mut out = vec![REPLIABLE];
                message.write(&mut out);
                out
            }
            Self::Reply(Reply::Data(data)) => [&[REPLY, REPLY_DATA], &data[..]].concat(),
            Self::Reply(Reply::SurbRequest { recipient, amount }) => {
                let mut out = vec![REPLY, REPLY_REQUEST];
                out.extend(recipient.to_bytes());
                out.extend(amount.to_be_bytes());
                out
            }
        }
    }

    /// The message that `bytes`, without their padding, stand for.
    ///
    /// # Errors
    /// If they end too early or name a kind that there is not.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let (&kind, rest) = bytes.split_first().ok_or(MessageError::Short)?;
        match kind {
            PLAIN => Ok(Self::Plain(rest.to_vec())),
            REPLIABLE => Repliable::parse(rest).map(Self::Repliable),
            REPLY => Reply::parse(rest).map(Self::Reply),
            _ => Err(MessageError::Kind),
        }
    }
}

impl Repliable {
    fn write(&self, out: &mut Vec<u8>) {
        let format = self.surbs.first().map_or(SurbFormat::default(), ReplySurb::format);
        let hops = self.surbs.first().map_or(0, ReplySurb::hops);
        let rotation = self.surbs.first().map_or(KeyRotation::default(), ReplySurb::rotation);
        let alike = |surb: &ReplySurb| {
            (surb.format(), surb.hops(), surb.rotation()) == (format, hops, rotation)
        };
        assert!(self.surbs.iter().all(alike), "the reply blocks of a message are alike");
        assert!(self.surbs.len() <= SURBS_MAX, "a message has room for 65535 reply blocks");

        out.extend(self.sender.to_bytes());
        let kind = match self.purpose {
            Purpose::Data(_) => 0,
            Purpose::AdditionalSurbs => 1,
            Purpose::Heartbeat => 2,
        };
        match format {
            SurbFormat::Keys => {
                assert_eq!(hops, KEYS_HOPS, "blocks with keys are for routes of four hops");
                out.push(KEYS_BASE + kind);
                out.extend((self.surbs.len() as u32).to_be_bytes());
            }
            SurbFormat::Seeds => {
                out.push(SEEDS_BASE + kind);
                out.extend((self.surbs.len() as u16).to_be_bytes());
                out.extend([hops as u8, rotation.byte()]);
            }
        }
        self.surbs.iter().for_each(|surb| surb.write(out));
        if let Purpose::Data(data) = &self.purpose {
            out.extend(data);
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let (tag, rest) = bytes.split_first_chunk().ok_or(MessageError::Short)?;
        let (&kind, rest) = rest.split_first().ok_or(MessageError::Short)?;
        let (surbs, rest) = match kind {
            KEYS_BASE..SEEDS_BASE => {
                let (count, rest) = rest.split_first_chunk().ok_or(MessageError::Short)?;
                let len = SurbFormat::Keys.encoded_len(KEYS_HOPS);
                surbs(u32::from_be_bytes(*count) as usize, len, KeyRotation::Unknown, rest)?
            }
            _ => {
                let (head, rest) = rest.split_first_chunk().ok_or(MessageError::Short)?;
                let [high, low, hops, rotation] = *head;
                let count = usize::from(u16::from_be_bytes([high, low]));
                let rotation = KeyRotation::from_byte(rotation).ok_or(MessageError::Rotation)?;
                if count > 0 && usize::from(hops) > MAX_HOPS {
                    return Err(MessageError::Surb(SurbError::Length));
                }
                let len = SurbFormat::Seeds.encoded_len(usize::from(hops));
                surbs(count, len, rotation, rest)?
            }
        };
        let purpose = match kind {
            0 | 3 => Purpose::Data(rest.to_vec()),
            1 | 4 => Purpose::AdditionalSurbs,
            2 | 5 => Purpose::Heartbeat,
            _ => return Err(MessageError::Kind),
        };
        Ok(Self { sender: SenderTag::from_bytes(*tag), purpose, surbs })
    }
}

/// `count` blocks of `len` bytes and what follows them.
fn surbs(
    count: usize,
    len: usize,
    rotation: KeyRotation,
    bytes: &[u8],
) -> Result<(Vec<ReplySurb>, &[u8]), MessageError> {
    let all = count.checked_mul(len).ok_or(MessageError::Short)?;
    let (blocks, rest) = bytes.split_at_checked(all).ok_or(MessageError::Short)?;
    let parsed = blocks.chunks_exact(len).map(|block| ReplySurb::parse(block, rotation));
    Ok((parsed.collect::<Result<_, _>>().map_err(MessageError::Surb)?, rest))
}

impl Reply {
    fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let (&kind, rest) = bytes.split_first().ok_or(MessageError::Short)?;
        match kind {
            REPLY_DATA => Ok(Self::Data(rest.to_vec())),
            REPLY_REQUEST => {
                let (recipient, amount) =
                    rest.split_first_chunk::<RECIPIENT>().ok_or(MessageError::Short)?;
                let amount = amount.try_into().map_err(|_| MessageError::Short)?;
                let recipient =
                    Recipient::from_bytes(recipient).map_err(MessageError::Recipient)?;
                Ok(Self::SurbRequest { recipient, amount: u32::from_be_bytes(amount) })
            }
            _ => Err(MessageError::Kind),
        }
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// They end too early, or too late.
    Short,
    /// There is no such kind.
    Kind,
    /// The key rotation is none of the three.
    Rotation,
    /// A reply block is none.
    Surb(SurbError),
    /// Whoever asks for reply blocks has no address.
    Recipient(RecipientError),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the message does not have the length that its kind has"),
            Self::Kind => f.write_str("the message is of a kind that this version does not know"),
            Self::Rotation => f.write_str("the key rotation of the reply blocks is unknown"),
            Self::Surb(error) => error.fmt(f),
            Self::Recipient(error) => error.fmt(f),
        }
    }
}

impl Error for MessageError {}
