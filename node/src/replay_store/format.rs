//! The bytes of a journal: a head that binds it to one key, then blocks of marks.
//!
//! ```text
//! head, 64 bytes    "PHIXMARK" | version u32 | number u32 | key id 16 | check 32
//! block             "MKS1" | count u32 | sequence u64 | check 16 | count marks of 8 bytes
//! ```
//!
//! All numbers are little-endian. The checks are keyed hashes: that of the head is over what comes
//! before it, that of a block over its sequence number and its marks. Filter key, check key and key
//! id are derived from the Sphinx key, so that a journal holds no secret, is of use with its own
//! key only, and ends with it.

use phix_engine::replay::Mark;
use phix_engine::secret::NodeSecret;
use zeroize::Zeroizing;

/// Bytes of the head.
pub(super) const HEAD: usize = 64;
/// Bytes of a block before its marks.
pub(super) const BLOCK_HEAD: usize = 32;
/// Marks in a block at most: half a MiB.
pub(super) const BLOCK_MARKS: usize = 1 << 16;
/// Bytes of a mark.
pub(super) const MARK: usize = size_of::<u64>();

const MAGIC: &[u8; 8] = b"PHIXMARK";
const BLOCK_MAGIC: &[u8; 4] = b"MKS1";
const VERSION: u32 = 1;

/// What a journal is read and written with.
pub(super) struct JournalKeys {
    /// The key of the filter whose marks it holds.
    pub(super) filter: Zeroizing<[u8; 32]>,
    check: Zeroizing<[u8; 32]>,
    id: KeyId,
}

/// The name of a Sphinx key in journals.
pub type KeyId = [u8; 16];

impl JournalKeys {
    /// Those that belong to a Sphinx key.
    pub(super) fn of(secret: &NodeSecret) -> Self {
        let derive = |context| Zeroizing::new(blake3::derive_key(context, secret.as_bytes()));
        let id = derive("phix-node replay journal v1: key id");
        let (id, _) = id.split_first_chunk().expect("32 bytes are more than 16");
        Self {
            filter: derive("phix-node replay journal v1: filter key"),
            check: derive("phix-node replay journal v1: check key"),
            id: *id,
        }
    }

    /// Names the Sphinx key, and says nothing about it.
    pub(super) const fn id(&self) -> KeyId {
        self.id
    }

    /// The head of the journal with this number.
    pub(super) fn head(&self, number: u32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let (body, check) = head.split_at_mut(32);
        body[..8].copy_from_slice(MAGIC);
        body[8..12].copy_from_slice(&VERSION.to_le_bytes());
        body[12..16].copy_from_slice(&number.to_le_bytes());
        body[16..].copy_from_slice(&self.id);
        check.copy_from_slice(blake3::keyed_hash(&self.check, body).as_bytes());
        head
    }

    /// What is wrong with `found`, if it is not the head of the journal with this number.
    pub(super) fn check_head(&self, found: &[u8; HEAD], number: u32) -> Result<(), HeadFault> {
        let expected = self.head(number);
        if found[..8] != expected[..8] {
            return Err(HeadFault::NoJournal);
        }
        if found[8..12] != expected[8..12] {
            return Err(HeadFault::Version);
        }
        // A head that is whole for its own key, but not for this one, has another id; where the
        // id is this key's, the rest is damaged.
        if found[16..32] != expected[16..32] {
            return Err(HeadFault::OtherKey);
        }
        if *found == expected { Ok(()) } else { Err(HeadFault::Damaged) }
    }

    /// Writes the block of `marks` with this sequence number to `bytes`, in place of what is there.
    pub(super) fn block(&self, sequence: u64, marks: &[Mark], bytes: &mut Vec<u8>) {
        bytes.clear();
        bytes.resize(BLOCK_HEAD, 0);
        bytes.extend(marks.iter().flat_map(|mark| mark.bits().to_le_bytes()));
        let check = self.block_check(sequence, &bytes[BLOCK_HEAD..]);
        bytes[..4].copy_from_slice(BLOCK_MAGIC);
        bytes[4..8].copy_from_slice(&(marks.len() as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..BLOCK_HEAD].copy_from_slice(&check);
    }

    /// Adds the marks of a block to `marks`; whether it is whole.
    pub(super) fn open_block(&self, head: &BlockHead, body: &[u8], marks: &mut Vec<Mark>) -> bool {
        if self.block_check(head.sequence, body) != head.check {
            return false;
        }
        let (words, _) = body.as_chunks::<MARK>();
        let read = words.iter().map(|word| Mark::from_bits(u64::from_le_bytes(*word)));
        marks.extend(read.flatten());
        true
    }

    fn block_check(&self, sequence: u64, body: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.check);
        hasher.update(&sequence.to_le_bytes()).update(body);
        *hasher.finalize().as_bytes().first_chunk().expect("32 bytes are more than 16")
    }
}

/// Why a head is not the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    /// It does not begin as journals do.
    NoJournal,
    /// It is of another version of this program.
    Version,
    /// It belongs to another Sphinx key.
    OtherKey,
    /// Some of its bytes have changed.
    Damaged,
}

/// The first bytes of a block, not yet held against its marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHead {
    /// Marks in the block.
    pub(super) count: usize,
    /// Which block of the journal it says it is.
    pub(super) sequence: u64,
    check: [u8; 16],
}

impl BlockHead {
    /// Reads it; nothing if these bytes begin no block.
    pub(super) fn read(bytes: &[u8; BLOCK_HEAD]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (sequence, check) = rest.split_first_chunk()?;
        let count = u32::from_le_bytes(*count) as usize;
        let sequence = u64::from_le_bytes(*sequence);
        let sound = magic == BLOCK_MAGIC && (1..=BLOCK_MARKS).contains(&count);
        sound.then_some(Self { count, sequence, check: *check.first_chunk()? })
    }

    /// Bytes of the whole block.
    pub(super) const fn len(&self) -> u64 {
        (BLOCK_HEAD + self.count * MARK) as u64
    }
}
