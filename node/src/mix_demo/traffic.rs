//! The run itself: network up, packets built, senders started, arrivals counted, network down.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use phix_client::load::{self, Load, Plan as LoadPlan};
use phix_client::packet::PacketConfig;
use phix_client::progress::Progress;
use phix_client::sender::{Control, OpenLoopSender, SenderConfig, Sent};
use phix_client::tally::{self, Tally};
use phix_engine::counters::Counters;
use phix_engine::shard::{Delivery, Sink, Undelivered};
use phix_engine::sphinx::final_message;
use phix_engine::units::{Span, Time};
use phix_io::{LinkPlan, MonotonicClock};

use super::{Kill, Options};
use crate::cli::say;
use crate::fault::Fault;
use crate::localnet::network::{Network, Plan};

/// How long senders get to connect before the first packet is due.
const HEAD_START: Span = Span::from_millis(300);

/// How long nothing must have moved before the network counts as empty.
const QUIET: Duration = Duration::from_millis(1_500);

/// Longest wait after the last packet was sent: the longest delay of each hop, and then some.
const PATIENCE: Duration = Duration::from_secs(45);

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(250);

/// The client that all packets of a demo are for.
const DESTINATION: [u8; 32] = *b"the receiving end of a phix demo";

/// What a run brought to light.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What arrived.
    pub(super) tally: tally::Report,
    /// What the senders did, summed.
    pub(super) sent: Sent,
    /// What all nodes counted, summed.
    pub(super) counters: Counters,
    /// The link that all nodes used.
    pub(super) link: LinkPlan,
    /// From the first intended sending to the last arrival or, if none, to the end.
    pub(super) took: Duration,
    /// The name of the node that was ended on purpose.
    pub(super) killed: Option<String>,
}

/// The receiving end: hands messages to a tally, once there is one.
#[derive(Clone, Debug, Default)]
struct Receiver(Arc<Mutex<Option<Tally>>>);

impl Receiver {
    fn with<T>(&self, job: impl FnOnce(&mut Tally) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(job)
    }

    fn delivered(&self) -> u64 {
        self.with(|tally| tally.delivered()).unwrap_or(0)
    }
}

impl Sink for Receiver {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let message = final_message(delivery.payload);
        let record = |tally: &mut Tally| match message {
            Some(message) => {
                tally.record(message, delivery.arrived);
            }
            None => tally.record_unreadable(),
        };
        let recorded = self.with(record).and(message);
        recorded.map(|_| ()).ok_or(Undelivered::Malformed)
    }
}

/// Runs the demo as asked.
pub(super) fn run(options: &Options) -> Result<Outcome, Fault> {
    let receiver = Receiver::default();
    let plan = Plan { nodes: options.nodes, port: 0, drain: Duration::from_secs(1) };
    let mut network = Network::start(plan, receiver.clone())?;
    say(opening(options, &network));
    let load = prepare(options, &network)?;
    let schedule = Arc::clone(&load.schedule);
    *receiver.0.lock().unwrap_or_else(PoisonError::into_inner) =
        Some(Tally::new(Arc::clone(&schedule)));

    let control = Arc::new(Control::default());
    let start = MonotonicClock.now().after(HEAD_START);
    let senders = send(load, start, &control)?;
    let watch = Watch { options, receiver: &receiver, control: &control, start };
    let killed = watch.until_quiet(&mut network, &senders)?;
    control.stop();
    let sent = join(senders)?;
    network.stop();

    let tally = receiver.with(|tally| tally.report(start)).expect("the tally was set above");
    let last = schedule.planned().iter().map(|planned| planned.offset.as_nanos());
    let longest = tally.latencies.iter().max().copied().unwrap_or(0);
    let took = Duration::from_nanos(last.max().unwrap_or(0) + longest);
    let counters = network.counters();
    Ok(Outcome { tally, sent, counters, link: network.link, took, killed })
}

fn opening(options: &Options, network: &Network) -> String {
    let addresses: Vec<String> = network
        .topology
        .form()
        .node_details
        .values()
        .map(|node| node.mix_host.to_string())
        .collect();
    let (last, mixes) = addresses.split_last().expect("a network has nodes");
    format!(
        "phix-node {}: {} mix nodes on {}; receiving end on {last}\nlink: {}\ncrypto: \
         {}\n{} regular \
         packets from {} senders at {} packets/s, {} ms mean delay per mix node",
        env!("CARGO_PKG_VERSION"),
        mixes.len(),
        mixes.join(", "),
        network.link.reason,
        network.kernels.name,
        options.packets,
        options.senders,
        options.rate,
        options.mean_delay.as_secs_f64() * 1e3,
    )
}

fn prepare(options: &Options, network: &Network) -> Result<Load, Fault> {
    let gateway = network.topology.entry_gateways().next().expect("checked by the topology");
    let plan = LoadPlan {
        senders: options.senders,
        packets: options.packets,
        rate: options.rate,
        packet: PacketConfig { mean_delay: options.mean_delay, ..PacketConfig::default() },
        gateway: gateway.node_id,
        destination: DESTINATION,
        seed: None,
    };
    let built = AtomicUsize::new(0);
    let line = Mutex::new(Progress::new());
    let load = load::prepare(&plan, &network.topology, |more| {
        let built = built.fetch_add(more, Ordering::Relaxed) + more;
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        line.show(|| format!("building packets: {built} of {}", options.packets));
    });
    line.into_inner().unwrap_or_else(PoisonError::into_inner).end();
    load.map_err(|error| Fault::refused(format!("the packets cannot be built: {error}.")))
}

fn send(load: Load, start: Time, control: &Arc<Control>) -> Result<Vec<JoinHandle<Sent>>, Fault> {
    let spawn = |packets| {
        let config = SenderConfig::default();
        OpenLoopSender::new(packets, config, MonotonicClock, Arc::clone(control)).spawn(start)
    };
    load.senders.into_iter().map(spawn).collect::<io::Result<_>>().map_err(|error| {
        Fault::refused(format!("a sender cannot be started ({error}): allow more threads."))
    })
}

fn join(senders: Vec<JoinHandle<Sent>>) -> Result<Sent, Fault> {
    let mut sum = Sent::default();
    for sender in senders {
        let sent = sender.join().map_err(|_| Fault::broken("a sender broke; report this."))?;
        sum.sent += sent.sent;
        sum.failed += sent.failed;
        sum.skipped += sent.skipped;
        sum.lateness_max = sum.lateness_max.max(sent.lateness_max);
        sum.reconnects += sent.reconnects;
        sum.last_error = sent.last_error.or(sum.last_error);
    }
    Ok(sum)
}

/// What is looked at while packets are on their way.
struct Watch<'a> {
    options: &'a Options,
    receiver: &'a Receiver,
    control: &'a Control,
    start: Time,
}

impl Watch<'_> {
    /// Waits until every packet has arrived, or nothing moves any more; ends a node on the way, if
    /// that was asked for, and says which.
    fn until_quiet(
        &self,
        network: &mut Network,
        senders: &[JoinHandle<Sent>],
    ) -> Result<Option<String>, Fault> {
        let (mut progress, mut killed) = (Progress::new(), None);
        let (mut moved, mut last) = (Instant::now(), (0, 0, 0));
        let mut patience = None;
        loop {
            thread::sleep(TICK);
            if let Some(what) = network.failed() {
                return Err(Fault::broken(format!("{what}; report this.")));
            }
            killed = killed.or_else(|| self.kill_if_due(network));
            let (delivered, held) = (self.receiver.delivered(), network.held());
            let now = (self.control.handled(), delivered, held);
            if now != last {
                (moved, last) = (Instant::now(), now);
            }
            progress.show(|| {
                let (handled, all) = (now.0, self.options.packets);
                format!(
                    "handled {handled} of {all}, delivered {delivered}, inside the nodes {held}"
                )
            });
            let done = senders.iter().all(JoinHandle::is_finished);
            let over = *patience.get_or_insert_with(Instant::now);
            if !done {
                patience = None;
                continue;
            }
            let all = delivered >= self.options.packets as u64;
            let quiet = held == 0 && moved.elapsed() >= QUIET;
            if all || quiet || over.elapsed() >= PATIENCE {
                // A packet that comes twice comes soon after; give it the time to be noticed.
                thread::sleep(TICK);
                progress.end();
                return Ok(killed);
            }
        }
    }

    fn kill_if_due(&self, network: &mut Network) -> Option<String> {
        let Kill { mix, after } = self.options.kill?;
        let due = self.start.after(Span::from_nanos(after.as_nanos() as u64));
        if MonotonicClock.now() < due {
            return None;
        }
        let node = &mut network.mixes[mix];
        node.kill();
        Some(node.name.clone())
    }
}
