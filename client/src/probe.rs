//! Test messages that prove their own integrity.
//!
//! ```text
//! "phx" | sender u16 | sequence u64 | filling | checksum 8        numbers big endian
//! ```
//!
//! The filling is a pseudo-random function of sender and sequence, the checksum the front of a
//! BLAKE3 hash of all that precedes it, so that a reader who knows nothing else can verify every
//! byte. When a probe was meant to be sent is not in it: packets are built before that is known
//! (see [`crate::tally`]).

const MAGIC: [u8; 3] = *b"phx";
const HEADER_LEN: usize = MAGIC.len() + 2 + 8;
const CHECKSUM_LEN: usize = 8;
const CONTEXT: &str = "phix-client 2026 probe filling v1";

/// Bytes of the shortest probe: as many as an acknowledgement packet carries.
pub const PROBE_LEN_MIN: usize = HEADER_LEN + CHECKSUM_LEN;

const _: () = assert!(PROBE_LEN_MIN == 21);

/// Which probe a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probe {
    /// Who sent it.
    pub sender: u16,
    /// Its position among the sender's probes, from 0.
    pub sequence: u64,
}

impl Probe {
    /// The message of `len` bytes.
    ///
    /// # Panics
    /// If `len` is less than [`PROBE_LEN_MIN`].
    pub fn encode(&self, len: usize) -> Vec<u8> {
        assert!(len >= PROBE_LEN_MIN, "a probe has {PROBE_LEN_MIN} bytes at least");
        let mut message = vec![0; len];
        self.write_header(&mut message);
        self.filling().fill(&mut message[HEADER_LEN..len - CHECKSUM_LEN]);
        let (content, checksum) = message.split_at_mut(len - CHECKSUM_LEN);
        checksum.copy_from_slice(&blake3::hash(content).as_bytes()[..CHECKSUM_LEN]);
        message
    }

    /// The probe that a message is; nothing if a single bit of it is wrong.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let (content, checksum) = message.split_last_chunk::<CHECKSUM_LEN>()?;
        let rest = content.strip_prefix(&MAGIC)?;
        let (sender, rest) = rest.split_first_chunk()?;
        let (sequence, filling) = rest.split_first_chunk()?;
        let probe =
            Self { sender: u16::from_be_bytes(*sender), sequence: u64::from_be_bytes(*sequence) };
        let mut expected = vec![0; filling.len()];
        probe.filling().fill(&mut expected);
        let whole = blake3::hash(content).as_bytes().starts_with(checksum);
        (whole && expected == filling).then_some(probe)
    }

    fn write_header(&self, message: &mut [u8]) {
        message[..3].copy_from_slice(&MAGIC);
        message[3..5].copy_from_slice(&self.sender.to_be_bytes());
        message[5..13].copy_from_slice(&self.sequence.to_be_bytes());
    }

    fn filling(&self) -> blake3::OutputReader {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&self.sender.to_be_bytes());
        hasher.update(&self.sequence.to_be_bytes());
        hasher.finalize_xof()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for len in [21, 22, 100, 2048, 32768] {
            for probe in
                [Probe { sender: 0, sequence: 0 }, Probe { sender: u16::MAX, sequence: u64::MAX }]
            {
                let message = probe.encode(len);
                assert_eq!(message.len(), len);
                assert_eq!(Probe::decode(&message), Some(probe));
            }
        }
    }

    #[test]
    fn every_bit_counts() {
        for len in [21, 150] {
            let mut message = Probe { sender: 3, sequence: 70_000 }.encode(len);
            for bit in 0..8 * len {
                message[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Probe::decode(&message), None, "bit {bit} of {len} bytes");
                message[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(Probe::decode(&message[..len - 1]), None);
            assert_eq!(Probe::decode(&message[1..]), None);
            message.push(0);
            assert_eq!(Probe::decode(&message), None);
        }
        assert_eq!(Probe::decode(&[]), None);
        assert_eq!(Probe::decode(&[0; 2048]), None);
    }

    #[test]
    fn a_right_checksum_over_a_wrong_filling_is_refused() {
        let mut message = Probe { sender: 1, sequence: 2 }.encode(64);
        message[20] ^= 1;
        let checksum = blake3::hash(&message[..56]);
        message[56..].copy_from_slice(&checksum.as_bytes()[..8]);
        assert_eq!(Probe::decode(&message), None);
    }

    #[test]
    fn probes_differ_in_more_than_their_header() {
        let (a, b) = (Probe { sender: 1, sequence: 2 }, Probe { sender: 1, sequence: 3 });
        assert_ne!(a.encode(200)[13..100], b.encode(200)[13..100]);
    }
}
