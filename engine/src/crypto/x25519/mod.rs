//! X25519 (RFC 7748, section 5): key agreement with the sender, and the blinding of alpha.

pub mod portable;
#[cfg(test)]
mod tests;

/// `out[i] = clamp(scalars[i]) * points[i]`, u-coordinates in RFC 7748's encoding.
///
/// Arguments: scalars (clamped here), points (the top bit is ignored, any u is accepted, on the
/// curve or on its twist), out. Low-order points are not refused: the header MAC that follows is
/// the check, and senders in the field do none either.
///
/// Panics if the slices differ in length.
pub type X25519 = fn(&[[u8; 32]], &[[u8; 32]], &mut [[u8; 32]]);
