//! Frames: how Sphinx packets follow each other on a connection between nodes.
//!
//! A frame is a header of three or four bytes and one packet:
//!
//! ```text
//! version 7:  7 | size tag | packet type | packet
//! version 8:  8 | size tag | packet type | key rotation | packet
//! ```
//!
//! Both versions may alternate on one connection. The packet type is always 0 (a mix packet); the
//! size tag alone says how long the packet is. Facts from nym-sphinx-framing and nym-sphinx-params
//! 2.0.0. The stock reader looks at a version 8 header as a whole, in the order version, key
//! rotation, size, packet type, and so does this one, so that both give the same reason for a
//! frame with several faults. Two differences, neither of which changes what is accepted: a wrong
//! version is reported at its first byte, and an Outfox packet (type 2) at its header, where the
//! stock reader takes in the whole packet before it refuses it.
//!
//! Invariant: the parser never holds bytes of a packet, only those of an unfinished header.

use core::fmt;

use crate::wire::geometry::PacketSize;

/// Bytes of the longest frame header.
pub const FRAME_HEADER_MAX: usize = 4;

/// The packet type of a mix packet, the only one that is in use.
const KIND_MIX: u8 = 0;

/// Which of the node's two Sphinx keys a packet was made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRotation {
    /// The sender did not say.
    #[default]
    Unknown = 0,
    /// The key of a rotation with an odd number.
    Odd = 1,
    /// The key of a rotation with an even number.
    Even = 2,
}

impl KeyRotation {
    /// Every value; the position is the byte on the wire.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Odd, Self::Even];

    /// What a rotation's number stands as in a frame. The stock software keeps 0 and the largest
    /// number for "not known".
    pub const fn from_id(id: u32) -> Self {
        match id {
            0 | u32::MAX => Self::Unknown,
            id if id.is_multiple_of(2) => Self::Even,
            _ => Self::Odd,
        }
    }

    /// The value that a byte of a frame header stands for, if it is one of the three.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Unknown),
            1 => Some(Self::Odd),
            2 => Some(Self::Even),
            _ => None,
        }
    }

    /// The byte in a frame header.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// The two layouts of a frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameVersion {
    /// Version 7: three bytes, no key rotation.
    Legacy,
    /// Version 8: four bytes, the last of which is the key rotation.
    Current,
}

impl FrameVersion {
    /// The first byte of a frame.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Legacy => 7,
            Self::Current => 8,
        }
    }

    /// Bytes of the frame header.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Legacy => 3,
            Self::Current => 4,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, FrameError> {
        match byte {
            0..=6 => Err(FrameError::TooOld),
            7 => Ok(Self::Legacy),
            8 => Ok(Self::Current),
            9.. => Err(FrameError::TooNew),
        }
    }
}

/// Everything that a frame says about its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Layout of the header.
    pub version: FrameVersion,
    /// Size of the packet that follows.
    pub size: PacketSize,
    /// Key that the packet was made for. A legacy header has no room for it: it is not written,
    /// and reads as [`KeyRotation::Unknown`].
    pub rotation: KeyRotation,
}

impl FrameHeader {
    /// A header of version 7.
    pub const fn legacy(size: PacketSize) -> Self {
        Self { version: FrameVersion::Legacy, size, rotation: KeyRotation::Unknown }
    }

    /// A header of version 8.
    pub const fn current(size: PacketSize, rotation: KeyRotation) -> Self {
        Self { version: FrameVersion::Current, size, rotation }
    }

    /// Bytes that [`FrameHeader::write`] writes.
    pub const fn encoded_len(&self) -> usize {
        self.version.header_len()
    }

    /// Bytes of the frame: this header and its packet.
    pub const fn frame_len(&self) -> usize {
        self.encoded_len() + self.size.packet_len()
    }

    /// Writes the header to the front of `out` and says how many bytes it took.
    ///
    /// # Panics
    /// If `out` is shorter than [`FrameHeader::encoded_len`].
    pub const fn write(&self, out: &mut [u8]) -> usize {
        out[0] = self.version.byte();
        out[1] = self.size.tag();
        out[2] = KIND_MIX;
        if matches!(self.version, FrameVersion::Current) {
            out[3] = self.rotation.byte();
        }
        self.encoded_len()
    }

    /// Reads the bytes of one whole header of the given version.
    const fn read(
        version: FrameVersion,
        bytes: &[u8; FRAME_HEADER_MAX],
    ) -> Result<Self, FrameError> {
        let rotation = match version {
            FrameVersion::Legacy => KeyRotation::Unknown,
            FrameVersion::Current => match KeyRotation::from_byte(bytes[3]) {
                Some(rotation) => rotation,
                None => return Err(FrameError::Rotation),
            },
        };
        let Some(size) = PacketSize::from_tag(bytes[1]) else { return Err(FrameError::Size) };
        if bytes[2] != KIND_MIX {
            return Err(FrameError::Kind);
        }
        Ok(Self { version, size, rotation })
    }
}

/// Why a stream is not, or no longer, a sequence of frames. All reasons are fatal to the
/// connection: where the next frame starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameError {
    /// A version below 7: the sender has no versions, or the stream is something else.
    TooOld,
    /// A version above 8, whose layout is not known here.
    TooNew,
    /// A size tag that names none of the five sizes; 6 and 7 were Outfox packets.
    Size,
    /// A packet type other than 0; 2 was Outfox.
    Kind,
    /// A key rotation other than 0, 1 and 2.
    Rotation,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooOld => "frame version below 7",
            Self::TooNew => "frame version above 8",
            Self::Size => "unknown packet size",
            Self::Kind => "packet type is not mix",
            Self::Rotation => "unknown key rotation",
        })
    }
}

impl core::error::Error for FrameError {}

/// What the parser found next in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame begins; `Body` pieces follow that add up to its packet.
    Start(FrameHeader),
    /// A run of the packet's bytes, never empty.
    Body {
        /// The run, in the input.
        bytes: &'a [u8],
        /// Whether the packet ends with it.
        last: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The first `have` bytes of a header have come; fewer than its version takes.
    Header { bytes: [u8; FRAME_HEADER_MAX], have: usize },
    /// `left` bytes of the packet are to come; never 0.
    Body { left: usize },
    /// The stream made no sense.
    Failed(FrameError),
}

impl State {
    const BETWEEN: Self = Self::Header { bytes: [0; FRAME_HEADER_MAX], have: 0 };
}

/// Finds the frames in the stream of one connection, however the stream is cut into inputs.
#[derive(Clone, Debug)]
pub struct FrameParser(State);

impl Default for FrameParser {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameParser {
    /// A parser at the start of a stream.
    pub const fn new() -> Self {
        Self(State::BETWEEN)
    }

    /// Takes the next piece from the front of `input`; nothing when `input` is used up.
    ///
    /// # Errors
    /// If the stream is not a sequence of frames. The parser then stays at that error.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        match self.0 {
            State::Header { bytes, have } => match Self::take_header(bytes, have, input) {
                Ok((state, start)) => {
                    self.0 = state;
                    Ok(start.map(Piece::Start))
                }
                Err(error) => {
                    self.0 = State::Failed(error);
                    Err(error)
                }
            },
            State::Body { left } => Ok(self.take_body(left, input)),
            State::Failed(error) => Err(error),
        }
    }

    /// Whether the stream could end here without cutting a frame.
    pub const fn is_between_frames(&self) -> bool {
        matches!(self.0, State::Header { have: 0, .. })
    }

    /// The bytes of a header that has begun and is not whole.
    pub fn header_begun(&self) -> &[u8] {
        if let State::Header { bytes, have } = &self.0 { &bytes[..*have] } else { &[] }
    }

    /// Bytes of the present packet that are still to come; 0 outside a packet.
    pub const fn packet_left(&self) -> usize {
        if let State::Body { left } = self.0 { left } else { 0 }
    }

    fn take_header(
        mut bytes: [u8; FRAME_HEADER_MAX],
        mut have: usize,
        input: &mut &[u8],
    ) -> Result<(State, Option<FrameHeader>), FrameError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            bytes[have] = byte;
            have += 1;
            let version = FrameVersion::from_byte(bytes[0])?;
            if have == version.header_len() {
                let header = FrameHeader::read(version, &bytes)?;
                return Ok((State::Body { left: header.size.packet_len() }, Some(header)));
            }
        }
        Ok((State::Header { bytes, have }, None))
    }

    fn take_body<'a>(&mut self, left: usize, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        if input.is_empty() {
            return None;
        }
        let (bytes, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        let left = left - bytes.len();
        self.0 = if left == 0 { State::BETWEEN } else { State::Body { left } };
        Some(Piece::Body { bytes, last: left == 0 })
    }
}
