//! A client that speaks the protocol of SOCKS5 clients, many connections at once.

use std::collections::HashMap;

use phix_client::mixnet::{Client, Outgoing, Recipient, SenderTag, Settings};
use phix_proto::requester::{
    Body, Connect, Content, Data, Form, Ordered, Request, Response, Target,
};

use crate::scene::Scene;
use crate::within;

/// What has come over one connection.
#[derive(Debug)]
pub(crate) struct Heard {
    ordered: Ordered,
    pub(crate) bytes: Vec<u8>,
    pub(crate) error: Option<String>,
    pub(crate) connected: bool,
    pub(crate) closed: bool,
}

pub(crate) struct App {
    client: Client,
    exit: Recipient,
    form: Form,
    /// The name that everything goes under; without, it is the client's for this exit.
    name: Option<SenderTag>,
    sent: HashMap<u64, u64>,
    heard: HashMap<u64, Heard>,
    /// What has come besides data.
    pub(crate) answers: Vec<Vec<u8>>,
}

impl App {
    pub(crate) async fn new(scene: &Scene) -> Self {
        Self::of(scene.settings(), *scene.requester.address()).await
    }

    pub(crate) async fn of(settings: Settings, exit: Recipient) -> Self {
        let client = within(Client::builder().settings(settings).connect()).await.unwrap();
        let (sent, heard, answers) = (HashMap::new(), HashMap::new(), Vec::new());
        Self { client, exit, form: Form::Current, name: None, sent, heard, answers }
    }

    /// Speaks the form without versions.
    pub(crate) fn unversioned(mut self) -> Self {
        self.form = Form::Unversioned;
        self
    }

    /// Sends everything under a name that gives no reply SURBs but those that go with messages.
    pub(crate) fn frugal(mut self) -> Self {
        self.name = Some(SenderTag::from_bytes([9; 16]));
        self
    }

    /// Has the exit hold so many reply SURBs.
    pub(crate) async fn supply(&self, reply_surbs: u32) {
        let name = self.name.expect("it has a name");
        within(self.client.sender().keep_supplied(name, self.exit, reply_surbs)).await.unwrap();
    }

    pub(crate) const fn address(&self) -> &Recipient {
        self.client.address()
    }

    pub(crate) async fn request(&self, body: Body<'_>, reply_surbs: u32) {
        let data = Request { form: self.form, body }.encode().unwrap();
        self.say(data, reply_surbs).await;
    }

    pub(crate) async fn say(&self, data: Vec<u8>, reply_surbs: u32) {
        let recipient = self.exit;
        let outgoing = match self.name {
            Some(name) => Outgoing::Named { recipient, name, data, reply_surbs },
            None => Outgoing::Message { recipient, data, reply_surbs },
        };
        let _ = within(self.client.sender().submit(outgoing, None)).await.unwrap();
    }

    pub(crate) async fn connect(&self, connection: u64, target: &Target) {
        let target = target.clone();
        let connect = Connect { connection, target, return_address: None };
        self.request(Body::Connect(connect), 20).await;
    }

    pub(crate) async fn send(&mut self, connection: u64, bytes: &[u8], closed: bool) {
        let next = self.sent.entry(connection).or_default();
        let sequence = *next;
        *next += 1;
        let data = Data { connection, sequence, closed, bytes };
        self.request(Body::Send(data), 3).await;
    }

    /// Takes in the next message.
    pub(crate) async fn hear(&mut self) {
        let delivery = within(self.client.receive()).await.expect("the client runs");
        let response = Response::parse(&delivery.data).unwrap();
        assert_eq!(response.form, self.form);
        match response.content {
            Content::NetworkData(data) => {
                let heard = self.connection(data.connection);
                heard.ordered.insert(data.sequence, data.bytes.to_vec(), data.closed).unwrap();
                while let Some(bytes) = heard.ordered.take() {
                    heard.connected = true;
                    heard.bytes.extend(bytes);
                }
                heard.closed = heard.ordered.has_ended();
            }
            Content::ConnectionError { connection, reason } => {
                let heard = self.connection(connection);
                // The reason comes before the end.
                assert!(!heard.closed && heard.error.is_none(), "{heard:?}");
                heard.error = Some(reason.to_owned());
            }
            _ => self.answers.push(delivery.data),
        }
    }

    pub(crate) fn connection(&mut self, connection: u64) -> &mut Heard {
        self.heard.entry(connection).or_insert_with(|| Heard {
            ordered: Ordered::new(usize::MAX),
            bytes: Vec::new(),
            error: None,
            connected: false,
            closed: false,
        })
    }

    /// Takes in what comes until the connection is as `wanted`.
    pub(crate) async fn until(
        &mut self,
        connection: u64,
        wanted: impl Fn(&Heard) -> bool,
    ) -> &mut Heard {
        while !wanted(self.connection(connection)) {
            self.hear().await;
        }
        self.connection(connection)
    }

    /// Everything that comes over the connection, to its end.
    pub(crate) async fn all(&mut self, connection: u64) -> &mut Heard {
        self.until(connection, |heard| heard.closed).await
    }
}
