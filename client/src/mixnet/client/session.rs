//! One session with the gateway, from its first packet to its end.

use std::io;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use phix_io::MonotonicClock;
use phix_proto::gateway::ServerResponse;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::core;
use super::super::dial::Connection;
use super::account::Account;
use super::alarm::Alarm;
use super::driver::{Driver, End};
use super::link::{Link, LinkError, Seal};
use crate::topology::Topology;

/// Packets that wait for the socket to the gateway. A socket that takes none for that long delays
/// the streams.
const UNSENT_MAX: usize = 16;

/// Bytes of messages that nobody has received, beyond which no more are taken from the gateway.
const UNDELIVERED_MAX: usize = 2 * core::MESSAGE_MAX;

/// A gateway that says nothing for so long is gone: it acknowledges every packet.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long a closed link is given to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

struct Session<'a> {
    driver: &'a mut Driver,
    stream: SplitStream<WebSocketStream<Connection>>,
    unsent: mpsc::Sender<Message>,
    seal: Seal,
    account: Account,
    alarm: Alarm,
    heard: Instant,
}

/// Runs a session until the link breaks or the handles want an end.
pub(super) async fn serve(
    driver: &mut Driver,
    link: Link,
    topologies: &mut mpsc::Receiver<Topology>,
) -> End {
    let Link { socket, seal, bandwidth } = link;
    let (sink, stream) = socket.split();
    let (unsent, queue) = mpsc::channel(UNSENT_MAX);
    let writer = write(sink, queue);
    tokio::pin!(writer);
    let alarm = match Alarm::new() {
        Ok(alarm) => alarm,
        Err(error) => return driver.broken(error),
    };
    driver.core.resume(MonotonicClock.now());
    let mut account = Account::new(bandwidth);
    account.claim_if_low(&unsent);
    let heard = Instant::now();
    let mut session = Session { driver, stream, unsent, seal, account, alarm, heard };
    let end = loop {
        tokio::select! {
            biased;
            ended = &mut writer => break session.driver.broken(ended),
            step = session.step(topologies) => if let Err(end) = step {
                break end;
            },
        }
    };
    if matches!(end, End::Wanted(_)) {
        let Session { mut stream, unsent, .. } = session;
        drop(unsent);
        let parting = async {
            writer.await;
            while let Some(Ok(_)) = stream.next().await {}
        };
        // A gateway that does not answer is left all the same.
        let _ = tokio::time::timeout(GOODBYE, parting).await;
    }
    end
}

impl Session<'_> {
    /// Does whatever comes next.
    async fn step(&mut self, topologies: &mut mpsc::Receiver<Topology>) -> Result<(), End> {
        self.driver.hand_over();
        self.driver.take_waiting();
        let wait = self.driver.core.deadline().since(MonotonicClock.now());
        self.alarm.set(wait).map_err(|error| self.driver.broken(error))?;
        let deliveries = self.driver.deliveries.clone();
        let may_read = self.driver.waiting.bytes() < UNDELIVERED_MAX;
        let may_deliver = self.driver.waiting.has_undelivered();
        let may_obey = !self.driver.waiting.for_room();
        // None of these comes first: a stream that is faster than this machine must not keep what
        // arrives waiting.
        tokio::select! {
            rung = ring(&self.unsent, &self.alarm) => {
                rung.map_err(|error| self.driver.broken(error))?;
                self.depart();
            }
            message = self.stream.next(), if may_read => {
                self.heard = Instant::now();
                self.take_in(message).map_err(|error| self.driver.broken(error))?;
            }
            permit = deliveries.reserve(), if may_deliver => self.driver.deliver(permit.ok()),
            Some(command) = self.driver.commands.recv(), if may_obey => self.driver.obey(command),
            told = self.driver.closes.recv() => return Err(End::Wanted(told)),
            Some(topology) = topologies.recv() => self.driver.take_topology(topology),
            () = tokio::time::sleep_until(self.heard + SILENCE_MAX), if may_read => {
                let gateway = self.driver.gateway.url.authority();
                return Err(End::Broken(LinkError::Late(gateway, SILENCE_MAX)));
            }
        }
        Ok(())
    }

    /// Sends what is due, for as long as there is room.
    fn depart(&mut self) {
        while let Ok(permit) = self.unsent.try_reserve() {
            #[cfg(test)]
            let due = self.driver.core.deadline();
            let Some(packet) = self.driver.core.depart(MonotonicClock.now()) else { break };
            #[cfg(test)]
            self.driver.schedule.lock().expect("nobody panics with it").push(due);
            permit.send(self.seal.packet(&packet));
        }
        self.driver.note_events();
        self.driver.core.prepare(MonotonicClock.now());
    }

    /// Takes in a message of the gateway.
    fn take_in(
        &mut self,
        message: Option<Result<Message, tungstenite::Error>>,
    ) -> Result<(), tungstenite::Error> {
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                let mut bytes = Vec::from(bytes);
                if let Some(payload) = self.seal.open(&mut bytes) {
                    self.driver.core.arrive(payload, MonotonicClock.now());
                    self.driver.note_events();
                }
            }
            Some(Ok(Message::Text(text))) => {
                if let Ok(response) = ServerResponse::parse(text.as_str()) {
                    self.account.note(&response, Instant::now());
                    self.account.claim_if_low(&self.unsent);
                    self.driver.tell(self.account.status(Instant::now()));
                }
            }
            Some(Ok(Message::Close(_))) | None => return Err(tungstenite::Error::ConnectionClosed),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error),
        }
        Ok(())
    }
}

/// Waits until a packet is due and there is room for it. A full queue holds the streams up; what is
/// due leaves when there is room.
async fn ring(unsent: &mpsc::Sender<Message>, alarm: &Alarm) -> io::Result<()> {
    let permit = unsent.reserve().await;
    alarm.rung().await.map(|()| drop(permit))
}

/// Writes what is in the queue until it is closed, then says goodbye.
async fn write(
    mut sink: SplitSink<WebSocketStream<Connection>, Message>,
    mut queue: mpsc::Receiver<Message>,
) -> tungstenite::Error {
    while let Some(message) = queue.recv().await {
        if let Err(error) = sink.send(message).await {
            return error;
        }
    }
    match sink.close().await {
        Ok(()) => tungstenite::Error::ConnectionClosed,
        Err(error) => error,
    }
}
