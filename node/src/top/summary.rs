//! What two readings, one after the other, say in words and rows.

use super::reading::{Histogram, Reading, Shard};

/// The columns of the table of shards.
pub(super) const COLUMNS: [&str; 14] = [
    "shard", "cpu %", "in/s", "out/s", "drop/s", "batch", "ready", "wheel", "queued", "flight",
    "conn in", "out", "hops", "pool %",
];
/// The columns of the table of drops.
pub(super) const DROP_COLUMNS: [&str; 3] = ["dropped because", "per s", "in all"];
/// The columns of the table of times.
pub(super) const TIME_COLUMNS: [&str; 4] = ["time", "p50", "p99", "p99.9"];

/// All that is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Summary {
    /// One line about the node.
    pub(super) title: String,
    /// One row for each shard, and one for all if there are several.
    pub(super) shards: Vec<[String; COLUMNS.len()]>,
    /// Reasons for which packets were dropped, most of all first.
    pub(super) drops: Vec<[String; DROP_COLUMNS.len()]>,
    /// How late packets left and how long they waited, lately and since the start.
    pub(super) times: Vec<[String; TIME_COLUMNS.len()]>,
    /// Packets that came in, per second.
    pub(super) rate: u64,
}

impl Summary {
    /// What changed from `before` to `now`. Where the node was started anew in between, or nothing
    /// came before, all since its start.
    pub(super) fn of(before: Option<&Reading>, now: &Reading) -> Self {
        let fresh = Reading { at: now.started, ..Reading::default() };
        let same = |before: &&Reading| before.started == now.started && before.at < now.at;
        let before = before.filter(same).unwrap_or(&fresh);
        let seconds = (now.at - before.at).max(f64::MIN_POSITIVE);
        let nothing = Shard::default();
        let each = now.shards.iter().enumerate().map(|(number, shard)| {
            let old = before.shards.get(number).unwrap_or(&nothing);
            row(number.to_string(), old, shard, seconds)
        });
        let mut shards: Vec<_> = each.collect();
        let (old, all) = (sum(&before.shards), sum(&now.shards));
        if now.shards.len() > 1 {
            shards.push(row("all".into(), &old, &all, seconds));
        }
        Self {
            title: title(now),
            shards,
            drops: drops(before, now, seconds),
            times: vec![
                times("late by, now", &now.lateness.since(&before.lateness)),
                times("late by, since start", &now.lateness),
                times("wait for batch, now", &now.batch_wait.since(&before.batch_wait)),
            ],
            rate: ((all.received - old.received) / seconds) as u64,
        }
    }
}

fn title(now: &Reading) -> String {
    let [version, link, crypto] = &now.build;
    let up = (now.at - now.started).max(0.0) as u64;
    let (days, hours, minutes, seconds) = (up / 86_400, up / 3_600 % 24, up / 60 % 60, up % 60);
    let up = match up {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {seconds} s"),
        3_600..86_400 => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    };
    let memory = now.resident_bytes / 1e6;
    format!("phix-node {version}, {link}, crypto {crypto}, up {up}, {memory:.0} MB resident")
}

fn row(name: String, old: &Shard, now: &Shard, seconds: f64) -> [String; COLUMNS.len()] {
    let rate = |field: fn(&Shard) -> f64| amount((field(now) - field(old)) / seconds);
    let batches = now.batches - old.batches;
    let batch = if batches > 0.0 {
        format!("{:.1}", (now.batched - old.batched) / batches)
    } else {
        "-".into()
    };
    let used = 100.0 * (1.0 - now.slots_free / now.slots.max(1.0));
    let count = |value: f64| format!("{value:.0}");
    [
        name,
        format!("{:.0}", 100.0 * (now.cpu_seconds - old.cpu_seconds) / seconds),
        rate(|shard| shard.received),
        rate(|shard| shard.forwarded),
        rate(|shard| shard.dropped),
        batch,
        count(now.ready),
        count(now.delayed),
        count(now.queued),
        count(now.in_flight),
        count(now.inbound),
        count(now.outbound),
        count(now.next_hops),
        format!("{used:.0}"),
    ]
}

fn sum(shards: &[Shard]) -> Shard {
    let mut all = Shard::default();
    for shard in shards {
        all.cpu_seconds += shard.cpu_seconds;
        all.received += shard.received;
        all.forwarded += shard.forwarded;
        all.dropped += shard.dropped;
        all.batches += shard.batches;
        all.batched += shard.batched;
        all.ready += shard.ready;
        all.delayed += shard.delayed;
        all.queued += shard.queued;
        all.in_flight += shard.in_flight;
        all.inbound += shard.inbound;
        all.outbound += shard.outbound;
        all.next_hops += shard.next_hops;
        all.slots += shard.slots;
        all.slots_free += shard.slots_free;
    }
    all
}

fn drops(before: &Reading, now: &Reading, seconds: f64) -> Vec<[String; DROP_COLUMNS.len()]> {
    let mut all: Vec<(&String, f64)> =
        now.dropped.iter().map(|(reason, count)| (reason, *count)).collect();
    all.retain(|&(_, count)| count > 0.0);
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let row = |(reason, count): (&String, f64)| {
        let old = before.dropped.get(reason).copied().unwrap_or_default();
        [reason.clone(), amount((count - old) / seconds), format!("{count:.0}")]
    };
    all.into_iter().map(row).collect()
}

fn times(name: &str, histogram: &Histogram) -> [String; TIME_COLUMNS.len()] {
    let at = |q| histogram.quantile(q).map_or_else(|| "-".into(), span);
    [name.to_owned(), at(0.5), at(0.99), at(0.999)]
}

/// A number of things per second.
fn amount(value: f64) -> String {
    if value > 0.0 && value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Seconds for a person.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use phix_engine::counters::DropReason;
    use phix_engine::units::Span;
    use phix_io::ShardView;

    use super::*;
    use crate::metrics::page::{Node, text};
    use crate::metrics::process::Usage;

    /// What a node with two shards shows that has carried `packets` in each, `at` seconds after
    /// its start.
    pub(in super::super) fn reading(packets: u64, at: f64) -> Reading {
        let mut shard = ShardView::default();
        (shard.counters.received, shard.counters.forwarded) = (packets, packets - 2);
        (shard.counters.batches, shard.counters.batched) = (packets / 10, packets);
        (0..2).for_each(|_| shard.counters.drop_one(DropReason::Replay));
        (0..packets).for_each(|_| shard.histograms.lateness.note(Span::from_micros(100)));
        shard.gauges.held.delayed = 7;
        shard.gauges.pool_free = [10, 25, 1, 1, 1];
        let build = [("version", "0.1.0"), ("link", "epoll"), ("crypto", "avx2")];
        let node = Node {
            shards: vec![shard.clone(), shard],
            capacity: [100; 5],
            build: build.map(|(name, value)| (name, value.to_owned())),
            cpu: vec![(0, at / 2.0), (1, 0.0)],
        };
        let usage = Usage { resident_bytes: Some(52_000_000), ..Usage::default() };
        let reading = Reading::of(&text(node, (None, None, None), usage))
            .expect("the node's own page can be read");
        assert!(reading.at > 1e9, "the page says when it was made");
        Reading { at: 1_000.0 + at, started: 1_000.0, ..reading }
    }

    #[test]
    fn rates_are_those_between_two_readings() {
        let summary = Summary::of(Some(&reading(1_000, 10.0)), &reading(3_000, 14.0));
        let title = "phix-node 0.1.0, epoll, crypto avx2, up 14 s, 52 MB resident";
        assert_eq!(summary.title, title);
        let rows: Vec<String> = summary.shards.iter().map(|row| row.join(" ")).collect();
        assert_eq!(
            rows,
            [
                "0 50 500 500 0 10.0 0 7 0 0 0 0 0 75",
                "1 0 500 500 0 10.0 0 7 0 0 0 0 0 75",
                "all 50 1000 1000 0 10.0 0 14 0 0 0 0 0 75",
            ]
        );
        assert_eq!(summary.drops, [["replay", "0", "4"]]);
        assert_eq!(summary.rate, 1_000);
        let [name, p50, ..] = &summary.times[0];
        let micros: f64 = p50.strip_suffix(" us").unwrap().parse().unwrap();
        assert!(name == "late by, now" && (micros / 100.0 - 1.0).abs() < 0.07, "{p50}");
    }

    #[test]
    fn a_node_that_was_started_anew_is_seen_from_its_start() {
        let old = Reading { started: 5.0, ..reading(9_000, 1.0) };
        assert_eq!(Summary::of(Some(&old), &reading(1_000, 10.0)).rate, 200);
        assert_eq!(Summary::of(None, &reading(1_000, 10.0)).rate, 200);
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let shown = [0.0, 42e-6, 1.26e-3, 0.5, 2.0].map(span);
        assert_eq!(shown, ["0 us", "42 us", "1.3 ms", "500.0 ms", "2.00 s"]);
        assert_eq!([0.0, 0.25, 9.96, 1234.4].map(amount), ["0", "0.2", "10.0", "1234"]);
    }
}
