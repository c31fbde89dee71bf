//! `phix-client send`: one message of a client, or packets that are given to first hops directly.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{ArgGroup, Args};
use phix_engine::units::Span;
use phix_engine::wire::frame::{FrameVersion, KeyRotation};
use phix_engine::wire::geometry::PacketSize;
use phix_io::MonotonicClock;

use super::{Ended, Refusal, note, post, say, values};
use crate::files::words;
use crate::load::{self, Plan, Timed};
use crate::mixnet::core::MESSAGE_MAX;
use crate::mixnet::settings::REPLY_SURBS_MAX;
use crate::packet::{Factory, PacketConfig, SphinxVersion};
use crate::progress::Progress;
use crate::sender::{OpenLoopSender, SenderConfig, Sent};
use crate::topology::{self, Node, NodeId, Topology};

/// Test messages that one run sends at most: their packets are built in advance, in memory.
const COUNT_MAX: i64 = 200_000;

/// Time for connections to be made before the first packet is due.
const HEAD_START: Span = Span::from_millis(300);

/// Send a message as the client in a directory, or build Sphinx packets along random routes of a
/// topology and send them to their first hops.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["message", "file", "count"])))]
#[command(group(ArgGroup::new("from").required(true).args(["dir", "topology"])))]
#[command(after_help = "\
Examples:
  phix-client send --dir alice --to ADDRESS --message 'hello'
  phix-client send --topology topology.json --to ADDRESS --message 'hello'
  phix-client send --topology topology.json --to ADDRESS --file letter.txt --size ext32
  phix-client send --topology topology.json --to ADDRESS --count 1000 --rate 50 --mean-delay 15ms

With --dir the message is encrypted for its recipient, acknowledged, and hidden in cover. With
--topology it is protected by the layers of the Sphinx packet only: the last hop can read it.")]
pub(super) struct Arguments {
    /// Directory of the client that sends, as `phix-client init` made it.
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "gateway", "count", "rate", "size", "mean_delay", "sphinx_version",
    ])]
    dir: Option<PathBuf>,

    /// Topology file in the NymTopology JSON form.
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,

    /// Whom it is for: the client's address, 32 bytes in base58, or a Nym address
    /// CLIENT.ENCRYPTION@GATEWAY, whose gateway becomes the last hop.
    #[arg(long, value_name = "ADDRESS")]
    to: String,

    /// Number of the node that is the last hop, instead of the address's or the first gateway.
    #[arg(long, value_name = "ID")]
    gateway: Option<NodeId>,

    /// Send this text.
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// Send the contents of this file; in one packet, with --topology.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Send this many test messages, which prove their own integrity.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=COUNT_MAX))]
    count: Option<u32>,

    /// Test messages per second, on average; the times are those of a Poisson process.
    #[arg(long, value_name = "R", default_value_t = 10.0, conflicts_with_all = ["message", "file"])]
    rate: f64,

    /// Size of the packets: ack carries 21 bytes, regular 2 KiB, the others what they say in KiB.
    #[arg(long, default_value = "regular", value_parser = values::size)]
    #[arg(value_name = "ack|regular|ext8|ext16|ext32")]
    size: PacketSize,

    /// Mean delay at each mix, such as 50ms or 1.5s.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = values::time)]
    mean_delay: Duration,

    /// Version of the Sphinx format.
    #[arg(long, value_name = "258|259|260", default_value = "259", value_parser = values::version)]
    sphinx_version: SphinxVersion,

    /// Reply SURBs to send along, so that the recipient can answer; with --dir.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "topology")]
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(REPLY_SURBS_MAX)))]
    reply_surbs: u32,

    /// How long to wait until the recipient's gateway has the message; with --dir.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::time)]
    #[arg(conflicts_with = "topology")]
    timeout: Duration,
}

pub(super) fn run(arguments: &Arguments) -> Result<Ended, Refusal> {
    match (&arguments.dir, &arguments.topology) {
        (Some(dir), _) => {
            let data = message(arguments, MESSAGE_MAX)?;
            if data.len() > MESSAGE_MAX {
                let most = MESSAGE_MAX >> 20;
                return Err(Refusal(format!(
                    "the message is longer than {most} MiB; send it in parts"
                )));
            }
            let (to, reply_surbs) = (&arguments.to, arguments.reply_surbs);
            let patience = arguments.timeout;
            post::send(post::Letter { dir, to, data, reply_surbs, patience })
        }
        (None, Some(topology)) => send_packets(arguments, topology),
        (None, None) => unreachable!("clap asks for one of the two"),
    }
}

fn send_packets(arguments: &Arguments, path: &Path) -> Result<Ended, Refusal> {
    let topology = topology::load(path)?;
    let recipient = Recipient::parse(&arguments.to)?;
    let gateway = choose_gateway(arguments, path, &topology, &recipient)?;
    let packet = PacketConfig {
        size: arguments.size,
        version: arguments.sphinx_version,
        mean_delay: arguments.mean_delay,
        frames: FrameVersion::Current,
        rotation: KeyRotation::from_id(topology.metadata().key_rotation_id),
    };
    let packets = match arguments.count {
        Some(count) => {
            let plan = Plan {
                senders: 1,
                packets: count as usize,
                rate: arguments.rate,
                packet,
                gateway: gateway.node_id,
                destination: recipient.client,
                seed: None,
            };
            build(&plan, &topology)?
        }
        None => {
            let most = PacketSize::Extended32.message_len();
            let mut factory = Factory::new(packet);
            let route = topology.random_route(factory.rng(), gateway);
            let packet = factory.build(&message(arguments, most)?, &route, recipient.client)?;
            vec![Timed { offset: Span::ZERO, packet }]
        }
    };
    let clock = MonotonicClock;
    let start = clock.now().after(HEAD_START);
    let control = Arc::default();
    let sent = OpenLoopSender::new(packets, SenderConfig::default(), clock, control).run(start);
    Ok(report(&sent, gateway, path))
}

/// Builds the packets of test messages, which takes a while where they are many.
fn build(plan: &Plan, topology: &Topology) -> Result<Vec<Timed>, Refusal> {
    let shown = Mutex::new((0, Progress::for_terminals()));
    let load = load::prepare(plan, topology, |more| {
        let (built, line) = &mut *shown.lock().unwrap_or_else(PoisonError::into_inner);
        *built += more;
        line.show(|| format!("building packets: {built} of {}", plan.packets));
    });
    shown.into_inner().unwrap_or_else(PoisonError::into_inner).1.end();
    Ok(load?.senders.remove(0))
}

/// What to send, and at least a byte more than `most` if it is longer than that.
fn message(arguments: &Arguments, most: usize) -> Result<Vec<u8>, Refusal> {
    let Some(path) = &arguments.file else {
        return Ok(arguments.message.clone().unwrap_or_default().into_bytes());
    };
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A byte more, so that a longer file is noticed and not read.
        let limit = most as u64 + 1;
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| {
        let path = path.display();
        Refusal(match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file {path} to send"),
            _ => format!("the file {path} cannot be read: {}; name one that can", words(&error)),
        })
    })
}

fn report(sent: &Sent, gateway: &Node, topology: &Path) -> Ended {
    say(format_args!("sent {} towards node {}", sent.sent, gateway.node_id));
    if sent.failed == 0 {
        return Ended::Done;
    }
    let why = sent.last_error.as_deref().unwrap_or("no connection");
    note(format_args!(
        "{} could not be sent; the last reason was {why}; see that the first layer of {} is the \
         network's, and that its nodes run and can be reached from here",
        sent.failed,
        topology.display(),
    ));
    Ended::Failed
}

/// Whom a message is for.
struct Recipient {
    client: [u8; 32],
    gateway: Option<[u8; 32]>,
}

impl Recipient {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let malformed = || {
            Refusal(format!(
                "\"{}\" is not an address: give the 32 bytes of a client's key in base58, or a \
                 Nym address CLIENT.ENCRYPTION@GATEWAY",
                text.escape_debug()
            ))
        };
        let key = |text: &str| -> Option<[u8; 32]> {
            let mut key = [0; 32];
            let len = bs58::decode(text).onto(&mut key[..]).ok()?;
            (len == key.len()).then_some(key)
        };
        let parse = || match text.split_once('@') {
            None => Some(Self { client: key(text)?, gateway: None }),
            Some((client, gateway)) => {
                let (client, encryption) = client.split_once('.')?;
                key(encryption)?;
                Some(Self { client: key(client)?, gateway: Some(key(gateway)?) })
            }
        };
        parse().ok_or_else(malformed)
    }
}

fn choose_gateway<'a>(
    arguments: &Arguments,
    path: &Path,
    topology: &'a Topology,
    recipient: &Recipient,
) -> Result<&'a Node, Refusal> {
    let file = path.display();
    if let Some(id) = arguments.gateway {
        return topology.node(id).ok_or_else(|| {
            let known: Vec<_> = topology.entry_gateways().map(|n| n.node_id.to_string()).collect();
            let known = known.join(", ");
            Refusal(format!("{file} has no node {id}; its gateways are {known}"))
        });
    }
    if let Some(identity) = &recipient.gateway {
        return topology.node_by_identity(identity).ok_or_else(|| {
            Refusal(format!("the gateway of this address is not in {file}; name one by --gateway"))
        });
    }
    Ok(topology.entry_gateways().next().expect("a topology has an entry gateway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients() {
        let key = |byte| bs58::encode([byte; 32]).into_string();
        let plain = Recipient::parse(&key(1)).ok().unwrap();
        assert_eq!((plain.client, plain.gateway), ([1; 32], None));
        let nym = format!("{}.{}@{}", key(1), key(2), key(3));
        let nym = Recipient::parse(&nym).ok().unwrap();
        assert_eq!((nym.client, nym.gateway), ([1; 32], Some([3; 32])));
        let short = bs58::encode([1; 31]).into_string();
        for text in ["", "x", "0OIl", &short, &format!("{}@{}", key(1), key(3)), &key(1)[1..]] {
            assert!(Recipient::parse(text).is_err(), "{text}");
        }
    }
}
