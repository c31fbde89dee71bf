//! Frames: how messages of a stream over the mixnet look.
//!
//! ```text
//! kind 2 (3, little-endian) | stream 8 | open or data 1 | sequence 4 | 0 1 | content
//! ```

use super::IprError;

/// Bytes before the content.
pub const FRAME_HEAD: usize = 16;

/// The kind of frames that streams have, little-endian unlike everything else.
const STREAM: u16 = 3;

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which stream, by the number that its client chose.
    pub stream: u64,
    /// What it does.
    pub kind: FrameKind,
    /// Its place among what the sender has sent in this stream.
    pub sequence: u32,
    /// What it brings.
    pub content: &'a [u8],
}

/// What a frame does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// It opens the stream.
    Open = 0,
    /// It brings data.
    Data = 1,
}

impl<'a> Frame<'a> {
    /// Whether `bytes` may be a frame: messages that stand alone begin with their version.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&STREAM.to_le_bytes())
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, IprError> {
        let (head, content) = bytes.split_first_chunk().ok_or(IprError::TooShort)?;
        let [k0, k1, s0, s1, s2, s3, s4, s5, s6, s7, does, q0, q1, q2, q3, _]: [u8; FRAME_HEAD] =
            *head;
        let kind = u16::from_le_bytes([k0, k1]);
        if kind != STREAM {
            return Err(IprError::Kind(kind.into()));
        }
        let kind = match does {
            0 => FrameKind::Open,
            1 => FrameKind::Data,
            other => return Err(IprError::Kind(other.into())),
        };
        let stream = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        Ok(Self { stream, kind, sequence: u32::from_be_bytes([q0, q1, q2, q3]), content })
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_HEAD + self.content.len());
        bytes.extend(STREAM.to_le_bytes());
        bytes.extend(self.stream.to_be_bytes());
        bytes.push(self.kind as u8);
        bytes.extend(self.sequence.to_be_bytes());
        bytes.push(0);
        bytes.extend(self.content);
        bytes
    }
}
