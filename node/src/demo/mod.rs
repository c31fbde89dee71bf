//! `phix-node demo`: clients that send each other messages through a whole local network, with
//! gateways, directory, cover and acknowledgements, every message checked.

mod fetch;
mod report;
mod talk;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Command, value_parser};
use phix_io::StopSignal;

use crate::cli::say;
use crate::fault::Fault;
use crate::localnet::arguments::{file, option, with_members};
use crate::localnet::processes::{Plan, Processes};
use crate::mix_demo::check_place;
use report::Report;

const TEACH: &str = "\
Starts a local network as `phix-node localnet` does: a directory, mix nodes in three layers, an
entry and an exit gateway, each a process of its own. Two clients register with its gateways and
send each other messages, which leave as packets of one size in a Poisson stream, filled up with
cover, and which are acknowledged and, where that fails, sent again. In the end each sends one
anonymously, and is answered by reply SURBs, and a third client fetches a page from a web server on
this machine by SOCKS5, through the exit. Then it is said what became of every message.

Exit code 0 only if every message arrived intact, exactly once, and was acknowledged, and the page
is whole.

Examples:
  phix-node demo
  phix-node demo --messages 200 --size-max 100000 --json demo.json";

/// What the person asked for.
#[derive(Clone, Debug)]
struct Options {
    messages: usize,
    size_max: usize,
    json: Option<PathBuf>,
}

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    with_members(command)
        .arg(
            option("messages", "N", "Messages that each of the two clients sends")
                .value_parser(value_parser!(u32).range(1..=10_000))
                .default_value("40"),
        )
        .arg(
            option("size-max", "BYTES", "Length of the longest message; the shortest has 16")
                .value_parser(value_parser!(u32).range(16..=1_000_000))
                .default_value("20000"),
        )
        .arg(file("json", "Write the result as JSON"))
        .about("Send messages between clients through a local network and check every one")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If the network cannot be started, or if not every message arrived intact exactly once.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let number = |name: &str| *matches.get_one::<u32>(name).expect("has a default") as usize;
    let options = Options {
        messages: number("messages"),
        size_max: number("size-max"),
        json: matches.get_one("json").cloned(),
    };
    options.json.iter().try_for_each(|file| check_place(file))?;
    let stop = StopSignal::install().map_err(|error| {
        Fault::refused(format!("signals cannot be waited for ({error}): see what forbids it."))
    })?;
    let plan = Plan::given(matches);
    say("starting a directory, mix nodes and gateways, each a process of its own");
    let mut network = Processes::start(&plan, None, &|| stop.wait(Duration::ZERO))?;
    say(network.describe());
    let outcome = talk::run(network.directory(), &options, &|| stop.wait(Duration::ZERO));
    let fetched = match outcome {
        Ok(_) => fetch::run(network.directory()),
        Err(_) => Ok(None),
    };
    let failed = network.failed();
    network.stop();
    if let Some(failed) = failed {
        return Err(failed);
    }
    let report = Report::new(&options, outcome?, fetched?);
    say(report.text());
    if let Some(file) = &options.json {
        crate::mix_demo::write(file, &report.json())?;
    }
    if report.is_perfect() {
        return Ok(());
    }
    Err(Fault::broken("not everything arrived intact exactly once; the table above says what."))
}
