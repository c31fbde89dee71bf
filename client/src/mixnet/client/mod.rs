//! Handles of a running client, and how to start one.

mod account;
mod alarm;
mod builder;
mod driver;
mod error;
mod link;
mod session;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use phix_proto::message::{Recipient, SenderTag};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::PollSender;

use super::core::{Counters, Delivery, Outgoing};
use super::dial::Url;
use crate::topology::{Node, Topology};
use driver::Command;
use link::Gateway;

pub use builder::Builder;
pub use error::{ConnectError, Disconnected, GivenUp, SendError};
pub use link::LinkError;

/// How a client fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has a session with its gateway.
    Connected,
    /// It has none and tries again; why, for a person.
    Disconnected(String),
    /// The gateway takes no more packets, for want of bandwidth.
    OutOfBandwidth,
    /// The gateway refuses packets, or did some seconds ago; why, in its words.
    Refused(String),
    /// It has ended, because it was told to, or for the reason given.
    Ended(Option<String>),
}

/// A running client: both handles in one. It is a [`Stream`] of the messages that come.
///
/// When all of its handles are gone the client ends; [`Client::disconnect`] waits for that.
#[derive(Debug)]
pub struct Client {
    sender: Sender,
    receiver: Receiver,
}

/// The handle that sends. It can be cloned, and is a [`Sink`] for those who need not know what
/// becomes of each message.
#[derive(Clone, Debug)]
pub struct Sender {
    own: Recipient,
    commands: mpsc::Sender<Command>,
    closes: mpsc::Sender<oneshot::Sender<Counters>>,
    sink: PollSender<Command>,
    status: watch::Receiver<Status>,
    /// For when the packets were meant that have left.
    #[cfg(test)]
    schedule: Schedule,
}

/// Times that packets are meant for, in order.
#[cfg(test)]
type Schedule = std::sync::Arc<std::sync::Mutex<Vec<phix_engine::units::Time>>>;

/// The handle that receives: a [`Stream`] of messages, which ends when the client does.
#[derive(Debug)]
pub struct Receiver(mpsc::Receiver<Delivery>);

/// A message that was taken to be sent. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "the message is under way; `arrived` waits until all of it is acknowledged"]
pub struct Sent {
    arrived: oneshot::Receiver<Result<(), GivenUp>>,
    status: watch::Receiver<Status>,
}

impl Sent {
    /// Waits until all of the message has reached the recipient's gateway, which keeps it for the
    /// recipient.
    ///
    /// # Errors
    /// If it was given up, or the client ended before; why.
    pub async fn arrived(self) -> Result<(), GivenUp> {
        match self.arrived.await {
            Ok(arrived) => arrived,
            Err(_) => match &*self.status.borrow() {
                Status::Ended(why) => Err(GivenUp::Ended(why.clone())),
                _ => Err(GivenUp::Ended(None)),
            },
        }
    }
}

impl Client {
    /// What is to be decided before a client runs.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The address that others send to.
    pub const fn address(&self) -> &Recipient {
        &self.sender.own
    }

    /// Sends a message that cannot be answered; see [`Sender::send`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send(
        &self,
        recipient: Recipient,
        data: impl Into<Vec<u8>>,
    ) -> Result<Sent, SendError> {
        self.sender.send(recipient, data).await
    }

    /// Answers a message; see [`Sender::reply`].
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn reply(
        &self,
        sender: SenderTag,
        data: impl Into<Vec<u8>>,
    ) -> Result<Sent, SendError> {
        self.sender.reply(sender, data).await
    }

    /// The next message; nothing when the client has ended.
    pub async fn receive(&mut self) -> Option<Delivery> {
        self.receiver.receive().await
    }

    /// The handle that sends, for more than one task.
    pub const fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Both handles, each for itself.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Says goodbye to the gateway and waits until the client has ended. What is not acknowledged
    /// by then is not sent again; [`Sender::flush`] before this waits for it.
    ///
    /// # Errors
    /// If the client had ended by itself.
    pub async fn disconnect(self) -> Result<Counters, Disconnected> {
        self.sender.close().await
    }
}

impl Sender {
    /// The address that others send to.
    pub const fn address(&self) -> &Recipient {
        &self.own
    }

    /// Sends a message that cannot be answered. Waits until there is room for it in the queue.
    ///
    /// # Errors
    /// If it is too long, or the client has ended.
    pub async fn send(
        &self,
        recipient: Recipient,
        data: impl Into<Vec<u8>>,
    ) -> Result<Sent, SendError> {
        self.submit(Outgoing::Message { recipient, data: data.into(), reply_surbs: 0 }, None).await
    }

    /// Sends a message with reply SURBs: its recipient can answer about as many kilobytes and a
    /// half, ask for more, and does not learn who sent it.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn send_anonymously(
        &self,
        recipient: Recipient,
        data: impl Into<Vec<u8>>,
        reply_surbs: u32,
    ) -> Result<Sent, SendError> {
        self.submit(Outgoing::Message { recipient, data: data.into(), reply_surbs }, None).await
    }

    /// Answers whoever sent a message with reply SURBs, by the name that the message gave.
    ///
    /// # Errors
    /// As [`Sender::send`], or if nobody of that name has sent any.
    pub async fn reply(
        &self,
        sender: SenderTag,
        data: impl Into<Vec<u8>>,
    ) -> Result<Sent, SendError> {
        self.submit(Outgoing::Reply { sender, data: data.into() }, None).await
    }

    /// Sends anything, in a lane if one is named: messages of one lane leave in order, and lanes
    /// take turns. Without, the message has a lane of its own.
    ///
    /// # Errors
    /// As [`Sender::send`] and [`Sender::reply`].
    pub async fn submit(&self, outgoing: Outgoing, lane: Option<u64>) -> Result<Sent, SendError> {
        let (taken, answer) = oneshot::channel();
        let (arrived, sent) = oneshot::channel();
        let (taken, arrived) = (Some(taken), Some(arrived));
        self.command(Command::Send { outgoing, lane, taken, arrived }).await?;
        answer.await.map_err(|_| Disconnected)??;
        Ok(Sent { arrived: sent, status: self.status.clone() })
    }

    /// Keeps `recipient` supplied with so many reply SURBs under a name that [`Outgoing::Named`]
    /// gave it, as far as the stream has turns for them, and answers no requests for more. Zero is
    /// none for now.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn keep_supplied(
        &self,
        name: SenderTag,
        recipient: Recipient,
        reply_surbs: u32,
    ) -> Result<(), Disconnected> {
        self.command(Command::Supply(name, recipient, reply_surbs)).await
    }

    /// Gives no more reply SURBs under this name, which is not to be used again.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn forget_name(&self, name: SenderTag) -> Result<(), Disconnected> {
        self.command(Command::ForgetName(name)).await
    }

    /// Fragments of a lane that wait to be sent for the first time.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn lane_length(&self, lane: u64) -> Result<usize, Disconnected> {
        self.ask(|told| Command::LaneLength(lane, told)).await
    }

    /// Gives up the messages of a lane that wait to be sent.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn close_lane(&self, lane: u64) -> Result<(), Disconnected> {
        self.command(Command::CloseLane(lane)).await
    }

    /// Waits until everything that was sent is acknowledged or given up.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn flush(&self) -> Result<(), Disconnected> {
        self.ask(Command::Flush).await
    }

    /// What was counted so far.
    ///
    /// # Errors
    /// If the client has ended.
    pub async fn counters(&self) -> Result<Counters, Disconnected> {
        self.ask(Command::Counters).await
    }

    /// How the client fares now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the client fares in another way than when this was last called; how, then.
    /// Nothing when it has ended and that was told.
    pub async fn status_changed(&mut self) -> Option<Status> {
        self.status.changed().await.ok()?;
        Some(self.status.borrow_and_update().clone())
    }

    /// Ends the client, as [`Client::disconnect`].
    ///
    /// # Errors
    /// If the client had ended by itself.
    pub async fn close(self) -> Result<Counters, Disconnected> {
        let (told, answer) = oneshot::channel();
        self.closes.send(told).await.map_err(|_| Disconnected)?;
        answer.await.map_err(|_| Disconnected)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Disconnected> {
        let (told, answer) = oneshot::channel();
        self.command(command(told)).await?;
        answer.await.map_err(|_| Disconnected)
    }

    async fn command(&self, command: Command) -> Result<(), Disconnected> {
        self.commands.send(command).await.map_err(|_| Disconnected)
    }
}

impl Receiver {
    /// The next message; nothing when the client has ended.
    pub async fn receive(&mut self) -> Option<Delivery> {
        self.0.recv().await
    }
}

impl Stream for Receiver {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.get_mut().0.poll_recv(context)
    }
}

impl Stream for Client {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.get_mut().receiver.0.poll_recv(context)
    }
}

/// What is sent is taken in order, and waits for room in the queue. Messages that cannot be sent at
/// all are dropped; [`Sender::submit`] says why.
impl Sink<Outgoing> for Sender {
    type Error = Disconnected;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Disconnected>> {
        self.get_mut().sink.poll_reserve(context).map_err(|_| Disconnected)
    }

    fn start_send(self: Pin<&mut Self>, outgoing: Outgoing) -> Result<(), Disconnected> {
        let command = Command::Send { outgoing, lane: None, taken: None, arrived: None };
        self.get_mut().sink.send_item(command).map_err(|_| Disconnected)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Disconnected>> {
        // The queue of commands is emptied by the client's task.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Disconnected>> {
        self.get_mut().sink.close();
        Poll::Ready(Ok(()))
    }
}

/// The gateway of this identity, if the topology says where clients reach it.
fn gateway_of(topology: &Topology, identity: &[u8; 32]) -> Option<Gateway> {
    gateway_at(topology.node_by_identity(identity)?)
}

fn gateway_at(node: &Node) -> Option<Gateway> {
    let entry = node.entry.as_ref()?;
    let ip = entry.ip_addresses.first().copied().unwrap_or(node.mix_host.ip());
    let url =
        Url { tls: false, host: ip.to_string(), port: entry.clients_ws_port, path: String::new() };
    Some(Gateway { identity: node.identity_key.0, url, fixed: false })
}
