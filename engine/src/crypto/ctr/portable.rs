//! AES-CTR lane by lane on the aes and ctr crates, which use AES instructions where there are any.

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use ctr::Ctr64BE;

use crate::wire::geometry::{K, STREAM_LEN};

/// See [`HeaderStream`](super::HeaderStream).
///
/// # Panics
/// If the slices differ in length.
pub fn header_stream(keys: &[[u8; K]], blocks: &mut [[u8; STREAM_LEN]]) {
    assert_eq!(keys.len(), blocks.len());
    for (key, block) in keys.iter().zip(blocks) {
        apply(key, &[0; 16], block);
    }
}

/// Xors the stream of `key` that starts at counter block `start`.
pub(super) fn apply(key: &[u8; K], start: &[u8; 16], data: &mut [u8]) {
    Ctr64BE::<Aes128>::new(key.into(), start.into()).apply_keystream(data);
}
