//! One connection's way to the exit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::{Recipient, SenderTag, SurbFormat, packets_needed};
use phix_proto::requester::{Body, Connect, DATA_HEAD, Data, Request, Target};

use super::inlet::{Failure, Inlet};
use super::tunnel::Tunnel;
use super::window;
use crate::mixnet::{Disconnected, Outgoing, SendError, Sent};

/// Bytes of a message besides its data and SURBs: that it is repliable, the name, that it is data,
/// how the SURBs are written, and the end of the padding's mark.
const AROUND: usize = 1 + 16 + 1 + 4 + 1;

/// SURBs that one packet has room for.
const SURBS_OF_A_PACKET: u32 = 3;

/// Packets that one message takes, at most: its data is there when the last of them is.
const PACKETS: usize = 10;

/// Bytes of data that fill those.
pub(super) const CHUNK: usize = PACKETS * 1604 - AROUND - DATA_HEAD;

/// A connection, while its application is interested.
#[derive(Debug)]
pub(super) struct Line {
    tunnel: Arc<Tunnel>,
    connection: u64,
    name: SenderTag,
    inlet: Arc<Inlet>,
    sequence: AtomicU64,
    closed: AtomicBool,
}

impl Line {
    pub(super) const fn new(
        tunnel: Arc<Tunnel>,
        connection: u64,
        name: SenderTag,
        inlet: Arc<Inlet>,
    ) -> Self {
        let (sequence, closed) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { tunnel, connection, name, inlet, sequence, closed }
    }

    pub(super) const fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    /// What comes for it.
    pub(super) const fn inlet(&self) -> &Arc<Inlet> {
        &self.inlet
    }

    /// Has the exit connect, and waits until it has, if it is one that says so.
    pub(super) async fn open(&self, target: Target) -> Result<(), Failure> {
        let connect = Connect { connection: self.connection, target, return_address: None };
        let sent = self.submit(Body::Connect(connect)).await.map_err(|_| Failure::Silence)?;
        // What tells that it has arrived is the exit's word.
        drop(sent);
        self.supply(window::START).await.map_err(|Disconnected| Failure::Silence)?;
        if self.tunnel.tells() { self.inlet.verdict().await } else { Ok(()) }
    }

    /// Sends bytes of the application; none follow if `closed`.
    pub(super) async fn send(&self, bytes: &[u8], closed: bool) -> Result<Sent, Disconnected> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        self.closed.fetch_or(closed, Ordering::Relaxed);
        let data = Data { connection: self.connection, sequence, closed, bytes };
        self.submit(Body::Send(data)).await
    }

    async fn submit(&self, body: Body<'_>) -> Result<Sent, Disconnected> {
        let data = Request::new(body).encode().expect("the current form has all of these");
        let outgoing = Outgoing::Named {
            recipient: *self.exit(),
            name: self.name,
            reply_surbs: spare(data.len()),
            data,
        };
        match self.tunnel.sender().submit(outgoing, Some(self.connection)).await {
            Ok(sent) => Ok(sent),
            Err(SendError::Disconnected) => Err(Disconnected),
            Err(SendError::Unsendable(_)) => unreachable!("chunks are shorter than messages"),
        }
    }

    /// Keeps the exit supplied with so many SURBs for its answers.
    pub(super) async fn supply(&self, reply_surbs: u32) -> Result<(), Disconnected> {
        self.tunnel.sender().keep_supplied(self.name, *self.exit(), reply_surbs).await
    }

    fn exit(&self) -> &Recipient {
        self.tunnel.exit()
    }

    /// Ends it: tells the exit, if it does not know, and gives it no more SURBs.
    pub(super) async fn close(self) -> Result<(), Disconnected> {
        if !self.closed.load(Ordering::Relaxed) {
            // Nobody is left who would want to know that it has arrived.
            drop(self.send(&[], true).await?);
        }
        self.tunnel.sender().forget_name(self.name).await
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tunnel.remove(self.connection);
    }
}

/// SURBs that a message of so many bytes has room for without taking more packets.
fn spare(len: usize) -> u32 {
    let block = SurbFormat::default().encoded_len(4);
    let packets =
        |surbs: u32| packets_needed(len + AROUND - 1 + surbs as usize * block, PacketSize::Regular);
    let fits = |surbs: &u32| packets(*surbs) == packets(0);
    (1..=SURBS_OF_A_PACKET).take_while(fits).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_packet_has_room_for_is_used() {
        let room: Vec<_> = [0, 40, 200, 202, 500, 660, 662, 1200, 1581].map(spare).to_vec();
        assert_eq!(room, [3, 3, 3, 2, 2, 2, 1, 0, 0]);
        assert_eq!(packets_needed(AROUND - 1 + DATA_HEAD + CHUNK, PacketSize::Regular), PACKETS);
        assert_eq!(
            packets_needed(AROUND + DATA_HEAD + CHUNK, PacketSize::Regular),
            PACKETS + 1,
            "no byte more"
        );
    }
}
