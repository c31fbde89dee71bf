//! The layers between an application's message and the payload of a Sphinx packet.
//!
//! Out: a [`Message`] is encoded, padded and cut ([`split`]) into fragments; a [`Packer`] seals
//! each for its recipient, puts in front of it the acknowledgement that the recipient's gateway
//! will send, and wraps it all in a Sphinx packet. In: [`FinalPayload`] is what the gateway reads,
//! [`receive`] opens what the gateway hands to the client, and an [`Assembler`] puts fragments
//! together.
//!
//! Whoever wants an answer without saying who it is sends a [`Repliable`] message, with reply
//! blocks from [`Packer::surbs`]; whoever got them spends one for each fragment of the answer
//! ([`Packer::answer`]).
//!
//! ```
//! use phix_engine::crypto::PORTABLE;
//! use phix_engine::secret::NodeSecret;
//! use phix_engine::sphinx::build::Hop;
//! use phix_engine::units::{Span, Time};
//! use phix_engine::wire::address;
//! use phix_engine::wire::frame::KeyRotation;
//! use phix_engine::wire::geometry::PacketSize;
//! use phix_proto::message::{
//!     AssemblyLimits, Assembled, Assembler, ClientKeys, Message, Packer, Parcel, Received, Routes,
//!     SurbFormat, receive, split, unpad,
//! };
//! use rand::SeedableRng;
//!
//! # fn at_the_gateway(packet: Vec<u8>, secret: &NodeSecret) -> Vec<u8> {
//! #     use phix_engine::sphinx::{KeyChoice, Peeler, final_message};
//! #     use phix_engine::wire::geometry::HEADER;
//! #     let mut packet = packet;
//! #     let mut peeler = Peeler::new(PORTABLE);
//! #     peeler.open(&mut [&mut packet], &[KeyChoice { first: secret, second: None }]);
//! #     peeler.strip(&mut [&mut packet], &[true]);
//! #     let plain = final_message(&packet[HEADER..]).expect("it is whole");
//! #     let payload = phix_proto::message::FinalPayload::parse(PacketSize::Regular, plain);
//! #     payload.expect("it is well formed").message.to_vec()
//! # }
//! let mut rng = rand::rngs::StdRng::seed_from_u64(1);
//! let (alice, bob) = (ClientKeys::generate(&mut rng), ClientKeys::generate(&mut rng));
//! let gateway = *ClientKeys::generate(&mut rng).identity().verifying_key().as_bytes();
//! let secret = NodeSecret::from_bytes([7; 32]);
//! let hop = Hop {
//!     address: address::encode("127.0.0.1:1789".parse()?),
//!     public_key: secret.public(),
//!     delay: Span::ZERO,
//! };
//! let routes = Routes { there: &[hop], back: &[hop], rotation: KeyRotation::Unknown };
//!
//! let (own, format) = (alice.recipient(gateway)?, SurbFormat::default());
//! let mut packer = Packer::new(PORTABLE, own, alice.ack().clone(), format);
//! let bytes = Message::Plain(b"hello".to_vec()).encode();
//! let fragments = split(bytes, PacketSize::Regular, &mut rng);
//! let recipient = bob.recipient(gateway)?;
//! let parcels: Vec<_> = fragments
//!     .iter()
//!     .map(|fragment| Parcel { fragment, recipient: &recipient, routes })
//!     .collect();
//! let packets = packer.pack(&parcels, &mut rng)?;
//!
//! let mut assembler = Assembler::new(AssemblyLimits::default());
//! for packet in packets {
//!     let mut pushed = at_the_gateway(packet.bytes, &secret);
//!     let Ok(Received::Fragment(fragment)) = receive(&bob, &mut pushed, |_| None) else {
//!         panic!("it is for Bob")
//!     };
//!     if let Assembled::Complete(padded) = assembler.insert(fragment, Time::ZERO) {
//!         let message = Message::parse(&unpad(padded).expect("it is padded"))?;
//!         assert!(matches!(message, Message::Plain(text) if text == b"hello"));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ack;
mod assemble;
mod content;
mod cover;
mod fragment;
mod keys;
mod pack;
mod payload;
mod receive;
mod recipient;
mod seal;
mod split;
mod surb;
mod tag;
#[cfg(test)]
mod tests;

pub use self::ack::ACK;
pub use self::assemble::{Assembled, Assembler, AssemblyLimits};
pub use self::content::{Message, MessageError, Purpose, Repliable, Reply, SURBS_MAX};
pub use self::fragment::{
    Fragment, FragmentError, FragmentId, LINKED_HEADER, Link, SET_MAX, SetId, UNLINKED_HEADER,
};
pub use self::keys::{AckKey, ClientKeys};
pub use self::pack::{Answer, Packer, Packet, Parcel, Routes};
pub use self::payload::{ACK_PART, Ack, FinalPayload};
pub use self::receive::{Received, Unreadable, receive};
pub use self::recipient::{RECIPIENT, Recipient, RecipientError};
pub use self::seal::{KEY_PART, ReplyKey};
pub use self::split::{fragment_room, packets_needed, split, unpad};
pub use self::surb::{ReplySurb, SurbError, SurbFormat};
pub use self::tag::{SenderTag, SenderTagError};
