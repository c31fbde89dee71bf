//! What the demo says at its end: a table for people, JSON for programs.

use std::fmt::Write as _;
use std::time::Duration;

use phix_client::mixnet::Counters;
use phix_client::stats::percentile;
use serde_json::{Map, Value, json};

use super::Options;
use super::fetch::PAGE;
use super::talk::Outcome;

/// The percentiles that are reported, with their names in the JSON.
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// The result of a demo, ready to be shown.
#[derive(Debug)]
pub(super) struct Report {
    expected: usize,
    outcome: Outcome,
    /// Sorted, milliseconds.
    latencies_ms: Vec<f64>,
    /// How long the page took through the exit, if it came whole.
    fetched: Option<Duration>,
}

impl Report {
    pub(super) fn new(options: &Options, outcome: Outcome, fetched: Option<Duration>) -> Self {
        let mut latencies_ms: Vec<f64> =
            outcome.latencies.iter().map(|latency| latency.as_secs_f64() * 1e3).collect();
        latencies_ms.sort_unstable_by(f64::total_cmp);
        Self { expected: 2 * options.messages, outcome, latencies_ms, fetched }
    }

    /// Whether every message arrived intact, exactly once, was acknowledged, and was answered
    /// where it asked for that, and the page came.
    pub(super) fn is_perfect(&self) -> bool {
        let Outcome { delivered, duplicated, corrupted, acknowledged, answered, .. } = self.outcome;
        delivered == self.expected
            && acknowledged == self.expected
            && (duplicated, corrupted, answered) == (0, 0, 2)
            && self.fetched.is_some()
    }

    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.outcome.counters.iter().map(of).sum()
    }

    /// Packets that left the clients, and those of them that were cover.
    fn packets(&self) -> (u64, u64) {
        let cover = self.sum(|counters| counters.sent_cover_main + counters.sent_cover_loop);
        let real = self.sum(|counters| counters.sent_fragments + counters.sent_again);
        (cover + real, cover)
    }

    fn lost(&self) -> usize {
        self.expected.saturating_sub(self.outcome.delivered)
    }

    /// The table.
    pub(super) fn text(&self) -> String {
        let Outcome { duplicated, corrupted, acknowledged, answered, delivered, sent, .. } =
            self.outcome;
        let (packets, cover) = self.packets();
        let mut text = String::from("\n");
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<34}{value:>12}");
        };
        row("messages sent", sent.to_string());
        row("delivered", delivered.to_string());
        row("lost", self.lost().to_string());
        row("duplicated", duplicated.to_string());
        row("corrupted", corrupted.to_string());
        row("acknowledged to their senders", acknowledged.to_string());
        row("anonymous messages answered", format!("{answered} of 2"));
        row("bytes delivered", self.outcome.bytes.to_string());
        row("packets that left the clients", packets.to_string());
        row("of these again, for want of an ack", self.sum(|all| all.sent_again).to_string());
        row("of these cover", format!("{:.0}%", share(cover, packets) * 100.0));
        row("seconds", format!("{:.1}", self.outcome.took.as_secs_f64()));
        let fetched = self.fetched.map(|took| format!("{:.1}", took.as_secs_f64()));
        row(
            &format!("{} KB by SOCKS5 and exit, seconds", PAGE / 1000),
            fetched.unwrap_or_else(|| "lost".into()),
        );
        for (name, p) in PERCENTILES {
            if let Some(latency) = percentile(&self.latencies_ms, p) {
                row(&format!("latency {name}, ms"), format!("{latency:.0}"));
            }
        }
        text += "
  Latency counts from when a message was given to its client, with the time that it
  waited there for those before it: a client sends 50 packets a second, whatever
  there is to send.";
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> String {
        let Outcome { duplicated, corrupted, acknowledged, answered, delivered, sent, .. } =
            self.outcome;
        let (packets, cover) = self.packets();
        let latency: Map<String, Value> = PERCENTILES
            .iter()
            .filter_map(|(name, p)| {
                Some(((*name).to_owned(), json!(percentile(&self.latencies_ms, *p)?)))
            })
            .collect();
        let json = json!({
            "sent": sent,
            "delivered": delivered,
            "lost": self.lost(),
            "duplicated": duplicated,
            "corrupted": corrupted,
            "acknowledged": acknowledged,
            "answered": answered,
            "bytes": self.outcome.bytes,
            "packets": packets,
            "retransmissions": self.sum(|all| all.sent_again),
            "cover_share": share(cover, packets),
            "seconds": self.outcome.took.as_secs_f64(),
            "latency_ms": latency,
            "fetched_bytes": self.fetched.map(|_| PAGE),
            "fetch_seconds": self.fetched.map(|took| took.as_secs_f64()),
        });
        format!("{json:#}\n")
    }
}

fn share(part: u64, all: u64) -> f64 {
    part as f64 / all.max(1) as f64
}
