//! Builds the packets of a test load in advance, on all cores.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use chacha20::ChaCha20Rng;
use phix_engine::units::Span;
use rand::SeedableRng;
use zeroize::Zeroizing;

use crate::packet::{BuildError, Factory, Packet, PacketConfig, os_seed};
use crate::probe::{PROBE_LEN_MIN, Probe};
use crate::schedule::{Planned, Schedule, poisson};
use crate::topology::{NodeId, Topology};

/// Packets that a thread builds before it looks for more; each chunk has its own seed, so that
/// the result does not depend on the number of cores.
const CHUNK: usize = 64;

/// A load of probes: Poisson times, one random route each.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many senders share the load; at least one.
    pub senders: u16,
    /// Packets, over all senders.
    pub packets: usize,
    /// Packets per second, over all senders.
    pub rate: f64,
    /// What the packets have in common.
    pub packet: PacketConfig,
    /// The last hop.
    pub gateway: NodeId,
    /// The client that the last hop is to deliver to.
    pub destination: [u8; 32],
    /// Where times, routes, delays and secrets come from; nothing: the operating system. A fixed
    /// seed is for tests and demonstrations only, as it opens every packet.
    pub seed: Option<[u8; 32]>,
}

/// A packet and its time.
#[derive(Clone, Debug)]
pub struct Timed {
    /// When it is to be sent, from the start.
    pub offset: Span,
    /// What is to be sent.
    pub packet: Packet,
}

/// What [`prepare`] made. Each packet takes about its size in memory.
#[derive(Clone, Debug)]
pub struct Load {
    /// The packets of each sender in the order of their times.
    pub senders: Vec<Vec<Timed>>,
    /// The intended times of the probes in them.
    pub schedule: Arc<Schedule>,
}

/// Why a load cannot be prepared.
#[derive(Debug)]
pub enum PlanError {
    /// No sender, or a rate that is not a positive number.
    Absurd,
    /// The gateway is not in the topology.
    Gateway(NodeId),
    /// A packet cannot be built.
    Build(BuildError),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absurd => f.write_str("a load needs a sender and a rate above zero"),
            Self::Gateway(id) => write!(f, "the topology has no node {id} to be the last hop"),
            Self::Build(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PlanError {}

/// Builds all packets of a plan on all cores. `progress` hears, from any thread, how many were
/// built since it was last called.
///
/// # Errors
/// If the plan makes no sense or a packet cannot be built.
pub fn prepare(
    plan: &Plan,
    topology: &Topology,
    progress: impl Fn(usize) + Sync,
) -> Result<Load, PlanError> {
    if plan.senders == 0 || !(plan.rate > 0.0 && plan.rate.is_finite()) {
        return Err(PlanError::Absurd);
    }
    if topology.node(plan.gateway).is_none() {
        return Err(PlanError::Gateway(plan.gateway));
    }
    let seed = plan.seed.map_or_else(os_seed, Zeroizing::new);
    let jobs = jobs(plan, &seed);
    let packets = build_all(plan, topology, &jobs, &seed, &progress)?;
    let mut senders: Vec<Vec<Timed>> = (0..plan.senders).map(|_| Vec::new()).collect();
    for ((probe, offset), packet) in jobs.into_iter().zip(packets) {
        senders[usize::from(probe.sender)].push(Timed { offset, packet });
    }
    let planned = |timed: &Timed| Planned { offset: timed.offset, delays: timed.packet.delays };
    let schedule = Schedule::new(senders.iter().map(|sender| sender.iter().map(planned).collect()));
    Ok(Load { senders, schedule: Arc::new(schedule) })
}

/// Every probe and its time, sender by sender.
fn jobs(plan: &Plan, seed: &[u8; 32]) -> Vec<(Probe, Span)> {
    let senders = usize::from(plan.senders);
    let rate = plan.rate / f64::from(plan.senders);
    let of_sender = |sender: u16| {
        let position = usize::from(sender);
        let count = plan.packets / senders + usize::from(position < plan.packets % senders);
        let mut rng = ChaCha20Rng::from_seed(derive(seed, "times", position));
        let offsets = poisson(&mut rng, rate, count).into_iter().zip(0..);
        offsets.map(move |(offset, sequence)| (Probe { sender, sequence }, offset))
    };
    (0..plan.senders).flat_map(of_sender).collect()
}

fn build_all(
    plan: &Plan,
    topology: &Topology,
    jobs: &[(Probe, Span)],
    seed: &[u8; 32],
    progress: &(impl Fn(usize) + Sync),
) -> Result<Vec<Packet>, PlanError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut built = Vec::new();
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let Some(jobs) = jobs.chunks(CHUNK).nth(chunk) else { return Ok(built) };
            let factory = Factory::seeded(plan.packet, derive(seed, "packets", chunk));
            built.push((chunk, build_chunk(plan, topology, jobs, factory)?));
            progress(jobs.len());
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let built: Result<Vec<_>, BuildError> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no builder panics")).collect()
    });
    let mut chunks: Vec<_> = built.map_err(PlanError::Build)?.into_iter().flatten().collect();
    chunks.sort_unstable_by_key(|(chunk, _)| *chunk);
    Ok(chunks.into_iter().flat_map(|(_, packets)| packets).collect())
}

fn build_chunk(
    plan: &Plan,
    topology: &Topology,
    jobs: &[(Probe, Span)],
    mut factory: Factory,
) -> Result<Vec<Packet>, BuildError> {
    let gateway = topology.node(plan.gateway).expect("the caller has looked it up");
    let len = plan.packet.size.message_len().max(PROBE_LEN_MIN);
    let build = |(probe, _): &(Probe, Span)| {
        let route = topology.random_route(factory.rng(), gateway);
        factory.build(&probe.encode(len), &route, plan.destination)
    };
    jobs.iter().map(build).collect()
}

/// Independent seeds from one, by purpose and number.
fn derive(seed: &[u8; 32], purpose: &str, number: usize) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(&(number as u64).to_be_bytes());
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::sample;

    fn plan() -> Plan {
        Plan {
            senders: 3,
            packets: 200,
            rate: 1000.0,
            packet: PacketConfig::default(),
            gateway: 9,
            destination: [4; 32],
            seed: Some([8; 32]),
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_load() {
        let counted = AtomicUsize::new(0);
        let progress = |packets| {
            counted.fetch_add(packets, Ordering::Relaxed);
        };
        let (one, two) =
            (prepare(&plan(), &sample(), progress), prepare(&plan(), &sample(), |_| ()));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(counted.into_inner(), 200);
        assert_eq!(one.schedule.planned(), two.schedule.planned());
        assert_eq!(one.senders.iter().map(Vec::len).collect::<Vec<_>>(), [67, 67, 66]);
        for (one, two) in one.senders.iter().flatten().zip(two.senders.iter().flatten()) {
            // Version 8 header, then alpha, which the first hop's secret decides.
            assert_eq!(one.packet.frame[..36], two.packet.frame[..36]);
            assert_eq!(one.packet.first_hop, two.packet.first_hop);
        }
        let other = prepare(&Plan { seed: None, ..plan() }, &sample(), |_| ()).unwrap();
        assert_ne!(one.schedule.planned(), other.schedule.planned());
    }

    #[test]
    fn times_are_in_order_and_of_the_given_rate() {
        let load = prepare(&plan(), &sample(), |_| ()).unwrap();
        for sender in &load.senders {
            assert!(sender.is_sorted_by_key(|timed| timed.offset));
        }
        let end = load.schedule.end(phix_engine::units::Time::ZERO).as_nanos() as f64 / 1e9;
        assert!((0.1..0.4).contains(&end), "200 packets at 1000/s took {end} s");
    }

    #[test]
    fn absurd_plans_are_refused() {
        let refused = |plan| prepare(&plan, &sample(), |_| ()).unwrap_err().to_string();
        assert!(refused(Plan { senders: 0, ..plan() }).contains("needs a sender"));
        assert!(refused(Plan { rate: 0.0, ..plan() }).contains("rate above zero"));
        assert!(refused(Plan { rate: f64::NAN, ..plan() }).contains("rate above zero"));
        assert!(refused(Plan { gateway: 77, ..plan() }).contains("no node 77"));
        let empty = prepare(&Plan { packets: 0, ..plan() }, &sample(), |_| ()).unwrap();
        assert!(empty.schedule.is_empty());
    }
}
