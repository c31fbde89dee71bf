//! HKDF (RFC 5869) over HMAC (RFC 2104) with BLAKE3 as the hash: how the stock software derives
//! the keys between clients and gateways, and those of messages.

use zeroize::Zeroizing;

/// The block that BLAKE3 names for HMAC, bytes.
const BLOCK: usize = 64;

/// The first 32 bytes, which are one block of output, of the key that `input` and `salt` make for
/// the purpose `info`. Shorter keys are the front of it.
pub(crate) fn hkdf(salt: &[u8], input: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let extracted = hmac(salt, &[input]);
    hmac(extracted.as_ref(), &[info, &[1]])
}

fn hmac(key: &[u8], message: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut block = Zeroizing::new([0; BLOCK]);
    if key.len() > BLOCK {
        block[..32].copy_from_slice(blake3::hash(key).as_bytes());
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = padded(&block, 0x36, message);
    padded(&block, 0x5c, &[inner.as_ref()])
}

fn padded(key: &[u8; BLOCK], pad: u8, message: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(Zeroizing::new(key.map(|byte| byte ^ pad)).as_ref());
    for part in message {
        hasher.update(part);
    }
    let digest = Zeroizing::new(*hasher.finalize().as_bytes());
    hasher.reset();
    digest
}
