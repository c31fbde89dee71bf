//! `phix-node localnet`: a whole network that stays up, for trying clients on.

pub(crate) mod arguments;
pub(crate) mod network;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgMatches, Command, value_parser};
use phix_client::topology;
use phix_engine::shard::{Delivery, Sink, Undelivered};
use phix_engine::sphinx::final_message;
use phix_io::StopSignal;

use crate::cli::say;
use crate::fault::Fault;
use crate::report;
use arguments::{Nodes, file, option, with_nodes};
use network::{Network, Plan};

/// How often it is looked whether a node has died.
const WATCH: Duration = Duration::from_millis(200);

const TEACH: &str = "\
Starts mix nodes in three layers and a receiving end on loopback addresses, writes the topology file
that clients read, prints how to use it, and prints each message that arrives. Keys are new each
time. Runs until SIGTERM or SIGINT; the topology file is removed then, since its keys are gone.

Example, in two terminals:
  phix-node localnet --topology localnet.json
  phix-client send --topology localnet.json --to ADDRESS --message hello";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    with_nodes(command)
        .arg(
            file("topology", "Where to write the topology; must not exist yet")
                .default_value("localnet.json"),
        )
        .arg(
            option("port", "PORT", "Port of all nodes, each on its own address; 0 for any")
                .value_parser(value_parser!(u16))
                .default_value("1789"),
        )
        .about("Keep a local network up and print what arrives")
        .after_help(TEACH)
}

/// Prints messages as they arrive.
#[derive(Debug)]
struct Printer;

impl Sink for Printer {
    fn deliver(&mut self, delivery: Delivery<'_>) -> Result<(), Undelivered> {
        let message = final_message(delivery.payload);
        let message = message.ok_or(Undelivered::Malformed)?;
        say(phix_client::message::describe(delivery.destination, message));
        Ok(())
    }
}

/// Runs the command.
///
/// # Errors
/// If the network cannot be started, or breaks while it runs.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let file = matches.get_one::<PathBuf>("topology").expect("has a default");
    if file.symlink_metadata().is_ok() {
        return Err(Fault::refused(format!(
            "{} exists already: name another file with --topology, or remove it: it may be left \
             from a localnet that was killed.",
            file.display(),
        )));
    }
    let stop = StopSignal::install().map_err(|error| {
        Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
    })?;
    let plan = Plan {
        nodes: Nodes::given(matches)?,
        port: *matches.get_one("port").expect("has a default"),
        drain: Duration::from_secs(2),
    };
    let mut network = Network::start(plan, Printer)?;
    topology::save(&network.topology, file)
        .map_err(|error| Fault::refused(format!("{error} (--topology).")))?;
    say(usage(&network, file));
    let failed = loop {
        if stop.wait(WATCH) {
            break None;
        }
        if let Some(failed) = network.failed() {
            break Some(failed);
        }
    };
    network.stop();
    // It names keys that exist no more; nothing else was ever in it.
    let _ = std::fs::remove_file(file);
    for node in network.nodes() {
        say(format!("{}: {}", node.name, report::line(&node.counters())));
    }
    failed.map_or(Ok(()), |what| Err(Fault::broken(format!("{what}; report this."))))
}

fn usage(network: &Network, file: &Path) -> String {
    let mut text = format!("link: {}\ncrypto: {}\n", network.link.reason, network.kernels.name);
    for (node, name) in network.topology.form().node_details.values().zip(network.nodes()) {
        text += &format!("  {:<20}{}\n", name.name, node.mix_host);
    }
    let file = file.display();
    text += &format!(
        "\nTopology, in the form that stock Nym clients read too: {file}\nSend something through \
         it, from another terminal:\n\n  cargo run --release -p phix-client -- send --topology \
         {file} --to {} --message hello\n\nWhat arrives is printed here. Ctrl-C ends the \
         network.\n",
        phix_client::message::EXAMPLE_ADDRESS,
    );
    text
}
