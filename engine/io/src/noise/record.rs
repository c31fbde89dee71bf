//! Records: how Noise messages follow each other on a connection.
//!
//! ```text
//! version 1 | pattern | kind | length of the body, big-endian (2 bytes) | 0 0 0 | body
//! ```
//!
//! In the handshake a body is one handshake message; afterwards it is one transport message, which
//! ends with its tag. Records know nothing of frames: these may be cut by records anywhere.

/// Bytes before the body of a record.
pub const HEADER_LEN: usize = 8;
/// Bytes of the tag at the end of a transport message.
pub const TAG_LEN: usize = 16;
/// Bytes of the longest body (the Noise Protocol Framework, section 3).
pub const BODY_MAX: usize = 65_535;

/// The only version of these records, and of how the pre-shared key is made.
pub(super) const VERSION: u8 = 1;

/// A Noise protocol; the discriminant stands in each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// `Noise_XKpsk3_25519_AESGCM_SHA256`, which the stock software uses.
    #[default]
    XkPsk3 = 1,
    /// `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`, which it can be set to.
    IkPsk2 = 2,
}

impl Pattern {
    /// The protocol's full name.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::XkPsk3 => "Noise_XKpsk3_25519_AESGCM_SHA256",
            Self::IkPsk2 => "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
        }
    }

    /// Behind which message the pre-shared key is mixed in.
    pub(super) const fn psk_position(self) -> u8 {
        match self {
            Self::XkPsk3 => 3,
            Self::IkPsk2 => 2,
        }
    }
}

/// What the body of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A handshake message.
    Handshake = 0,
    /// A transport message.
    Data = 1,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordHeader {
    /// The protocol that both ends speak.
    pub pattern: Pattern,
    /// What the body is.
    pub kind: Kind,
    /// Bytes of the body.
    pub len: u16,
}

impl RecordHeader {
    /// Reads a header; nothing if it is of another version, or names what does not exist. The last
    /// three bytes are left to later versions, as in the stock software.
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        if bytes[0] != VERSION {
            return None;
        }
        let pattern = match bytes[1] {
            1 => Pattern::XkPsk3,
            2 => Pattern::IkPsk2,
            _ => return None,
        };
        let kind = match bytes[2] {
            0 => Kind::Handshake,
            1 => Kind::Data,
            _ => return None,
        };
        Some(Self { pattern, kind, len: u16::from_be_bytes([bytes[3], bytes[4]]) })
    }

    /// The bytes on the wire.
    pub const fn bytes(self) -> [u8; HEADER_LEN] {
        let [high, low] = self.len.to_be_bytes();
        [VERSION, self.pattern as u8, self.kind as u8, high, low, 0, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_there_and_back() {
        for pattern in [Pattern::XkPsk3, Pattern::IkPsk2] {
            for kind in [Kind::Handshake, Kind::Data] {
                for len in [0, 1, 255, 256, u16::MAX] {
                    let header = RecordHeader { pattern, kind, len };
                    assert_eq!(RecordHeader::parse(&header.bytes()), Some(header));
                }
            }
        }
        let header = RecordHeader { pattern: Pattern::XkPsk3, kind: Kind::Data, len: 0x0971 };
        assert_eq!(header.bytes(), [1, 1, 1, 0x09, 0x71, 0, 0, 0]);
    }

    #[test]
    fn what_is_unknown_is_refused_and_what_is_reserved_is_not() {
        let good = [1, 1, 0, 0, 48, 0, 0, 0];
        for (at, values) in [(0, [0, 2, 7, 8]), (1, [0, 3, 4, 255]), (2, [2, 3, 4, 255])] {
            for value in values {
                let mut bytes = good;
                bytes[at] = value;
                assert_eq!(RecordHeader::parse(&bytes), None, "byte {at} is {value}");
            }
        }
        let mut later = good;
        later[5..].fill(9);
        assert_eq!(RecordHeader::parse(&later), RecordHeader::parse(&good));
    }
}
