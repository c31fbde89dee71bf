//! What a demo says at its end: a table for people, JSON for programs, a plot.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use phix_client::files::{self, words};
use phix_client::plot::Plot;
use phix_client::stats::{Erlang, ks_critical, ks_distance, percentile};
use phix_engine::counters::DropReason;
use serde_json::{Map, Value, json};

use super::Options;
use super::traffic::Outcome;
use super::verdict::Evidence;
use crate::fault::Fault;
use crate::localnet::members::LAYERS;

/// The percentiles that are reported, with their names in the JSON.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];

/// A true sample stays below the critical distance in this share of runs.
const CONFIDENCE: f64 = 0.999;

/// The result of a demo, ready to be shown.
#[derive(Debug)]
pub(super) struct Report {
    options: Options,
    outcome: Outcome,
    /// Sorted, milliseconds.
    latencies_ms: Vec<f64>,
    /// Latency less the delays that were asked for; sorted, milliseconds.
    overheads_ms: Vec<f64>,
    theory: Option<Erlang>,
}

impl Report {
    pub(super) fn new(options: &Options, outcome: Outcome) -> Self {
        let sorted_ms = |nanos: &[u64]| {
            let mut sorted: Vec<f64> = nanos.iter().map(|&nanos| nanos as f64 / 1e6).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            sorted
        };
        let mean = options.mean_delay.as_secs_f64() * 1e3;
        let theory = (mean > 0.0).then(|| Erlang::new(LAYERS as u32, mean));
        let (latencies_ms, overheads_ms) =
            (sorted_ms(&outcome.tally.latencies), sorted_ms(&outcome.tally.overheads));
        Self { options: options.clone(), outcome, latencies_ms, overheads_ms, theory }
    }

    /// Whether every packet that was asked for was sent and arrived intact, exactly once.
    pub(super) fn is_perfect(&self) -> bool {
        let Outcome { tally, sent, .. } = &self.outcome;
        tally.is_perfect() && sent.sent == self.options.packets as u64
    }

    fn lost(&self) -> u64 {
        self.outcome.sent.sent.saturating_sub(self.outcome.tally.delivered)
    }

    fn per_second(&self) -> f64 {
        self.outcome.tally.delivered as f64 / self.outcome.took.as_secs_f64().max(1e-9)
    }

    /// Distance between the measured and the theoretical distribution; nothing without delays or
    /// without arrivals.
    fn distance(&self) -> Option<f64> {
        let theory = self.theory.filter(|_| !self.latencies_ms.is_empty())?;
        Some(ks_distance(&self.latencies_ms, |x| theory.cdf(x)))
    }

    /// What there is to judge the delays by; nothing where there is no distance.
    fn evidence(&self) -> Option<Evidence> {
        let late = |p| percentile(&self.overheads_ms, p);
        Some(Evidence {
            distance: self.distance()?,
            critical: self.critical(),
            mean: self.options.mean_delay.as_secs_f64() * 1e3,
            late_p50: late(0.5)?,
            late_p99: late(0.99)?,
            sender_late: self.sender_late_ms(),
            lost: self.lost(),
        })
    }

    /// The distance that a sample of this size which follows theory stays below.
    fn critical(&self) -> f64 {
        ks_critical(self.latencies_ms.len().max(1), 1.0 - CONFIDENCE)
    }

    fn sender_late_ms(&self) -> f64 {
        self.outcome.sent.lateness_max.as_nanos() as f64 / 1e6
    }

    /// The table.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        self.write_counts(&mut text);
        self.write_latencies(&mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn write_counts(&self, text: &mut String) {
        let Outcome { tally, sent, counters, killed, .. } = &self.outcome;
        let mut row = |name: &str, count: u64| {
            let _ = writeln!(text, "  {name:<22}{count:>10}");
        };
        row("sent", sent.sent);
        row("delivered", tally.delivered);
        row("lost", self.lost());
        row("duplicated", tally.duplicated);
        row("corrupted", tally.corrupted + tally.unexpected);
        if sent.failed + sent.skipped > 0 {
            row("could not be sent", sent.failed + sent.skipped);
        }
        row("dropped by nodes", counters.dropped_total());
        for reason in DropReason::ALL {
            if counters.dropped(reason) > 0 {
                row(&format!("  {}", reason.name()), counters.dropped(reason));
            }
        }
        if let Some(killed) = killed {
            let _ = writeln!(
                text,
                "  ended on purpose: {killed}; what it held counts as {}, what was on its way to \
                 it\n  is in no counter of a node",
                DropReason::Stopping.name(),
            );
        }
        let rate = self.per_second();
        let _ = writeln!(text, "  {:<22}{rate:>10.0}", "packets/s");
    }

    fn write_latencies(&self, text: &mut String) {
        let _ = writeln!(text, "\n  end-to-end latency, ms      measured      theory");
        for (name, p) in PERCENTILES {
            let measured = percentile(&self.latencies_ms, p);
            let show = |value: Option<f64>| {
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
            };
            let (measured, theory) = (show(measured), show(self.theory_ms(p)));
            let _ = writeln!(text, "    {name:<18}{measured:>18}{theory:>12}");
        }
        if let Some(evidence) = self.evidence() {
            let Evidence { distance, critical, mean, .. } = evidence;
            let _ = writeln!(
                text,
                "\n  Kolmogorov-Smirnov distance {distance:.4} from Erlang({LAYERS}, {mean} ms); a \
                 sample of this size\n  that follows it exactly stays below {critical:.4} in 999 \
                 of 1000 runs\n  {}",
                evidence.sentence(),
            );
        }
        if let (Some(p50), Some(p99)) =
            (percentile(&self.overheads_ms, 0.5), percentile(&self.overheads_ms, 0.99))
        {
            let _ = writeln!(
                text,
                "  beyond the delays that were asked for: p50 {p50:.2} ms, p99 {p99:.2} ms, all \
                 hops and sockets together",
            );
        }
    }

    fn theory_ms(&self, p: f64) -> Option<f64> {
        self.theory.map(|theory| theory.quantile(p))
    }

    /// The JSON, one object.
    pub(super) fn json(&self) -> String {
        let Outcome { tally, sent, counters, link, took, killed } = &self.outcome;
        let dropped: Map<String, Value> = DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name().to_owned(), counters.dropped(reason).into()))
            .collect();
        let measured = |sorted: &[f64]| object(|p| percentile(sorted, p));
        let value = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "packets": self.options.packets,
            "rate": self.options.rate,
            "mean_delay_ms": self.options.mean_delay.as_secs_f64() * 1e3,
            "senders": self.options.senders,
            "mix_hops": LAYERS,
            "mix_nodes": LAYERS * self.options.nodes.width,
            "link": link.kind.to_string(),
            "link_reason": link.reason,
            "crypto": self.options.nodes.kernels.name,
            "sent": sent.sent,
            "not_sent": sent.failed + sent.skipped,
            "delivered": tally.delivered,
            "lost": self.lost(),
            "duplicated": tally.duplicated,
            "corrupted": tally.corrupted + tally.unexpected,
            "dropped": dropped,
            "dropped_total": counters.dropped_total(),
            "killed": killed,
            "seconds": took.as_secs_f64(),
            "packets_per_s": self.per_second(),
            "latency_ms": measured(&self.latencies_ms),
            "theory_ms": object(|p| self.theory_ms(p)),
            "overhead_ms": measured(&self.overheads_ms),
            "ks_distance": self.distance(),
            "ks_critical_0.001": self.critical(),
            "follows_theory": self.evidence().map(|evidence| evidence.follows()),
            "sender_lateness_max_ms": self.sender_late_ms(),
            "perfect": self.is_perfect(),
        });
        format!("{value:#}\n")
    }

    /// The plot, SVG.
    pub(super) fn svg(&self) -> String {
        let distance =
            self.distance().map_or_else(String::new, |d| format!(", KS distance {d:.4}"));
        let subtitle = format!(
            "{} packets, {} packets/s, {} mix hops, {} link{distance}",
            self.outcome.tally.delivered, self.options.rate, LAYERS, self.outcome.link.kind,
        );
        // Without delays there is no theory to plot; a curve near zero says that.
        let theory = self.theory.unwrap_or_else(|| Erlang::new(LAYERS as u32, 1e-3));
        let plot = Plot {
            title: "End-to-end latency of the demo against the delays that were asked for",
            subtitle: &subtitle,
            measured_ms: &self.latencies_ms,
            theory,
        };
        plot.svg()
    }
}

fn object(value: impl Fn(f64) -> Option<f64>) -> Map<String, Value> {
    PERCENTILES.into_iter().map(|(name, p)| (name.to_owned(), value(p).into())).collect()
}

/// Looks, before anything runs, whether a result can be written to `file` at the end.
pub(crate) fn check_place(file: &Path) -> Result<(), Fault> {
    let folder = match file.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => file,
    };
    let trial = tempfile::Builder::new().prefix(".phix-").tempfile_in(folder);
    if file.is_dir() {
        let what = file.display();
        return Err(Fault::refused(format!("{what} is a directory: name a file to write to.")));
    }
    trial.map(drop).map_err(|error| not_written(file, &error))
}

/// Writes a result as a whole or not at all.
pub(crate) fn write(file: &Path, text: &str) -> Result<(), Fault> {
    files::replace(file, 0o644, text.as_bytes()).map_err(|error| not_written(file, &error))
}

fn not_written(file: &Path, error: &io::Error) -> Fault {
    Fault::refused(format!(
        "{} cannot be written ({}): name a file in a directory that you may write to.",
        file.display(),
        words(error),
    ))
}
