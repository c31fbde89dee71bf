//! `phix-bench`: tables of ratios, each taken in one run.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use phix_bench::timing::{Job, medians};
use phix_bench::{build, dudect, peel};
use rand::Rng;
use serde_json::{Value, json};

/// Benchmarks that compare whole pieces of work in one run.
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Remove a layer: every tier of kernels and batch size against sphinx-packet.
    Peel(Options),
    /// Build packets of four hops: every tier of kernels and batch size against sphinx-packet.
    Build(Options),
    /// Look for kernels whose time depends on their secrets.
    Timing(TimingOptions),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Rounds; each row is measured in each of them, and the median counts.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,

    /// Measure only rows whose name (tier/batch, tier/step) contains this, and the yardstick.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Write the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct TimingOptions {
    /// Seconds that each kernel is timed for.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,

    /// Examine only subjects whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Write the table as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Program::parse().command {
        Command::Peel(options) => {
            let packets = peel::make_packets();
            let what = "One forward hop of a regular packet";
            table(what, peel::jobs(&packets), peel::steps(&packets), &options)
        }
        Command::Build(options) => {
            table("A regular packet of four hops", build::jobs(), Vec::new(), &options)
        }
        Command::Timing(options) => match timing(&options) {
            Ok(false) => return ExitCode::from(1),
            done => done.map(drop),
        },
    };
    done.map_or_else(
        |sentence| {
            eprintln!("phix-bench: {sentence}");
            ExitCode::from(2)
        },
        |()| ExitCode::SUCCESS,
    )
}

fn table(
    what: &str,
    mut jobs: Vec<Job<'_>>,
    mut steps: Vec<Job<'_>>,
    options: &Options,
) -> Result<(), String> {
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut yardstick = true;
    jobs.retain(|job| mem::take(&mut yardstick) || wanted(&job.name));
    steps.retain(|job| wanted(&job.name));
    let rows = measured("packets", jobs, options);
    let steps = measured("steps", steps, options);
    let cpu = cpu();
    let (_, yardstick) = rows[0];
    println!("{what}, version {}, on {cpu}\n", peel::VERSION);
    println!("| tier | batch | ns per packet | packets/s per core | times sphinx-packet |");
    println!("|---|---:|---:|---:|---:|");
    for (name, nanos) in &rows {
        let (tier, batch) = name.split_once('/').expect("named tier/batch");
        let (rate, ratio) = (1e9 / nanos, yardstick / nanos);
        println!("| {tier} | {batch} | {nanos:.0} | {rate:.0} | {ratio:.2} |");
    }
    if !steps.is_empty() {
        println!("\n| tier | step, batch 64 | ns per packet |\n|---|---|---:|");
    }
    for (name, nanos) in &steps {
        let (tier, step) = name.split_once('/').expect("named tier/step");
        println!("| {tier} | {step} | {nanos:.0} |");
    }
    write_json(options.json.as_deref(), &to_json(&cpu, &rows, &steps))
}

fn write_json(file: Option<&Path>, value: &Value) -> Result<(), String> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, format!("{value:#}\n")).map_err(|error| {
        format!("{} cannot be written ({error}): name another file.", file.display())
    })
}

/// The table of `phix-bench timing`; true if no kernel leaks and the control does.
fn timing(options: &TimingOptions) -> Result<bool, String> {
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let (cpu, time) = (cpu(), Duration::from_secs(options.seconds));
    println!("Fixed against random secrets, on {cpu}\n");
    println!("| tier | kernel | µs per call | samples | largest \\|t\\| | verdict |");
    println!("|---|---|---:|---:|---:|---|");
    let (mut rows, mut good) = (Vec::new(), true);
    for mut subject in dudect::subjects().into_iter().filter(|it| wanted(&it.name)) {
        let outcome = dudect::examine(&mut subject, time, rand::rng().next_u64());
        let (tier, kernel) = outcome.name.split_once('/').expect("named tier/kernel");
        let (t, samples, micros) = (outcome.t, outcome.samples, outcome.median_ns / 1e3);
        let verdict = outcome.verdict().words();
        println!("| {tier} | {kernel} | {micros:.1} | {samples} | {t:.1} | {verdict} |");
        let leaks = outcome.verdict() == dudect::Verdict::Leak;
        good &= leaks == dudect::is_control(&outcome.name);
        rows.push(json!({
            "tier": tier, "kernel": kernel, "ns_per_call": outcome.median_ns,
            "samples": samples, "t": t, "verdict": verdict,
        }));
    }
    write_json(options.json.as_deref(), &json!({ "cpu": cpu, "rows": rows }))?;
    Ok(good)
}

fn measured(what: &str, mut jobs: Vec<Job<'_>>, options: &Options) -> Vec<(String, f64)> {
    let rounds = usize::from(options.rounds);
    let watched = io::stderr().is_terminal();
    let medians = medians(&mut jobs, rounds, |round| {
        if watched {
            let _ = write!(io::stderr(), "\r\x1b[K{what}: round {round} of {rounds}");
        }
    });
    if watched {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    jobs.into_iter().map(|job| job.name).zip(medians).collect()
}

fn to_json(cpu: &str, rows: &[(String, f64)], steps: &[(String, f64)]) -> Value {
    let (_, yardstick) = rows[0];
    let row = |(name, nanos): &(String, f64)| {
        let (tier, batch) = name.split_once('/').expect("named tier/batch");
        json!({
            "tier": tier,
            "batch": batch.parse::<u32>().expect("a number"),
            "ns_per_packet": nanos,
            "packets_per_s": 1e9 / nanos,
            "ratio": yardstick / nanos,
        })
    };
    let step = |(name, nanos): &(String, f64)| {
        let (tier, step) = name.split_once('/').expect("named tier/step");
        json!({ "tier": tier, "step": step, "batch": 64, "ns_per_packet": nanos })
    };
    json!({
        "cpu": cpu,
        "version": peel::VERSION,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    })
}

/// The CPU's name as the kernel tells it.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|rest| rest.split_once(':')).map_or("unknown CPU", |(_, name)| name.trim()).into()
}
