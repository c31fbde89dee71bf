//! What was measured, as a table and as JSON.

use std::fs;

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::serve::{Cost, Runtime};
use crate::traffic::Plan;

/// How many frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// As many as get through.
    Saturated,
    /// 100,000 per second.
    #[value(name = "100k")]
    Fast,
    /// 20,000 per second.
    #[value(name = "20k")]
    Slow,
}

impl Load {
    pub(crate) const fn plan(self) -> Plan {
        match self {
            Self::Saturated => Plan { packets: 400_000, rate: None },
            Self::Fast => Plan { packets: 200_000, rate: Some(100_000) },
            Self::Slow => Plan { packets: 40_000, rate: Some(20_000) },
        }
    }
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) runtime: Runtime,
    pub(crate) load: Load,
    pub(crate) round: u16,
    pub(crate) cost: Cost,
}

impl Sample {
    fn nanos(&self) -> f64 {
        self.cost.cpu_us as f64 * 1e3 / self.load.plan().packets as f64
    }

    fn sleeps(&self) -> f64 {
        self.cost.sleeps as f64 / self.load.plan().packets as f64
    }
}

/// The name that the command line has for it.
pub(crate) fn name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().to_owned()
}

pub(crate) fn markdown(samples: &[Sample]) -> String {
    let mut text = format!("CPU time per packet, ns, on {}\n\n", environment());
    text += "| runtime | load | least | median | most | sleeps per packet |\n";
    text += "|---|---|---:|---:|---:|---:|\n";
    for load in Load::value_variants() {
        for runtime in Runtime::value_variants() {
            let ours = |sample: &&Sample| sample.runtime == *runtime && sample.load == *load;
            let ours: Vec<&Sample> = samples.iter().filter(ours).collect();
            if ours.is_empty() {
                continue;
            }
            let nanos = sorted(ours.iter().map(|sample| sample.nanos()).collect());
            let sleeps = sorted(ours.iter().map(|sample| sample.sleeps()).collect());
            let middle = nanos.len() / 2;
            text += &format!(
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.4} |\n",
                name(runtime),
                name(load),
                nanos[0],
                nanos[middle],
                nanos[nanos.len() - 1],
                sleeps[middle],
            );
        }
    }
    text
}

pub(crate) fn json(samples: &[Sample]) -> Value {
    let run = |sample: &Sample| {
        json!({
            "runtime": name(&sample.runtime),
            "load": name(&sample.load),
            "round": sample.round,
            "cpu_ns_per_packet": sample.nanos(),
            "sleeps_per_packet": sample.sleeps(),
        })
    };
    json!({ "environment": environment(), "runs": samples.iter().map(run).collect::<Vec<_>>() })
}

/// CPU and kernel, as the kernel tells them.
fn environment() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let cpu = info.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.and_then(|rest| rest.split_once(':')).map_or("unknown CPU", |(_, name)| name);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, Linux {}", cpu.trim(), kernel.trim())
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}
