//! `phix-runtimes`: what forwarding costs on Phix's links and on other runtimes, in one run.
//!
//! Each run is a process of its own on a core of its own; the frames are made and checked on
//! another core. Rounds go through all runtimes in turn, so that whatever else the machine does
//! falls on all of them.

mod job;
mod serve;
mod table;
mod traffic;

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Parser, Subcommand, ValueEnum};

use serve::{Cost, Runtime};
use table::{Load, Sample};
use traffic::{Plan, Ports};

/// The same forwarding job, without cryptography, on Phix's links and on other runtimes.
///
/// Regular frames come in over 8 connections, and each leaves over one of 8 others. Every run
/// checks that all frames arrive intact.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    command: Option<Internal>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Internal {
    /// Be the forwarder of one run.
    #[command(hide = true)]
    Serve(serve::Options),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Rounds; each runtime runs once in each, at each load.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Runtimes, all if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Runtime>,
    /// Loads, all if none is named.
    #[arg(long, value_enum, value_delimiter = ',')]
    loads: Vec<Load>,
    /// Core of the forwarder.
    #[arg(long, default_value_t = 0)]
    cpu: usize,
    /// Core that makes and checks the frames.
    #[arg(long, default_value_t = 1)]
    traffic_cpu: usize,
    /// Write all figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Program { command, options } = Program::parse();
    let done = match command {
        Some(Internal::Serve(run)) => serve::run(&run).map_err(|error| error.to_string()),
        None => compare(&options),
    };
    done.map_or_else(
        |sentence| {
            eprintln!("phix-runtimes: {sentence}");
            ExitCode::from(2)
        },
        |()| ExitCode::SUCCESS,
    )
}

fn compare(options: &Options) -> Result<(), String> {
    serve::pin(options.traffic_cpu).map_err(|error| {
        format!("core {} cannot be had ({error}); see --traffic-cpu", options.traffic_cpu)
    })?;
    let all = |named: &[Runtime]| {
        if named.is_empty() { Runtime::value_variants() } else { named }.to_vec()
    };
    let runtimes = all(&options.only);
    let loads = if options.loads.is_empty() { Load::value_variants() } else { &options.loads };
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        for &load in loads {
            for &runtime in &runtimes {
                let cost = measure(runtime, load.plan(), options.cpu).map_err(|error| {
                    format!("{}, {}: {error}", table::name(&runtime), table::name(&load))
                })?;
                samples.push(Sample { runtime, load, round, cost });
            }
        }
    }
    print!("{}", table::markdown(&samples));
    let Some(file) = &options.json else { return Ok(()) };
    let text = format!("{:#}\n", table::json(&samples));
    fs::write(file, text).map_err(|error| {
        format!("{} cannot be written ({error}): name another file.", file.display())
    })
}

/// One run of one runtime.
fn measure(runtime: Runtime, plan: Plan, cpu: usize) -> io::Result<Cost> {
    let ports = Ports::open()?;
    let to: Vec<String> = ports.addresses()?.iter().map(ToString::to_string).collect();
    let mut child = Forwarder::start(&[
        "serve",
        "--runtime",
        &table::name(&runtime),
        "--cpu",
        &cpu.to_string(),
        "--packets",
        &plan.packets.to_string(),
        "--to",
        &to.join(","),
    ])?;
    let address = child.line()?.parse().map_err(io::Error::other)?;
    traffic::run(plan, address, ports)?;
    let cost = serde_json::from_str(&child.line()?)?;
    Ok(cost)
}

/// The forwarder's process; it ends with this.
struct Forwarder {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Forwarder {
    fn start(arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().expect("its output is a pipe");
        Ok(Self { child, out: BufReader::new(out) })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.out.read_line(&mut line)? {
            0 => Err(io::Error::other("the forwarder ended early")),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
