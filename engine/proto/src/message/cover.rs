//! Loop cover traffic: packets that a client sends to itself, so that nobody sees when it speaks.
//!
//! They are made like any other packet; only what is inside the innermost encryption differs. Facts
//! from nym-sphinx-cover 2.0.0.

/// What stands in place of a fragment. Its first bit is clear and a fragment's is set, so neither
/// is taken for the other.
const COVER: &[u8] = b"The cake is a lie!";

/// Appends the content of a cover packet in which a fragment could have `room` bytes.
pub(super) fn write(room: usize, out: &mut Vec<u8>) {
    let end = out.len() + room;
    out.extend(COVER);
    out.push(1);
    out.resize(end, 0);
}

/// Whether what a packet brought is cover.
pub(super) fn is_cover(content: &[u8]) -> bool {
    content.starts_with(COVER)
}
