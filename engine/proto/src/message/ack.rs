//! Acknowledgements: what a client writes to itself and has the gateway of the recipient send.
//!
//! The content of an acknowledgement packet is `IV 16 | fragment's identifier 5 under AES-128-CTR`.
//! Facts from nym-sphinx-acknowledgements 2.0.0.

use phix_engine::wire::geometry::PacketSize;
use rand_core::CryptoRng;

use super::fragment::FragmentId;
use super::keys::{AckKey, random};
use super::seal::apply;

/// Bytes of the content.
pub const ACK: usize = PacketSize::Ack.message_len();
const IV: usize = 16;
const _: () = assert!(IV + FragmentId::LEN == ACK);

impl AckKey {
    /// The content of an acknowledgement for the fragment `id`.
    pub fn seal<R: CryptoRng + ?Sized>(&self, id: FragmentId, rng: &mut R) -> [u8; ACK] {
        let iv: [u8; IV] = random(rng);
        let mut sealed = [0; ACK];
        sealed[..IV].copy_from_slice(&iv);
        sealed[IV..].copy_from_slice(&id.to_bytes());
        apply(self.as_bytes(), &iv, &mut sealed[IV..]);
        sealed
    }

    /// The fragment that the acknowledgement with this content is for.
    ///
    /// There is no proof in it that this key made it: a stranger's is read as a random number,
    /// which is hardly ever that of a fragment under way.
    pub fn open(&self, sealed: &[u8; ACK]) -> Option<FragmentId> {
        let (iv, mut id) = sealed.split_first_chunk::<IV>().map(|(iv, id)| {
            let mut bytes = [0; FragmentId::LEN];
            bytes.copy_from_slice(id);
            (iv, bytes)
        })?;
        apply(self.as_bytes(), iv, &mut id);
        FragmentId::from_bytes(id)
    }
}
