//! Noise between nodes: who speaks it with whom, how it begins, and how packets travel in it.
//!
//! Everything here is pure: bytes in, bytes out, no socket and no clock. `handshake` gets two ends
//! to know each other (by the snow crate), `cipher` seals and opens records (by aws-lc), `record`
//! is the layout on the wire, `reader` finds records in a stream that is cut anywhere, `policy`
//! says who is spoken to in which way.
//!
//! Facts from nym-noise 2.0.0. As there, the initiator of a connection sends and the responder
//! receives; the version is 1, and the pattern is that of the node's settings.
//!
//! Invariant: nothing of a record's plaintext is used before its tag was found right.
//! Invariant: a failed handshake or record ends the connection; nothing is tried twice.

mod cipher;
mod handshake;
mod policy;
mod reader;
mod record;
#[cfg(test)]
mod tests;

pub use cipher::{Exhausted, Forged, Opener, ReceivingKey, Sealer};
pub use handshake::{Greeting, GreetingError, Heard, Message, NoiseKey, Session};
pub(crate) use policy::{Answer, Begin, Either};
pub use policy::{Noise, NoisePeers, Plain};
pub use reader::{Gathering, Reader, RecordError};
pub use record::{BODY_MAX, HEADER_LEN, Kind, Pattern, RecordHeader, TAG_LEN};
