//! `phix-node localnet`: a whole network that stays up, for trying clients on.

pub(crate) mod arguments;
pub(crate) mod members;
pub(crate) mod network;
pub(crate) mod processes;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Command};
use phix_io::StopSignal;

use crate::cli::say;
use crate::fault::Fault;
use arguments::{option, with_members};
use processes::{Plan, Processes};

/// How often it is looked whether a node has died.
const WATCH: Duration = Duration::from_millis(200);

const TEACH: &str = "\
Starts a directory, three mix nodes or more, an entry gateway and an exit gateway, each a process
with an address of its own on loopback, as they would run on machines of their own. Says how to
reach them with each kind of client. Runs until SIGTERM or SIGINT. Keys are new each time and
removed at the end, unless --keep names a directory for them.

Clients get bandwidth for nothing here, and packets may go to addresses of this machine.

Example, in two terminals:
  phix-node localnet
  phix-client init --dir alice --directory http://127.0.0.10:8000 && phix-client run --dir alice";

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    with_members(command)
        .arg(
            option("keep", "DIR", "Make the nodes there and leave them; must not exist yet")
                .value_parser(clap::value_parser!(PathBuf)),
        )
        .about("Keep a local network up, with gateways and a directory")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If the network cannot be started, or breaks while it runs.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let stop = StopSignal::install().map_err(|error| {
        Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
    })?;
    let plan = Plan::given(matches);
    let keep = matches.get_one::<PathBuf>("keep").map(PathBuf::as_path);
    let mut network = Processes::start(&plan, keep, &|| stop.wait(Duration::ZERO))?;
    say(network.describe());
    say(usage(&network));
    let failed = loop {
        if stop.wait(WATCH) {
            break None;
        }
        if let Some(failed) = network.failed().filter(|_| !stop.wait(WATCH)) {
            break Some(failed);
        }
    };
    network.stop();
    failed.map_or(Ok(()), Err)
}

fn usage(network: &Processes) -> String {
    let directory = network.directory();
    format!(
        "\
The directory has a page for people, and answers what stock clients and nodes ask:

  {directory}

A client of Phix, with a WebSocket for applications on ws://127.0.0.1:1977:

  cargo run --release -p phix-client -- init --dir alice --directory {directory}
  cargo run --release -p phix-client -- run --dir alice

Another, in another terminal, that sends it a message:

  cargo run --release -p phix-client -- init --dir bob --directory {directory}
  cargo run --release -p phix-client -- send --dir bob --message hello \\
      --to \"$(cargo run --release -p phix-client -- address --dir alice)\"

A SOCKS5 server for applications, through the exit, which reaches servers on this machine:

  cargo run --release -p phix-client -- socks5 --dir alice
  curl --socks5-hostname 127.0.0.1:1080 http://127.0.0.1:PORT/

A program built on the stock SDK (nym-sdk 1.21.6), without credentials:

  let endpoint = ValidatorDetails::new(\"http://127.0.0.1:1\", Some(\"{directory}\"), None);
  let network = NymNetworkDetails::new_empty()
      .with_network_name(\"local\".into())
      .with_validator_endpoint(endpoint);
  let builder = MixnetClientBuilder::new_ephemeral().network_details(network);
  let client = builder.build()?.connect_to_mixnet().await?;

Ctrl-C ends the network.
"
    )
}
