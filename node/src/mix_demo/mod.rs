//! `phix-node mix-demo`: the whole path on real sockets, counted packet by packet, with the delays
//! held against theory.

mod report;
mod traffic;
mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Command, value_parser};

use crate::cli::say;
use crate::fault::Fault;
use crate::localnet::arguments::{Nodes, file, option, with_nodes};
use crate::localnet::members::LAYERS;
use crate::settings::{Span, Value};
use report::Report;
pub(crate) use report::{check_place, write};

const TEACH: &str = "\
Starts mix nodes in three layers and a receiving end, each on its own loopback address with its own
engine threads, and sends Sphinx packets through them over TCP: open loop, at Poisson times, from
several senders, each packet with exponential delays drawn for each hop. Then says what became of
every packet, and sets latencies beside the Erlang distribution that the delays must follow.

Latency counts from the time at which a packet was meant to be sent, so that a slow sender cannot
hide behind itself; what a busy machine adds bends the distribution, and the verdict on the delays
says so. Exit code 0 only if every packet arrived intact, exactly once.

Examples:
  phix-node mix-demo
  phix-node mix-demo --link epoll --json demo.json --plot demo.svg
  phix-node mix-demo --width 2 --kill 2@3s      what a node costs that dies in the middle";

/// Seconds.
const HOUR: u64 = 3_600;

/// A node to end in the middle, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kill {
    /// Position among the mix nodes, from 0.
    mix: usize,
    after: Duration,
}

/// What the person asked for.
#[derive(Clone, Debug)]
struct Options {
    packets: usize,
    rate: f64,
    mean_delay: Duration,
    senders: u16,
    nodes: Nodes,
    kill: Option<Kill>,
    json: Option<PathBuf>,
    plot: Option<PathBuf>,
}

/// The command's arguments and help.
pub fn command(command: Command) -> Command {
    with_nodes(command)
        .arg(
            option("packets", "N", "Packets to send, all senders together")
                .value_parser(value_parser!(u32).range(1..=1_000_000))
                .default_value("20000"),
        )
        .arg(
            option("rate", "N", "Packets per second, all senders together")
                .value_parser(value_parser!(u32).range(1..=1_000_000))
                .default_value("1000"),
        )
        .arg(
            option("mean-delay", "TIME", "Mean delay at each mix node")
                .value_parser(time)
                .default_value("50ms"),
        )
        .arg(
            option("senders", "N", "Senders, each with its own connections")
                .value_parser(value_parser!(u16).range(1..=64))
                .default_value("4"),
        )
        .arg(option("kill", "MIX@TIME", "End a mix node after that time, as if it had crashed"))
        .arg(file("json", "Write the result as JSON"))
        .arg(file("plot", "Write a plot of measured against theory as SVG"))
        .about("Send real packets through a local network and check every one")
        .after_help(TEACH)
}

/// Runs the command.
///
/// # Errors
/// If the network cannot be started, or if not every packet arrived intact exactly once.
pub fn run(matches: &ArgMatches) -> Result<(), Fault> {
    let options = Options::given(matches)?;
    for file in [&options.json, &options.plot].into_iter().flatten() {
        report::check_place(file)?;
    }
    let result = traffic::run(&options)?;
    let report = Report::new(&options, result);
    say(report.text());
    if let Some(file) = &options.json {
        report::write(file, &report.json())?;
    }
    if let Some(file) = &options.plot {
        report::write(file, &report.svg())?;
    }
    if report.is_perfect() {
        return Ok(());
    }
    Err(Fault::broken("not every packet arrived intact exactly once; the table above says why."))
}

impl Options {
    fn given(matches: &ArgMatches) -> Result<Self, Fault> {
        let number = |name: &str| *matches.get_one::<u32>(name).expect("has a default");
        let nodes = Nodes::given(matches)?;
        let kill = matches.get_one::<String>("kill");
        let kill = kill.map(|text| self::kill(text, nodes.width)).transpose()?;
        Ok(Self {
            packets: number("packets") as usize,
            rate: f64::from(number("rate")),
            mean_delay: *matches.get_one("mean-delay").expect("has a default"),
            senders: *matches.get_one("senders").expect("has a default"),
            nodes,
            kill,
            json: matches.get_one("json").cloned(),
            plot: matches.get_one("plot").cloned(),
        })
    }
}

/// Reads a mean delay; nodes would shorten most of what exceeds it.
fn time(text: &str) -> Result<Duration, String> {
    type MeanDelay = Span<0, 10>;
    MeanDelay::read(text).map(MeanDelay::get).ok_or_else(MeanDelay::allowed)
}

/// Reads `2@3s`: the second mix node, after three seconds.
fn kill(text: &str, width: usize) -> Result<Kill, Fault> {
    let mixes = LAYERS * width;
    let parsed = text.split_once('@').and_then(|(mix, after)| {
        let mix: usize = mix.parse().ok()?;
        let after = Span::<0, HOUR>::read(after)?.get();
        (1..=mixes).contains(&mix).then(|| Kill { mix: mix - 1, after })
    });
    parsed.ok_or_else(|| {
        Fault::refused(format!(
            "`--kill {text}` names no mix node and time: give a node from 1 to {mixes} and a time \
             after it, such as 2@3s."
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_a_node_and_a_time() {
        let second = Kill { mix: 1, after: Duration::from_secs(3) };
        assert_eq!(kill("2@3s", 1).unwrap(), second);
        for wrong in ["2", "@3s", "0@3s", "4@3s", "2@soon", "two@3s", ""] {
            let fault = kill(wrong, 1).unwrap_err();
            assert!(fault.to_string().contains("from 1 to 3"), "{wrong}: {fault}");
        }
    }
}
