//! The task that reads what clients say. It keeps the table of connections and never waits for one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use phix_client::mixnet::{Client, Delivery, Outgoing, Receiver, Sender, SenderTag};
use phix_proto::requester::{
    Body, Connect, Content, Control, ControlAnswer, Data, Form, Query, Request, Response,
};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::answers::{Answers, Way};
use super::connection::Job;
use super::counts::{Counts, Dropped, Ending};
use super::early::{Early, Gone};
use super::gate::Gate;
use super::inbound::{Budget, Inbound};
use super::limits::{ASIDE, CONNECTIONS, CONNECTIONS_OF_CLIENT, INBOUND_TOTAL, WINDOW_TOTAL};

/// How often it is looked for what has waited too long.
const TIDYING: Duration = Duration::from_secs(5);

/// A connection's name: its number, among those of the client that reply SURBs tell. Clients that
/// give an address instead say it once, and share their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) sender: Option<SenderTag>,
    pub(super) number: u64,
}

struct Connection {
    inbound: Arc<Inbound>,
    task: AbortHandle,
}

/// What the desk works with.
pub(super) struct Desk {
    sender: Sender,
    gate: Arc<dyn Gate>,
    counts: Arc<Counts>,
    budget: Arc<Budget>,
    window: Arc<Semaphore>,
    aside: mpsc::Sender<Outgoing>,
    connections: HashMap<Name, Connection>,
    of_clients: HashMap<SenderTag, usize>,
    early: Early,
    gone: Gone,
    tasks: JoinSet<Name>,
    lanes: u64,
}

/// Serves what comes to `client`, until it has ended.
pub(super) async fn serve(client: Client, gate: Arc<dyn Gate>, counts: Arc<Counts>) {
    let (sender, receiver) = client.split();
    let (aside, said) = mpsc::channel(ASIDE);
    let desk = Desk {
        sender: sender.clone(),
        gate,
        counts,
        budget: Budget::new(INBOUND_TOTAL),
        window: Arc::new(Semaphore::new(WINDOW_TOTAL)),
        aside,
        connections: HashMap::new(),
        of_clients: HashMap::new(),
        early: Early::default(),
        gone: Gone::default(),
        tasks: JoinSet::new(),
        lanes: 0,
    };
    tokio::select! {
        () = desk.work(receiver) => {}
        () = say(sender, said) => {}
    }
}

/// Sends what belongs to no connection.
async fn say(sender: Sender, mut said: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = said.recv().await {
        // Whoever cannot be answered any more does not wait for it.
        let _ = sender.submit(outgoing, None).await.map(drop);
    }
}

impl Desk {
    async fn work(mut self, mut receiver: Receiver) {
        let mut tidying = interval(TIDYING);
        tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                delivery = receiver.receive() => match delivery {
                    Some(delivery) => self.take(&delivery),
                    None => break,
                },
                Some(ended) = self.tasks.join_next_with_id() => self.note_end(ended),
                _ = tidying.tick() => {
                    let expired = self.early.expire(Instant::now());
                    (0..expired).for_each(|_| self.counts.note_drop(Dropped::EarlyExpired));
                }
            }
        }
        self.counts.connections.set(0);
    }

    fn take(&mut self, delivery: &Delivery) {
        let Ok(Request { form, body }) = Request::parse(&delivery.data) else {
            return self.counts.note_drop(Dropped::Malformed);
        };
        let way = delivery.sender.map(Way::Surbs);
        match body {
            Body::Connect(connect) => {
                let way = connect.return_address.map(Way::Address).or(way);
                let name = Name { sender: delivery.sender, number: connect.connection };
                match way {
                    Some(way) => self.connect(name, way, form, connect),
                    None => self.counts.note_drop(Dropped::NoWay),
                }
            }
            Body::Send(data) => {
                let name = Name { sender: delivery.sender, number: data.connection };
                self.data(name, &data);
            }
            Body::Query(query) => self.query(way, form, query),
            Body::Control(control) => self.control(way, form, control),
        }
    }

    fn connect(&mut self, name: Name, way: Way, form: Form, connect: Connect) {
        if self.connections.contains_key(&name) || self.gone.has(&name) {
            return self.counts.note_drop(Dropped::Repeated);
        }
        self.counts.asked.add(1);
        let of_client = name.sender.and_then(|tag| self.of_clients.get(&tag).copied());
        let crowded = if self.connections.len() >= CONNECTIONS {
            Some(Ending::Crowded)
        } else if of_client.unwrap_or(0) >= CONNECTIONS_OF_CLIENT {
            Some(Ending::CrowdedClient)
        } else {
            None
        };
        if let Some(why) = crowded {
            return self.refuse(name, way, form, why);
        }
        let inbound = self.early.take(&name);
        let inbound = inbound.unwrap_or_else(|| Arc::new(Inbound::new(&self.budget)));
        inbound.want();
        self.lanes += 1;
        let answers = Answers::new(
            self.sender.clone(),
            way,
            form,
            [name.number, self.lanes],
            Arc::clone(&self.window),
            Arc::clone(&inbound),
        );
        let job = Job {
            target: connect.target,
            gate: Arc::clone(&self.gate),
            inbound: Arc::clone(&inbound),
            answers,
            counts: Arc::clone(&self.counts),
        };
        let task = self.tasks.spawn(async move {
            job.run().await;
            name
        });
        self.connections.insert(name, Connection { inbound, task });
        if let Some(tag) = name.sender {
            *self.of_clients.entry(tag).or_default() += 1;
        }
        self.counts.connections.set(self.connections.len() as u64);
    }

    /// Says that there is no room, and why.
    fn refuse(&mut self, name: Name, way: Way, form: Form, why: Ending) {
        self.counts.note_end(why);
        self.early.take(&name);
        self.gone.note(name);
        let connection = name.number;
        let reason = why.words().expect("refusals are said");
        self.say(way, form, Content::ConnectionError { connection, reason });
        let close = Data { connection, sequence: 0, closed: true, bytes: &[] };
        self.say(way, form, Content::NetworkData(close));
    }

    fn data(&mut self, name: Name, data: &Data<'_>) {
        let inbound = if let Some(connection) = self.connections.get(&name) {
            &connection.inbound
        } else if self.gone.has(&name) {
            return self.counts.note_drop(Dropped::Late);
        } else {
            match self.early.place(name, || Inbound::new(&self.budget)) {
                Some(inbound) => inbound,
                None => return self.counts.note_drop(Dropped::EarlyFull),
            }
        };
        if !inbound.insert(data) {
            self.counts.note_drop(Dropped::Repeated);
        }
    }

    fn query(&self, way: Option<Way>, form: Form, query: Query) {
        match way {
            Some(way) => {
                self.counts.answered.add(1);
                self.say(way, form, Content::Query(self.gate.answer(query)));
            }
            None => self.counts.note_drop(Dropped::NoWay),
        }
    }

    fn control(&self, way: Option<Way>, form: Form, control: Control) {
        let Some(way) = way else { return self.counts.note_drop(Dropped::NoWay) };
        self.counts.answered.add(1);
        let answer = match control {
            Control::Health => ControlAnswer::Health,
            Control::Versions => ControlAnswer::versions(),
            Control::Binary => {
                ControlAnswer::Error("this exit does not tell what it was built from".to_owned())
            }
        };
        self.say(way, form, Content::Control(answer));
    }

    /// Says something that belongs to no connection, if there is room for it.
    fn say(&self, way: Way, form: Form, content: Content<'_>) {
        let message = Response::new(form, content).encode();
        let message = message.expect("what was asked in a form can be answered in it");
        if self.aside.try_send(way.outgoing(message)).is_err() {
            self.counts.note_drop(Dropped::Aside);
        }
    }

    fn note_end(&mut self, ended: Result<(tokio::task::Id, Name), tokio::task::JoinError>) {
        let name = match ended {
            Ok((_, name)) => name,
            // A task that panicked is a connection that has ended, too.
            Err(error) => {
                let panicked = |(_, one): &(&Name, &Connection)| one.task.id() == error.id();
                let Some((&name, _)) = self.connections.iter().find(panicked) else { return };
                name
            }
        };
        self.connections.remove(&name);
        self.gone.note(name);
        if let Some(tag) = name.sender
            && let Some(count) = self.of_clients.get_mut(&tag)
        {
            *count -= 1;
            if *count == 0 {
                self.of_clients.remove(&tag);
            }
        }
        self.counts.connections.set(self.connections.len() as u64);
    }
}
