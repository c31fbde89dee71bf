//! What goes back to a client over one connection, and how much of it may be under way.

use std::sync::Arc;

use phix_client::mixnet::{Outgoing, Recipient, Sender, SenderTag, Sent};
use phix_engine::wire::geometry::PacketSize;
use phix_proto::message::packets_needed;
use phix_proto::requester::{Content, Data, Form, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::counts::Ending;
use super::inbound::Inbound;
use super::limits::{LAST_WORD, PIECE, WINDOW};

/// Bytes of a message before and after its data, at most.
const OVERHEAD: usize = 32;

/// The way back to a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By the reply SURBs that came under this name.
    Surbs(SenderTag),
    /// To an address, which the client has told.
    Address(Recipient),
}

impl Way {
    pub(super) const fn outgoing(self, data: Vec<u8>) -> Outgoing {
        match self {
            Self::Surbs(sender) => Outgoing::Reply { sender, data },
            Self::Address(recipient) => Outgoing::Message { recipient, data, reply_surbs: 0 },
        }
    }
}

/// Room for a piece in both windows: that of the connection and that of all.
pub(super) struct Room([OwnedSemaphorePermit; 2]);

/// What is said over one connection.
#[derive(Debug)]
pub(super) struct Answers {
    sender: Sender,
    way: Way,
    form: Form,
    connection: u64,
    lane: u64,
    sequence: u64,
    closed: bool,
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    inbound: Arc<Inbound>,
}

/// Packets that so many bytes of data take.
fn packets(bytes: usize) -> u32 {
    let packets = packets_needed(bytes + OVERHEAD, PacketSize::Regular);
    u32::try_from(packets).expect("pieces are short")
}

impl Answers {
    pub(super) fn new(
        sender: Sender,
        way: Way,
        form: Form,
        [connection, lane]: [u64; 2],
        all: Arc<Semaphore>,
        inbound: Arc<Inbound>,
    ) -> Self {
        let own = Arc::new(Semaphore::new(WINDOW));
        let (sequence, closed) = (0, false);
        Self { sender, way, form, connection, lane, sequence, closed, own, all, inbound }
    }

    /// Waits until a piece of data may be under way.
    pub(super) async fn room(&self) -> Room {
        let most = packets(PIECE);
        let own = Arc::clone(&self.own).acquire_many_owned(most).await;
        let all = Arc::clone(&self.all).acquire_many_owned(most).await;
        Room([own, all].map(|permit| permit.expect("windows are never closed")))
    }

    /// Sends data. It keeps the room that it needs until all of it is acknowledged.
    pub(super) async fn data(&mut self, bytes: &[u8], room: Room) -> Result<(), Ending> {
        let sent = self.say(bytes, false).await?;
        let needed = packets(bytes.len()) as usize;
        let kept = room.0.map(|mut permit| permit.split(needed));
        let inbound = Arc::clone(&self.inbound);
        // There are as many of these tasks as the window has room for.
        tokio::spawn(async move {
            if sent.arrived().await.is_err() {
                inbound.fail(Ending::Unanswerable);
            }
            drop(kept);
        });
        Ok(())
    }

    /// Says that the connection lives; the first time, that it has come about.
    pub(super) async fn alive(&mut self) -> Result<(), Ending> {
        let _ = self.say(&[], false).await?;
        Ok(())
    }

    /// Says that nothing follows.
    pub(super) async fn close(&mut self) -> Result<(), Ending> {
        if !self.closed {
            self.closed = true;
            let _ = self.say(&[], true).await?;
        }
        Ok(())
    }

    async fn say(&mut self, bytes: &[u8], closed: bool) -> Result<Sent, Ending> {
        let (connection, sequence) = (self.connection, self.sequence);
        self.sequence += 1;
        self.submit(Content::NetworkData(Data { connection, sequence, closed, bytes })).await
    }

    async fn submit(&self, content: Content<'_>) -> Result<Sent, Ending> {
        let message = Response::new(self.form, content).encode();
        let message = message.expect("both forms have words for connections");
        let sent = self.sender.submit(self.way.outgoing(message), Some(self.lane)).await;
        sent.map_err(|_| Ending::Unanswerable)
    }

    /// Says how the connection ended: why first, and that it is closed when that has arrived, so
    /// that the one is not taken for the other.
    pub(super) async fn finish(mut self, why: Ending) {
        if why == Ending::Unanswerable {
            // The client has ended if this fails, and all lanes with it.
            let _ = self.sender.close_lane(self.lane).await;
            return;
        }
        if let Some(reason) = why.words() {
            let error = Content::ConnectionError { connection: self.connection, reason };
            if let Ok(sent) = self.submit(error).await {
                // It is said once; a client that does not hear it sees the end.
                let _ = timeout(LAST_WORD, sent.arrived()).await;
            }
        }
        let _ = self.close().await;
    }
}
