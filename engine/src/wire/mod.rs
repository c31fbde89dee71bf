//! The wire: sizes and offsets, frames, addresses. Bytes in, meaning out; no state but the
//! parser's.

pub mod address;
pub mod frame;
pub mod geometry;
