//! What a run says about the nodes, for people and for programs.

use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use phix_engine::units::Span;
use serde_json::{Value, json};

use super::drive::{Outcome, Second};
use super::hgrm;
use super::measure::{QUANTILES, ms, summary};

/// Own lateness that is no longer negligible beside what nodes are held to, in nanoseconds.
const OWN_LATENESS_MAX: u64 = 1_000_000;

/// What a run must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Share of the packets that may be lost.
    pub max_loss: f64,
    /// Limit for the 99th percentile of the delay errors.
    pub max_p99: Option<Span>,
    /// Limit for how far behind the nodes may be at the end.
    pub max_lag: Option<Span>,
}

impl Objective {
    /// What a run has missed, in words; nothing if it met everything.
    pub fn missed(&self, outcome: &Outcome) -> Vec<String> {
        let counts = &outcome.counts;
        let mut missed = Vec::new();
        if counts.sent < counts.prepared {
            let unsent = counts.prepared - counts.sent;
            missed.push(format!("{unsent} of {} packets could not be sent", counts.prepared));
        }
        let loss = loss(outcome);
        if loss > self.max_loss {
            let (lost, allowed) = (counts.lost, 100.0 * self.max_loss);
            missed.push(format!("{lost} packets lost, {:.4} %, {allowed} % allowed", 100.0 * loss));
        }
        let faults = [
            ("damaged", counts.damaged),
            ("duplicate", counts.duplicates),
            ("unknown", counts.unknown),
        ];
        for (what, count) in faults.into_iter().filter(|(_, count)| *count > 0) {
            missed.push(format!("{count} {what} packets came back"));
        }
        let p99 = outcome.measured.delay_error.value_at_quantile(0.99);
        if let Some(limit) = self.max_p99.filter(|limit| p99 > limit.as_nanos()) {
            let limit = ms(limit.as_nanos());
            missed.push(format!("delay error p99 {:.3} ms, {limit} ms allowed", ms(p99)));
        }
        let lag = outcome.measured.lag();
        if let Some(limit) = self.max_lag.filter(|limit| lag > limit.as_nanos()) {
            let limit = ms(limit.as_nanos());
            missed.push(format!("{:.3} ms behind at the end, {limit} ms allowed", ms(lag)));
        }
        missed
    }
}

/// Share of the packets that were sent and did not come back.
pub fn loss(outcome: &Outcome) -> f64 {
    let counts = &outcome.counts;
    if counts.sent == 0 { 0.0 } else { counts.lost as f64 / counts.sent as f64 }
}

/// Packets per second, of so many packets in this time.
fn rate(packets: u64, time: Span) -> f64 {
    if time == Span::ZERO { 0.0 } else { packets as f64 * 1e9 / time.as_nanos() as f64 }
}

/// Whether the tester was later than nodes are measured, so that the figures are about itself.
pub fn tester_was_the_limit(outcome: &Outcome) -> bool {
    outcome.measured.own_lateness.value_at_quantile(0.99) > OWN_LATENESS_MAX
}

/// Everything as JSON, times in milliseconds.
pub fn json(outcome: &Outcome, objective: &Objective) -> Value {
    let (counts, measured) = (&outcome.counts, &outcome.measured);
    let missed = objective.missed(outcome);
    json!({
        "prepared": counts.prepared,
        "sent": counts.sent,
        "intact": counts.intact,
        "lost": counts.lost,
        "damaged": counts.damaged,
        "duplicates": counts.duplicates,
        "unknown": counts.unknown,
        "early": measured.early,
        "sent_per_s": rate(counts.sent, outcome.sending),
        "back_per_s": rate(counts.intact.saturating_sub(1), outcome.returning),
        "latency_ms": summary(&measured.latency),
        "delay_error_ms": summary(&measured.delay_error),
        "lag_ms": ms(measured.lag()),
        "lateness_ms": summary(&measured.lateness),
        "own_lateness_ms": summary(&measured.own_lateness),
        "tester": {
            "was_the_limit": tester_was_the_limit(outcome),
            "cpu_s": outcome.busy.as_nanos() as f64 / 1e9,
            "run_s": outcome.running.as_nanos() as f64 / 1e9,
        },
        "connections_in": outcome.accepted,
        "malformed_connections": outcome.malformed,
        "failures": outcome.failures,
        "stopped": outcome.stopped,
        "objective": {
            "max_loss": objective.max_loss,
            "max_p99_ms": objective.max_p99.map(|span| ms(span.as_nanos())),
            "max_lag_ms": objective.max_lag.map(|span| ms(span.as_nanos())),
            "met": missed.is_empty(),
            "missed": missed,
        },
        "seconds": outcome.seconds.iter().map(second).collect::<Vec<_>>(),
    })
}

fn second(second: &Second) -> Value {
    json!({
        "at_s": second.at,
        "planned": second.planned,
        "sent": second.sent,
        "intact": second.intact,
        "overdue": second.overdue,
        "delay_error_p50_ms": ms(second.p50),
        "delay_error_p99_ms": ms(second.p99),
    })
}

/// The seconds of a run as comma-separated values; counts are totals since the start.
pub fn csv(outcome: &Outcome) -> String {
    let mut text =
        String::from("at_s,planned,sent,intact,overdue,delay_error_p50_ms,delay_error_p99_ms\n");
    for Second { at, planned, sent, intact, overdue, p50, p99 } in &outcome.seconds {
        let (p50, p99) = (ms(*p50), ms(*p99));
        writeln!(text, "{at:.3},{planned},{sent},{intact},{overdue},{p50:.6},{p99:.6}")
            .expect("a string takes any text");
    }
    text
}

/// Writes the histograms beside each other as `BASE.latency.hgrm`, `BASE.delay-error.hgrm`,
/// `BASE.lateness.hgrm` and `BASE.own-lateness.hgrm`.
///
/// # Errors
/// If a file cannot be written, with its name.
pub fn write_histograms(base: &Path, outcome: &Outcome) -> Result<(), (PathBuf, io::Error)> {
    for (name, histogram) in histograms(outcome) {
        let mut path = base.as_os_str().to_owned();
        path.push(format!(".{}.hgrm", name.replace(' ', "-")));
        let path = PathBuf::from(path);
        std::fs::write(&path, hgrm::text(histogram)).map_err(|error| (path, error))?;
    }
    Ok(())
}

const fn histograms(outcome: &Outcome) -> [(&str, &Histogram<u64>); 4] {
    let measured = &outcome.measured;
    [
        ("latency", &measured.latency),
        ("delay error", &measured.delay_error),
        ("lateness", &measured.lateness),
        ("own lateness", &measured.own_lateness),
    ]
}

/// The report for people.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a Outcome);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.0;
        let counts = &outcome.counts;
        let rows = [
            ("sent", counts.sent),
            ("back intact", counts.intact),
            ("lost", counts.lost),
            ("back damaged", counts.damaged),
            ("duplicates", counts.duplicates),
            ("unknown", counts.unknown),
        ];
        for (name, count) in rows {
            writeln!(f, "  {name:<22}{count:>12}")?;
        }
        writeln!(f, "  {:<22}{:>12.0}", "sent per second", rate(counts.sent, outcome.sending))?;
        let back = rate(counts.intact.saturating_sub(1), outcome.returning);
        writeln!(f, "  {:<22}{back:>12.0}\n", "back per second")?;
        write!(f, "  {:<16}", "ms")?;
        QUANTILES.iter().try_for_each(|(name, _)| write!(f, "{name:>10}"))?;
        write!(f, "{:>10}", "max")?;
        for (name, histogram) in histograms(outcome) {
            write!(f, "\n  {name:<16}")?;
            for (_, quantile) in QUANTILES {
                write!(f, "{:>10.3}", ms(histogram.value_at_quantile(quantile)))?;
            }
            write!(f, "{:>10.3}", ms(histogram.max()))?;
        }
        Ok(())
    }
}
