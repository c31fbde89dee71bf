//! `phix-client receive`: the last hop of a route, which shows what arrives.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use phix_engine::counters::{Counters, DropReason};
use phix_engine::pool::Capacity;
use phix_engine::replay::ReplayFilter;
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Config, Delivery, FinalHops, Keys, NodeKey, Sink, Undelivered};
use phix_engine::sphinx::final_message;
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_io::noise::Noise;
use phix_io::{LinkChoice, PeerLimits, Server, ServerConfig, StopSignal};
use serde_json::json;

use super::{Ended, Refusal, note, say};
use crate::keyfile::{self, KeyKind};
use crate::message::{describe, harmless};
use crate::packet::os_seed;
use crate::topology::PublicKey;

/// Messages that wait to be printed; beyond that they are counted and not shown.
const WAITING_MAX: usize = 1024;

/// Packets whose tags are remembered, so that none is shown twice; 16 MiB.
const REPLAY_CAPACITY: usize = 4 << 20;

/// Packets of each size that wait to be opened, smallest size first. None waits for long, as the
/// last hop adds no delay.
const CAPACITY: Capacity = [1024, 4096, 256, 256, 256];

/// Be the last hop: open packets made for this key and show the messages in them.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, with a key made by `phix-client keygen gateway.key`:
  phix-client receive --key gateway.key --listen 127.0.0.1:1789 --count 1

Text is shown as it is if it has printable characters only; of anything else, the size and the
front of its BLAKE3 hash. Interrupt it (Ctrl-C) to see the totals.")]
pub(super) struct Arguments {
    /// The private key, as `phix-client keygen` or `phix-node init` makes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Where to take packets: an IP address and a port.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,

    /// End after this many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// How to talk to the kernel.
    #[arg(long, value_name = "auto|io_uring|epoll", default_value = "auto")]
    link: LinkChoice,

    /// Print one JSON object per line, for programs.
    #[arg(long)]
    json: bool,
}

/// How often the shard is looked after while nothing arrives.
const WATCH: Duration = Duration::from_millis(500);

/// What the printing end is told.
enum Event {
    Message { destination: [u8; 32], message: Vec<u8> },
    Stop,
}

/// Hands messages over to the thread that prints them, and never waits for it.
struct Mailbox {
    events: SyncSender<Event>,
    unshown: Arc<AtomicU64>,
}

impl Sink for Mailbox {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let message = final_message(delivery.payload).ok_or(Undelivered::Malformed)?;
        let (destination, message) = (*delivery.destination, message.to_vec());
        if self.events.try_send(Event::Message { destination, message }).is_err() {
            self.unshown.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    let secret = keyfile::read(&arguments.key, KeyKind::Sphinx).map_err(|error| {
        let way =
            if error.is_lost() { ", or make a new key with `phix-client keygen`" } else { "" };
        Refusal(format!("{error}{way}"))
    })?;
    let public = PublicKey(KeyKind::Sphinx.public(&secret));
    let (events, inbox) = sync_channel(WAITING_MAX);
    let unshown = Arc::new(AtomicU64::new(0));
    let mailbox = |_| Mailbox { events: events.clone(), unshown: Arc::clone(&unshown) };
    let server = Server::start(config(arguments), keys(NodeSecret::from_bytes(*secret)), mailbox)?;
    drop(secret);
    let reason = &server.link().reason;
    note(format_args!("receiving at {} for key {public} ({reason})", server.address()));
    watch_signals(events.clone())?;
    let failed = print_messages(arguments, &inbox, &server);
    let counters = server.stop().counters;
    print_totals(arguments.json, &counters, unshown.load(Ordering::Relaxed));
    let Some(failed) = failed else { return Ok(Ended::Done) };
    note(format_args!("phix-client: receiving came to an end by itself: {failed}"));
    Ok(Ended::Failed)
}

fn config(arguments: &Arguments) -> ServerConfig {
    ServerConfig {
        listen: arguments.listen,
        shards: 1,
        pin: false,
        link: arguments.link,
        source: None,
        connections_max: 1024,
        peers: PeerLimits::default(),
        noise: Noise::default(),
        drain: Duration::from_millis(500),
        shard: Config {
            capacity: CAPACITY,
            batch: 16,
            frames: FrameVersion::Current,
            final_hops: FinalHops::Deliver,
            kernels: phix_io::crypto::fastest(),
            // The server draws its own.
            seed: [0; 32],
        },
    }
}

/// One key for every rotation: a receiving end has only this one.
fn keys(secret: NodeSecret) -> Keys {
    let replay = Arc::new(ReplayFilter::new(REPLAY_CAPACITY, *os_seed()));
    Keys { primary: NodeKey { rotation: KeyRotation::Unknown, secret, replay }, secondary: None }
}

/// Catches the signals before it returns, so that none is lost, and passes the first one on.
fn watch_signals(events: SyncSender<Event>) -> Result<(), Refusal> {
    let stop = StopSignal::install()?;
    let watch = move || {
        while !stop.wait(WATCH) {}
        // Where nobody listens any more, the program is ending already.
        let _ = events.send(Event::Stop);
    };
    thread::Builder::new().name("phix-stop".into()).spawn(watch)?;
    Ok(())
}

/// Prints until there is a reason to end; says what broke, if that is the reason.
fn print_messages(
    arguments: &Arguments,
    inbox: &Receiver<Event>,
    server: &Server,
) -> Option<String> {
    let mut shown = 0;
    while arguments.count.is_none_or(|count| shown < count) {
        let (destination, message) = match inbox.recv_timeout(WATCH) {
            Ok(Event::Message { destination, message }) => (destination, message),
            Ok(Event::Stop) => return None,
            Err(_) => match server.failed() {
                Some(failed) => return Some(failed),
                None => continue,
            },
        };
        shown += 1;
        if !arguments.json {
            say(describe(&destination, &message));
            continue;
        }
        let to = PublicKey(destination).to_string();
        let hash = blake3::hash(&message).to_hex();
        let mut line = json!({ "to": to, "bytes": message.len(), "blake3": hash.as_str() });
        if let Some(text) = harmless(&message) {
            line["text"] = text.into();
        }
        say(line);
    }
    None
}

fn print_totals(json: bool, counters: &Counters, unshown: u64) {
    let dropped = DropReason::ALL.map(|reason| (reason.name(), counters.dropped(reason)));
    let dropped = dropped.into_iter().filter(|(_, count)| *count > 0);
    if json {
        let reasons: serde_json::Map<_, _> =
            dropped.map(|(name, count)| (name.to_owned(), count.into())).collect();
        let (received, delivered) = (counters.received, counters.delivered);
        let malformed = counters.malformed;
        say(json!({ "received": received, "delivered": delivered, "unshown": unshown,
            "dropped": reasons, "malformed_connections": malformed }));
        return;
    }
    let (received, delivered) = (counters.received, counters.delivered);
    note(format_args!("received {received} packets, {delivered} of them messages"));
    dropped.for_each(|(name, count)| note(format_args!("dropped {count}: {name}")));
    if counters.malformed > 0 {
        let malformed = counters.malformed;
        note(format_args!("closed {malformed} connections that did not speak the protocol"));
    }
    if unshown > 0 {
        note(format_args!("{unshown} messages came faster than they could be shown"));
    }
}
