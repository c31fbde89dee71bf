//! The arguments of `phix-client load`, and what they come to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use phix_engine::units::Span;
use phix_engine::wire::frame::{FrameHeader, FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use serde_json::{Value, json};

use super::noise::NoiseArguments;
use crate::cli::{Refusal, values};
use crate::packet::SphinxVersion;
use crate::tester::pace::Pace;
use crate::tester::prepare::{Delay, Target};
use crate::topology;

/// Packets of one run at most: their positions are 32-bit numbers.
const PACKETS_MAX: f64 = (1_u64 << 31) as f64 - 1.0;

/// Offer packets to a node, or along the paths of a topology, and account for each of them.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("target").required(true).args(["node", "topology", "echo"])))]
#[command(after_help = "\
Examples:
  phix-client load --node 127.0.0.1:1789 --key BASE58 --rate 20000 --duration 10s
  phix-client load --node 127.0.0.1:1789 --key BASE58 --find-max --mean-delay 0ms
  phix-client load --topology topology.json --rate 500 --arrivals poisson --max-p99 20ms

The tester is the hop before the nodes and the one behind them: packets come back to --listen. Every
packet is different and is built in advance. Latency counts from the time at which a packet was to
be sent, so a node that slows the sender down does not look better for it; the delay error is the
latency less the delays that the packet asked for. Exit code 0 if the objective was met, 1 if it was
missed, 2 if the arguments or the machine do not allow the run.")]
pub(in crate::cli) struct Arguments {
    /// Address of the node under test; any node of the Nym wire protocol.
    #[arg(long, value_name = "ADDRESS", requires = "key")]
    node: Option<SocketAddr>,

    /// The node's Sphinx key.
    #[arg(long, value_name = "BASE58", requires = "node", value_parser = values::key)]
    key: Option<[u8; 32]>,

    /// Test whole paths: random routes through the three mix layers of this topology file.
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,

    /// Measure the tester itself: this peer sends every frame back as it came.
    #[arg(long, value_name = "ADDRESS")]
    echo: Option<SocketAddr>,

    /// Where packets come back; by default the address that the node sees, and any free port.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,

    /// Packets per second; where --find-max begins.
    #[arg(long, value_name = "R", default_value = "1000", value_parser = values::rate)]
    pub(super) rate: f64,

    /// How packets follow each other.
    #[arg(long, value_enum, default_value_t = Pace::Constant)]
    pub(super) arrivals: Pace,

    /// How long to send.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::time)]
    duration: Duration,

    /// Send this many packets instead.
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "find_max"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    packets: Option<u32>,

    /// Connections to each first hop.
    #[arg(long, value_name = "N", default_value = "4")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,

    /// Size of the packets.
    #[arg(long, default_value = "regular", value_parser = values::size)]
    #[arg(value_name = "ack|regular|ext8|ext16|ext32")]
    size: PacketSize,

    /// Mean of the exponential delay that each hop is asked for; 0ms for none.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = values::time)]
    mean_delay: Duration,

    /// Ask every hop for this delay instead.
    #[arg(long, value_name = "TIME", conflicts_with = "mean_delay", value_parser = values::time)]
    delay: Option<Duration>,

    /// Version of the Sphinx format.
    #[arg(long, value_name = "258|259|260", default_value = "259", value_parser = values::version)]
    pub(super) sphinx_version: SphinxVersion,

    /// Version of the frames.
    #[arg(long, value_name = "7|8", default_value = "8", value_parser = values::frames)]
    frames: FrameVersion,

    /// The rotation that the key belongs to; by default not said, or the topology's.
    #[arg(long, value_name = "unknown|odd|even", value_parser = values::rotation)]
    rotation: Option<KeyRotation>,

    #[command(flatten)]
    pub(super) noise: NoiseArguments,

    /// Core that sending and receiving stay on.
    #[arg(long, value_name = "N")]
    pub(super) cpu: Option<usize>,

    /// Packets of the beginning that are sent and counted, but not timed.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = values::time)]
    warm_up: Duration,

    /// How long nothing may move, beyond the longest delay, before missing packets are lost.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::time)]
    drain: Duration,

    /// Share of the packets that may be lost.
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = values::share)]
    pub(super) max_loss: f64,

    /// Limit for the 99th percentile of the delay error.
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    max_p99: Option<Duration>,

    /// Search the highest rate that meets the objective and does not leave the node behind: upwards
    /// from --rate until a trial fails, then by bisection.
    #[arg(long)]
    pub(super) find_max: bool,

    /// Length of each trial of --find-max.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = values::time)]
    trial: Duration,

    /// Trials that --find-max makes at a rate before it takes it for failed.
    #[arg(long, value_name = "N", default_value = "2")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    pub(super) attempts: u8,

    /// How exact --find-max is: the share between the rates that passed and failed.
    #[arg(long, value_name = "SHARE", default_value = "2%", value_parser = values::share)]
    pub(super) tolerance: f64,

    /// The rate above which --find-max does not go.
    #[arg(long, value_name = "R", default_value = "200000", value_parser = values::rate)]
    pub(super) max_rate: f64,

    /// Write everything, with a description of this machine, to a file.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Write a line per second to a file.
    #[arg(long, value_name = "FILE", conflicts_with = "find_max")]
    pub(super) csv: Option<PathBuf>,

    /// Write the histograms to files whose names begin like this.
    #[arg(long, value_name = "BASE", conflicts_with = "find_max")]
    pub(super) hgrm: Option<PathBuf>,
}

impl Arguments {
    /// What the packets are to pass, and the rotation that its keys belong to.
    pub(super) fn target(&self) -> Result<(Target, KeyRotation), Refusal> {
        let said = self.rotation.unwrap_or_default();
        match (self.node, self.key, &self.topology, self.echo) {
            (Some(address), Some(key), ..) => Ok((Target::Node { address, key }, said)),
            (.., Some(path), _) => {
                let topology = topology::load(path)?;
                let own = KeyRotation::from_id(topology.metadata().key_rotation_id);
                let rotation = self.rotation.unwrap_or(own);
                Ok((Target::Path(Box::new(topology)), rotation))
            }
            (.., Some(address)) => Ok((Target::Echo(address), said)),
            _ => Err(Refusal("name what to test: --node with --key, --topology or --echo".into())),
        }
    }

    pub(super) const fn frame(&self, rotation: KeyRotation) -> FrameHeader {
        match self.frames {
            FrameVersion::Legacy => FrameHeader::legacy(self.size),
            FrameVersion::Current => FrameHeader::current(self.size, rotation),
        }
    }

    pub(super) fn hop_delay(&self) -> Delay {
        match self.delay {
            Some(delay) => Delay::Fixed(span(delay)),
            None => Delay::Exponential(span(self.mean_delay)),
        }
    }

    /// How many packets a run at `rate` has.
    pub(super) fn packets_at(&self, rate: f64) -> Result<usize, Refusal> {
        let length = if self.find_max { self.trial } else { self.duration };
        let packets = self.packets.map_or((rate * length.as_secs_f64()).round(), f64::from);
        if packets < 1.0 {
            return Err(Refusal(format!(
                "at {rate} packets/s nothing is due within {length:?}; take a longer duration or a \
                 higher rate"
            )));
        }
        if packets > PACKETS_MAX {
            return Err(Refusal(format!(
                "{packets} packets are more than one run can count; take a shorter duration or a \
                 lower rate"
            )));
        }
        Ok(packets as usize)
    }

    pub(super) fn manner(&self) -> crate::tester::drive::Manner {
        crate::tester::drive::Manner {
            connections: usize::from(self.connections),
            cpu: self.cpu,
            warm_up: span(self.warm_up),
            drain: span(self.drain),
        }
    }

    /// What a run, or a trial of the search, must reach. TCP slows a sender down before a node
    /// loses anything, so a trial also fails if the node was behind at its end: one that cannot
    /// keep up by the tolerance falls behind by that share of the trial.
    pub(super) fn objective(&self) -> crate::tester::report::Objective {
        let lag = self.find_max.then(|| self.trial.mul_f64(self.tolerance));
        let (max_p99, max_lag) = (self.max_p99.map(span), lag.map(span));
        crate::tester::report::Objective { max_loss: self.max_loss, max_p99, max_lag }
    }

    /// What contradicts itself beyond what the parser of arguments sees.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.find_max && self.rate > self.max_rate {
            return Err(Refusal(format!(
                "--find-max begins at --rate {} and ends at --max-rate {}; make the first the \
                 smaller one",
                self.rate, self.max_rate
            )));
        }
        if self.find_max && !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(Refusal("--tolerance lies between 0 and 1, such as 2%".into()));
        }
        Ok(())
    }

    /// The load, for reports.
    pub(super) fn describe(&self) -> Value {
        let delay = match self.hop_delay() {
            Delay::Fixed(span) => json!({ "fixed_ms": span.as_nanos() as f64 / 1e6 }),
            Delay::Exponential(span) => json!({ "mean_ms": span.as_nanos() as f64 / 1e6 }),
        };
        json!({
            "size": format!("{:?}", self.size).to_lowercase(),
            "sphinx_version": self.sphinx_version.number(),
            "frames": self.frames.byte(),
            "delay": delay,
            "arrivals": self.arrivals.to_string(),
            "connections": self.connections,
            "noise": self.noise.describe(),
        })
    }
}

/// A length of time, as the engine counts it.
fn span(duration: Duration) -> Span {
    Span::from_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
