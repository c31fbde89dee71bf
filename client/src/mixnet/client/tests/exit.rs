//! A small exit: it speaks the protocol of network requesters and connects to anything on this
//! machine, save ports that a test forbids or has it forget.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use phix_proto::message::{Recipient, SenderTag};
use phix_proto::requester::{
    Body, Connect, Content, Control, ControlAnswer, Data, Form, Ordered, Request, Response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::mixnet::{Client, Sender};

/// Bytes that it reads at a time from a server.
const CHUNK: usize = 8_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub(super) forbidden: Option<SocketAddr>,
    /// A target about which it says nothing.
    pub(super) ignored: Option<SocketAddr>,
}

pub(super) struct Exit {
    pub(super) address: Recipient,
    /// Bytes that have gone all the way to the gateway of whoever asked.
    pub(super) arrived: Arc<AtomicUsize>,
}

/// A message for a connection: its number, whether it is the last, and the bytes.
type Piece = (u64, bool, Vec<u8>);

impl Exit {
    /// One that is this client.
    pub(super) fn start(client: Client, rules: Rules) -> Self {
        let (address, arrived) = (*client.address(), Arc::new(AtomicUsize::new(0)));
        let counted = arrived.clone();
        tokio::spawn(async move {
            let (sender, mut receiver) = client.split();
            let mut connections: HashMap<u64, mpsc::UnboundedSender<Piece>> = HashMap::new();
            while let Some(delivery) = receiver.receive().await {
                let request = Request::parse(&delivery.data).expect("clients make sense");
                let tag = delivery.sender;
                match request.body {
                    Body::Connect(connect) => {
                        let (pieces, queue) = mpsc::unbounded_channel();
                        let early = connections.insert(connect.connection, pieces);
                        assert!(early.is_none(), "nothing is said before the word is there");
                        let link = Link { sender: sender.clone(), tag: tag.unwrap(), connect };
                        tokio::spawn(link.serve(rules, queue, counted.clone()));
                    }
                    Body::Send(data) => {
                        let pieces = &connections[&data.connection];
                        // The connection may be over.
                        let _ = pieces.send((data.sequence, data.closed, data.bytes.to_vec()));
                    }
                    Body::Control(Control::Binary) => {
                        let content = Content::Control(ControlAnswer::Error("no".into()));
                        let answer = Response::new(Form::Current, content).encode().unwrap();
                        let _ = sender.reply(tag.unwrap(), answer).await.unwrap();
                    }
                    Body::Control(Control::Health) => {
                        let content = Content::Control(ControlAnswer::Health);
                        let answer = Response::new(Form::Current, content).encode().unwrap();
                        let _ = sender.reply(tag.unwrap(), answer).await.unwrap();
                    }
                    other => panic!("nobody asks this here: {other:?}"),
                }
            }
        });
        Self { address, arrived }
    }
}

struct Link {
    sender: Sender,
    tag: SenderTag,
    connect: Connect,
}

impl Link {
    async fn say(&self, content: Content<'_>) -> crate::mixnet::Sent {
        let answer = Response::new(Form::Current, content).encode().unwrap();
        self.sender.reply(self.tag, answer).await.unwrap()
    }

    async fn fail(&self, reason: &str) {
        let connection = self.connect.connection;
        drop(self.say(Content::ConnectionError { connection, reason }).await);
    }

    async fn serve(
        self,
        rules: Rules,
        queue: mpsc::UnboundedReceiver<Piece>,
        arrived: Arc<AtomicUsize>,
    ) {
        let target: SocketAddr = self.connect.target.to_string().parse().unwrap();
        if rules.ignored == Some(target) {
            return;
        }
        if rules.forbidden == Some(target) {
            return self.fail("the exit policy forbids this").await;
        }
        match TcpStream::connect(target).await {
            Ok(stream) => {
                let (from, to) = stream.into_split();
                let writing = tokio::spawn(write(to, queue));
                if let Err(error) = self.read(from, &arrived).await {
                    self.fail(&error.to_string()).await;
                    writing.abort();
                }
            }
            Err(error) => self.fail(&error.to_string()).await,
        }
    }

    /// One message at a time, so that it is seen what goes through.
    async fn read(
        &self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        arrived: &AtomicUsize,
    ) -> std::io::Result<()> {
        let connection = self.connect.connection;
        let mut buffer = vec![0; CHUNK];
        let (mut sequence, mut closed, mut len) = (0, false, 0);
        loop {
            let bytes = &buffer[..len];
            let sent = self.say(Content::NetworkData(Data { connection, sequence, closed, bytes }));
            let sent = sent.await;
            if closed {
                return Ok(());
            }
            sequence += 1;
            if sent.arrived().await.is_ok() {
                arrived.fetch_add(len, Ordering::Relaxed);
            }
            len = from.read(&mut buffer).await?;
            closed = len == 0;
        }
    }
}

async fn write(
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Piece>,
) -> std::io::Result<()> {
    let mut ordered = Ordered::new(4 << 20);
    while let Some((sequence, closed, bytes)) = queue.recv().await {
        ordered.insert(sequence, bytes, closed).expect("clients keep to their windows");
        while let Some(bytes) = ordered.take() {
            to.write_all(&bytes).await?;
        }
        if ordered.has_ended() {
            return to.shutdown().await;
        }
    }
    Ok(())
}
