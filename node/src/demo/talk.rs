//! The conversation: what the clients send, and what becomes of it.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use phix_client::mixnet::{Client, Counters, Delivery, Receiver, Sender};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Options;
use crate::fault::Fault;
use crate::server::random;

/// Longest wait for the next message, beyond what the stream of a client can need for all of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest message: a number for itself, and something to be checked.
const SIZE_MIN: usize = 16;

/// Reply SURBs that go with an anonymous message.
const REPLY_SURBS: u32 = 10;

/// What is asked anonymously, and what is answered.
const QUESTION: &[u8] = b"who is there?";
const ANSWER: &[u8] = b"somebody who cannot tell who asks";

/// What became of the messages.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Messages that were given to clients.
    pub(super) sent: usize,
    /// Messages that came, each once.
    pub(super) delivered: usize,
    /// Messages that came again.
    pub(super) duplicated: usize,
    /// Messages that were not what was sent.
    pub(super) corrupted: usize,
    /// Messages whose sender was told that all of them has reached the recipient's gateway.
    pub(super) acknowledged: usize,
    /// Anonymous messages that were answered.
    pub(super) answered: usize,
    /// Bytes of messages that came.
    pub(super) bytes: usize,
    /// From when a message was given to its client until the other client had all of it.
    pub(super) latencies: Vec<Duration>,
    /// How long all of it took.
    pub(super) took: Duration,
    /// What the clients counted.
    pub(super) counters: Vec<Counters>,
}

/// Has two clients of the network with this directory talk to each other.
///
/// # Errors
/// If a client cannot connect, or ends by itself.
pub(super) fn run(
    directory: &str,
    options: &Options,
    given_up: &dyn Fn() -> bool,
) -> Result<Outcome, Fault> {
    let executor = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let executor = executor.map_err(|error| {
        Fault::refused(format!(
            "the clients cannot run ({error}): see that the system allows this user more threads."
        ))
    })?;
    executor.block_on(talk(directory, options, given_up))
}

async fn talk(
    directory: &str,
    options: &Options,
    given_up: &dyn Fn() -> bool,
) -> Result<Outcome, Fault> {
    let (alice, bob) = (connect(directory).await?, connect(directory).await?);
    let started = Instant::now();
    let mut outcome = Outcome::default();
    let mut rng = StdRng::from_seed(random()?);
    let (alice, mut to_alice) = alice.split();
    let (bob, mut to_bob) = bob.split();
    let mut sending = Sending::default();
    for number in 0..options.messages {
        let text = message(&mut rng, options.size_max, number, options.messages);
        sending.send(&alice, &bob, text).await?;
        let text = message(&mut rng, options.size_max, number, options.messages);
        sending.send(&bob, &alice, text).await?;
    }
    outcome.sent = sending.waits.len();
    while !sending.waits.is_empty() && !given_up() {
        let next = async {
            tokio::select! {
                it = to_alice.receive() => it,
                it = to_bob.receive() => it,
            }
        };
        match timeout(PATIENCE, next).await {
            Ok(Some(delivery)) => outcome.take(&delivery, &mut sending),
            Ok(None) => return Err(ended()),
            // What has not come by now is lost.
            Err(_) => break,
        }
        progress(&outcome);
    }
    for arrived in sending.arrived {
        let arrived = timeout(PATIENCE, arrived).await;
        outcome.acknowledged += usize::from(matches!(arrived, Ok(Ok(true))));
    }
    outcome.answered += usize::from(ask(&alice, &mut to_alice, &bob, &mut to_bob).await?);
    outcome.answered += usize::from(ask(&bob, &mut to_bob, &alice, &mut to_alice).await?);
    outcome.took = started.elapsed();
    for client in [alice, bob] {
        outcome.counters.push(client.close().await.map_err(|_| ended())?);
    }
    Ok(outcome)
}

/// A new client of the network with this directory.
///
/// # Errors
/// If it cannot connect.
pub(super) async fn connect(directory: &str) -> Result<Client, Fault> {
    let client = Client::builder().directory(directory).connect().await;
    client.map_err(|error| Fault::broken(format!("a client cannot connect: {error}.")))
}

fn ended() -> Fault {
    Fault::broken("a client has ended by itself; report this.")
}

/// A message of a random length: short ones as often as long ones, on a scale of magnitudes. The
/// first has the greatest length and the last the least, so that both are always there.
fn message(rng: &mut StdRng, longest: usize, number: usize, of: usize) -> Vec<u8> {
    let length = match number {
        0 => longest,
        _ if number + 1 == of => SIZE_MIN,
        _ => {
            let magnitudes = (longest as f64 / SIZE_MIN as f64).ln();
            (SIZE_MIN as f64 * (magnitudes * rng.random::<f64>()).exp()) as usize
        }
    };
    let mut bytes = vec![0; length.clamp(SIZE_MIN, longest)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Messages under way, by their first bytes.
#[derive(Default)]
struct Sending {
    waits: HashMap<[u8; SIZE_MIN], (Vec<u8>, Instant)>,
    came: HashMap<[u8; SIZE_MIN], usize>,
    arrived: Vec<JoinHandle<bool>>,
}

impl Sending {
    async fn send(&mut self, from: &Sender, to: &Sender, text: Vec<u8>) -> Result<(), Fault> {
        let key = *text.first_chunk().expect("no message is shorter");
        self.waits.insert(key, (text.clone(), Instant::now()));
        let sent = from.send(*to.address(), text).await;
        let sent =
            sent.map_err(|error| Fault::broken(format!("a message cannot be sent: {error}.")))?;
        self.arrived.push(tokio::spawn(async move { sent.arrived().await.is_ok() }));
        Ok(())
    }
}

impl Outcome {
    /// Counts a message that has come.
    fn take(&mut self, delivery: &Delivery, sending: &mut Sending) {
        let key = delivery.data.first_chunk::<SIZE_MIN>().copied();
        let waiting = key.and_then(|key| sending.waits.remove(&key));
        match (key, waiting) {
            (Some(key), Some((text, since))) if text == delivery.data => {
                self.delivered += 1;
                self.bytes += text.len();
                self.latencies.push(since.elapsed());
                sending.came.insert(key, text.len());
            }
            (Some(key), None) if sending.came.get(&key) == Some(&delivery.data.len()) => {
                self.duplicated += 1;
            }
            _ => self.corrupted += 1,
        }
    }
}

/// Sends a message whose sender remains unknown, and has it answered; says whether that worked.
async fn ask(
    asker: &Sender,
    to_asker: &mut Receiver,
    other: &Sender,
    to_other: &mut Receiver,
) -> Result<bool, Fault> {
    let sent = asker.send_anonymously(*other.address(), QUESTION, REPLY_SURBS).await;
    let _sent = sent.map_err(|error| Fault::broken(format!("nothing can be asked: {error}.")))?;
    let Ok(Some(question)) = timeout(PATIENCE, to_other.receive()).await else { return Ok(false) };
    let Some(name) = question.sender.filter(|_| question.data == QUESTION) else {
        return Ok(false);
    };
    let sent = other.reply(name, ANSWER).await;
    let _sent =
        sent.map_err(|error| Fault::broken(format!("nothing can be answered: {error}.")))?;
    let answer = timeout(PATIENCE, to_asker.receive()).await;
    Ok(matches!(answer, Ok(Some(answer)) if answer.data == ANSWER))
}

/// A line that is written over, for people who watch.
fn progress(outcome: &Outcome) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let end = if outcome.delivered == outcome.sent { "\n" } else { "" };
        let _ = write!(terminal, "\r  {} of {} messages{end}", outcome.delivered, outcome.sent);
        let _ = terminal.flush();
    }
}
