//! A client of a mixnet: real messages hidden in a stream of packets that never changes.
//!
//! A [`Client`] has a session with an entry gateway and sends a Poisson stream of packets to it,
//! which carry the fragments of messages if there are any, and cover otherwise. Each packet brings
//! its acknowledgement with it, and a fragment that is not acknowledged is sent again. Who wants an
//! answer and remains unknown sends reply SURBs along.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use phix_client::mixnet::Client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut alice = Client::builder().directory("http://127.0.0.1:8080/api").connect().await?;
//! let mut bob = Client::builder().directory("http://127.0.0.1:8080/api").connect().await?;
//!
//! // A message that Bob can answer without learning who Alice is.
//! let sent = alice.sender().send_anonymously(*bob.address(), "hello", 10).await?;
//! let message = bob.next().await.ok_or("Bob's client has ended")?;
//! if let Some(sender) = message.sender {
//!     bob.reply(sender, "hello yourself").await?.arrived().await?;
//! }
//! sent.arrived().await?;
//! println!("{}", String::from_utf8_lossy(&alice.next().await.ok_or("it has ended")?.data));
//!
//! bob.disconnect().await?;
//! alice.disconnect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! The parts: [`core`] decides what leaves when, without I/O; [`settings`] are what a person may
//! change; [`store`] keeps a client on disk; [`directory`] fetches topologies; [`apps`] offers a
//! client to other programs by a WebSocket, as stock nym-client does.

pub mod apps;
mod client;
pub mod core;
pub mod dial;
pub mod directory;
pub mod http;
pub mod settings;
pub mod store;
#[cfg(test)]
mod testing;

pub use client::{
    Builder, Client, ConnectError, Disconnected, GivenUp, LinkError, Receiver, SendError, Sender,
    Sent, Status,
};
pub use core::{Counters, Delivery, Outgoing, Unsendable};
pub use directory::{DirectoryError, network_requesters, topology};
pub use phix_proto::message::{Recipient, RecipientError, SenderTag};
pub use settings::{Length, Settings};
