//! One reading of a node's metrics: the page that the node shows, as numbers.

use std::collections::BTreeMap;

use crate::metrics::names::{
    BATCH_WAIT, CONNECTIONS, DROPPED, HELD, LATENESS, NEXT_HOPS, PREFIX, REFRESHED, SHARD_CPU,
    SIZES, SLOTS, SLOTS_FREE, STARTED,
};

/// One value of the page.
#[derive(Debug)]
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    value: f64,
}

/// One shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shard {
    pub(super) cpu_seconds: f64,
    pub(super) received: f64,
    pub(super) forwarded: f64,
    pub(super) dropped: f64,
    pub(super) batches: f64,
    pub(super) batched: f64,
    pub(super) ready: f64,
    pub(super) delayed: f64,
    pub(super) queued: f64,
    pub(super) in_flight: f64,
    pub(super) inbound: f64,
    pub(super) outbound: f64,
    pub(super) next_hops: f64,
    /// Slots of regular packets, and how many of them are free.
    pub(super) slots: f64,
    pub(super) slots_free: f64,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// Upper bounds in seconds, and how many took no longer than that.
    buckets: Vec<(f64, f64)>,
}

/// What a node showed at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// When the values were taken, in seconds since 1970.
    pub(super) at: f64,
    /// When the node started.
    pub(super) started: f64,
    /// Version, link and crypto kernels.
    pub(super) build: [String; 3],
    pub(super) resident_bytes: f64,
    pub(super) shards: Vec<Shard>,
    /// Packets dropped, by reason.
    pub(super) dropped: BTreeMap<String, f64>,
    pub(super) lateness: Histogram,
    pub(super) batch_wait: Histogram,
}

impl Reading {
    /// Reads the page; nothing if it is not that of a Phix node.
    pub(super) fn of(page: &str) -> Option<Self> {
        let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples: Vec<Sample<'_>> = lines.map(sample).collect::<Option<_>>()?;
        let page = Page(&samples);
        let build = page.all(&format!("{PREFIX}_build_info")).next()?;
        let label = |name| build.labels.get(name).map_or_else(String::new, |text| (*text).into());
        let received = format!("{PREFIX}_packets_received_total");
        let mut reading = Self {
            at: page.all(&format!("{PREFIX}_{REFRESHED}_seconds")).next()?.value,
            started: page.sum(&format!("{STARTED}_seconds"), &[]),
            build: ["version", "link", "crypto"].map(label),
            resident_bytes: page.sum("process_resident_memory_bytes", &[]),
            shards: (0..page.all(&received).count()).map(|number| page.shard(number)).collect(),
            dropped: BTreeMap::new(),
            lateness: page.histogram(LATENESS),
            batch_wait: page.histogram(BATCH_WAIT),
        };
        for sample in page.all(&format!("{PREFIX}_{DROPPED}_total")) {
            let reason = sample.labels.get("reason")?;
            *reading.dropped.entry((*reason).to_owned()).or_default() += sample.value;
        }
        Some(reading)
    }
}

struct Page<'a>(&'a [Sample<'a>]);

impl<'a> Page<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a Sample<'a>> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of the values that have these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample<'_>| {
            labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
        };
        self.all(name).filter(has).map(|sample| sample.value).sum()
    }

    fn shard(&self, number: usize) -> Shard {
        let number = number.to_string();
        let shard = ("shard", number.as_str());
        let total = |name: &str| self.sum(&format!("{PREFIX}_{name}_total"), &[shard]);
        let one = |name: &str, label, value| {
            self.sum(&format!("{PREFIX}_{name}"), &[shard, (label, value)])
        };
        let regular = SIZES[1];
        Shard {
            cpu_seconds: total(&format!("{SHARD_CPU}_seconds")),
            received: total("packets_received"),
            forwarded: total("packets_forwarded"),
            dropped: total(DROPPED),
            batches: total("batches"),
            batched: total("packets_batched"),
            ready: one(HELD, "stage", "ready"),
            delayed: one(HELD, "stage", "delayed"),
            queued: one(HELD, "stage", "queued"),
            in_flight: one(HELD, "stage", "in_flight"),
            inbound: one(CONNECTIONS, "direction", "in"),
            outbound: one(CONNECTIONS, "direction", "out"),
            next_hops: self.sum(&format!("{PREFIX}_{NEXT_HOPS}"), &[shard]),
            slots: one(SLOTS, "size", regular),
            slots_free: one(SLOTS_FREE, "size", regular),
        }
    }

    fn histogram(&self, name: &str) -> Histogram {
        let bound =
            |sample: &Sample<'_>| Some((sample.labels.get("le")?.parse().ok()?, sample.value));
        let name = format!("{PREFIX}_{name}_seconds_bucket");
        Histogram { buckets: self.all(&name).filter_map(bound).collect() }
    }
}

impl Histogram {
    /// What was added to it since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let old = |place: usize| before.buckets.get(place).map_or(0.0, |(_, count)| *count);
        let each = self.buckets.iter().enumerate();
        Self { buckets: each.map(|(i, (bound, count))| (*bound, count - old(i))).collect() }
    }

    /// The time in seconds that the share `q` did not exceed, by linear interpolation within a
    /// bucket; nothing if there was nothing. Beyond the last bound it is that bound.
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.buckets.last()?.1;
        let rank = q * count;
        let place = self.buckets.iter().position(|(_, below)| *below >= rank && *below > 0.0)?;
        let (bound, below) = self.buckets[place];
        let (from, before) = place.checked_sub(1).map_or((0.0, 0.0), |last| self.buckets[last]);
        if bound.is_infinite() {
            return Some(from);
        }
        Some(from + (bound - from) * (rank - before) / (below - before))
    }
}

/// Reads `name{label="value",...} number`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (id, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = id.split_once('{') else {
        return Some(Sample { name: id, labels: BTreeMap::new(), value });
    };
    let labels = labels.strip_suffix("\"}")?;
    let labels = labels.split("\",").map(|label| label.split_once("=\""));
    Some(Sample { name, labels: labels.collect::<Option<_>>()?, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_names_labels_and_values() {
        let one = sample("a_total{shard=\"0\",reason=\"b c\"} 1.5").unwrap();
        assert_eq!((one.name, one.value), ("a_total", 1.5));
        assert_eq!(one.labels, BTreeMap::from([("shard", "0"), ("reason", "b c")]));
        assert_eq!(sample("a 3").unwrap().labels.len(), 0);
        for wrong in ["", "a", "a b", "a{b} 1", "<html> <body>"] {
            assert!(sample(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn other_pages_are_not_read() {
        assert_eq!(Reading::of("hello world"), None);
        assert_eq!(Reading::of("up 1\n"), None);
        assert_eq!(Reading::of(""), None);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let infinity = f64::INFINITY;
        let all = Histogram { buckets: vec![(1.0, 10.0), (2.0, 30.0), (infinity, 31.0)] };
        let quantile = |q| all.quantile(q).unwrap();
        assert_eq!([0.1, 0.5, 1.0].map(quantile), [0.31, 1.275, 2.0]);
        let before = Histogram { buckets: vec![(1.0, 10.0), (2.0, 29.0), (infinity, 30.0)] };
        assert_eq!(all.since(&before).quantile(0.5), Some(1.5));
        assert_eq!(all.since(&all).quantile(0.5), None);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
