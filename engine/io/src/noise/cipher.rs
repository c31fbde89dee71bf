//! Sealing and opening records where they lie.
//!
//! Nonces count from zero, one per record; the protocol's functions differ in how the number
//! becomes a nonce (the Noise Protocol Framework, section 12). There is no rekeying, as in the
//! stock software: a connection that has used up its nonces ends.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::aead::{Algorithm, UnboundKey};
use zeroize::Zeroizing;

use super::record::{BODY_MAX, HEADER_LEN, Kind, Pattern, RecordHeader, TAG_LEN};

/// Every nonce of a connection has been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

/// A record is not what the other end sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// One direction of a connection. The library wipes its key when it is dropped.
struct Cipher {
    key: LessSafeKey,
    pattern: Pattern,
    /// The next nonce. The largest number is reserved by the protocol.
    counter: u64,
}

impl Cipher {
    fn new(pattern: Pattern, key: &[u8; 32]) -> Self {
        let algorithm: &'static Algorithm = match pattern {
            Pattern::XkPsk3 => &AES_256_GCM,
            Pattern::IkPsk2 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).expect("both algorithms take keys of 32 bytes");
        Self { key: LessSafeKey::new(key), pattern, counter: 0 }
    }

    /// The next nonce, which is used up by that.
    fn nonce(&mut self) -> Option<Nonce> {
        let counter = self.counter;
        self.counter = counter.checked_add(1)?;
        let mut nonce = [0; NONCE_LEN];
        nonce[4..].copy_from_slice(&match self.pattern {
            Pattern::XkPsk3 => counter.to_be_bytes(),
            Pattern::IkPsk2 => counter.to_le_bytes(),
        });
        Some(Nonce::assume_unique_for_key(nonce))
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("counter", &self.counter).finish_non_exhaustive()
    }
}

/// The sending direction.
#[derive(Debug)]
pub struct Sealer(Cipher);

impl Sealer {
    pub(super) fn new(pattern: Pattern, key: &[u8; 32]) -> Self {
        Self(Cipher::new(pattern, key))
    }

    /// Makes a record of what stands between the first [`HEADER_LEN`] and the last [`TAG_LEN`]
    /// bytes, which are written over.
    ///
    /// # Errors
    /// If there is no nonce left; the connection must end.
    ///
    /// # Panics
    /// If the record has no room for head and tag, or its body would exceed [`BODY_MAX`].
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), Exhausted> {
        let (head, body) = record.split_at_mut(HEADER_LEN);
        assert!((TAG_LEN..=BODY_MAX).contains(&body.len()), "a body has a tag and fits its length");
        let header =
            RecordHeader { pattern: self.0.pattern, kind: Kind::Data, len: body.len() as u16 };
        head.copy_from_slice(&header.bytes());
        let (text, end) = body.split_at_mut(body.len() - TAG_LEN);
        let nonce = self.0.nonce().ok_or(Exhausted)?;
        let tag = self.0.key.seal_in_place_separate_tag(nonce, Aad::empty(), text);
        end.copy_from_slice(tag.expect("the body is shorter than either cipher's limit").as_ref());
        Ok(())
    }

    /// Goes on as after `records` records.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, records: u64) {
        self.0.counter = records;
    }
}

/// The receiving direction.
#[derive(Debug)]
pub struct Opener {
    cipher: Cipher,
    /// Kept for whoever goes on with the connection in another process.
    key: ReceivingKey,
}

/// All that opening the next record of a connection takes. Secret.
#[derive(Clone)]
pub struct ReceivingKey {
    /// The protocol of the connection.
    pub pattern: Pattern,
    /// The key of the records.
    pub key: Zeroizing<[u8; 32]>,
    /// Records that were opened.
    pub records: u64,
}

impl fmt::Debug for ReceivingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivingKey").field("records", &self.records).finish_non_exhaustive()
    }
}

impl Opener {
    pub(super) fn new(pattern: Pattern, key: &[u8; 32]) -> Self {
        Self::resume(ReceivingKey { pattern, key: Zeroizing::new(*key), records: 0 })
    }

    /// Goes on where the opener stood that gave this.
    pub(super) fn resume(key: ReceivingKey) -> Self {
        let mut cipher = Cipher::new(key.pattern, &key.key);
        cipher.counter = key.records;
        Self { cipher, key }
    }

    /// What [`Opener::resume`] goes on with.
    pub(super) fn receiving_key(&self) -> ReceivingKey {
        ReceivingKey { records: self.cipher.counter, ..self.key.clone() }
    }

    /// The protocol of the connection.
    pub const fn pattern(&self) -> Pattern {
        self.cipher.pattern
    }

    /// Decrypts a record's body in place; gives the plaintext in it.
    ///
    /// # Errors
    /// If the tag is wrong, or the nonces are used up. The connection must end.
    pub fn open<'a>(&mut self, body: &'a mut [u8]) -> Result<&'a mut [u8], Forged> {
        let nonce = self.cipher.nonce().ok_or(Forged)?;
        self.cipher.key.open_in_place(nonce, Aad::empty(), body).map_err(|_| Forged)
    }

    /// Goes on as after `records` records.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, records: u64) {
        self.cipher.counter = records;
    }
}
