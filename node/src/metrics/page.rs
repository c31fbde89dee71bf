//! The page of metrics in the text format of OpenMetrics, with the names and units that Prometheus
//! asks for.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use phix_engine::counters::{Counters, DropReason};
use phix_engine::histogram::{Histograms, Sizes, Spans};
use phix_engine::pool::Capacity;
use phix_engine::units::Span;
use phix_io::ShardView;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Shown;
use super::entry::EntryPage;
use super::exit::ExitPage;
use super::names::{
    BATCH_SIZE, BATCH_WAIT, CONNECTIONS, DROPPED, HELD, LATENESS, NEXT_HOPS, PREFIX, REFRESHED,
    SHARD_CPU, SIZES, SLOTS, SLOTS_FREE,
};
use super::process::Usage;
use super::router::RouterPage;
use crate::entry::counts::Counts;
use crate::exit::requester::counts::Counts as ExitCounts;
use crate::exit::router::counts::Counts as RouterCounts;

/// The media type of the page.
pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of delay errors: every eighth of an octave from 8 us to 1 s, so that quantiles can be
/// read from the page nearly as exactly as the shards measure.
const LATENESS_BOUNDS: std::ops::RangeInclusive<u32> = 13..=29;
/// Bounds of waits for a batch: every octave from 1 us to 1 s.
const WAIT_BOUNDS: std::ops::RangeInclusive<u32> = 10..=30;
/// Bounds of batch sizes.
const SIZE_BOUNDS: [usize; 9] = [1, 2, 4, 8, 16, 24, 32, 48, 64];

/// The page for `shown` as it is now.
pub(crate) fn page(shown: &Shown) -> String {
    let usage = Usage::now();
    let node = Node {
        shards: shown.observer.shards(),
        capacity: shown.capacity,
        build: shown.build.clone(),
        cpu: usage.shards.clone(),
    };
    let (entry, exit) = (shown.entry.get().cloned(), shown.exit.get().cloned());
    text(node, (entry, exit, shown.router.get().cloned()), usage)
}

/// What a node's entry, its network requester and its IP packet router count, if it has them.
pub(crate) type Gateway = (Option<Arc<Counts>>, Option<Arc<ExitCounts>>, Option<Arc<RouterCounts>>);

/// The page for these values.
pub(crate) fn text(node: Node, (entry, exit, router): Gateway, usage: Usage) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(node));
    if let Some(counts) = entry {
        registry.register_collector(Box::new(EntryPage(counts)));
    }
    if let Some(counts) = exit {
        registry.register_collector(Box::new(ExitPage(counts)));
    }
    if let Some(counts) = router {
        registry.register_collector(Box::new(RouterPage(counts)));
    }
    let mut process = Registry::with_prefix("process");
    process.register_collector(Box::new(usage));
    let mut text = String::new();
    encode_registry(&mut text, &registry)
        .and_then(|()| encode_registry(&mut text, &process))
        .and_then(|()| encode_eof(&mut text))
        .expect("a string takes any text");
    text
}

/// All that the page says about the node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) shards: Vec<ShardView>,
    pub(crate) capacity: Capacity,
    pub(crate) build: [(&'static str, String); 3],
    pub(crate) cpu: Vec<(usize, f64)>,
}

type Label = (&'static str, String);

/// One value of each shard, with the shard's label.
fn by_shard<'a, T>(
    shards: &'a [ShardView],
    value: impl Fn(&ShardView) -> T + 'a,
) -> impl Iterator<Item = ([Label; 1], T)> + 'a {
    shards.iter().enumerate().map(move |(number, shard)| ([shard_label(number)], value(shard)))
}

/// Several values of each shard, told apart by the label `by`.
fn by_shard_and<'a, T: 'a, const N: usize>(
    shards: &'a [ShardView],
    by: &'static str,
    values: impl Fn(&ShardView) -> [(&'static str, T); N] + 'a,
) -> impl Iterator<Item = ([Label; 2], T)> + 'a {
    shards.iter().enumerate().flat_map(move |(number, shard)| {
        let labels = move |word: &str| [shard_label(number), (by, word.to_owned())];
        values(shard).map(|(word, value)| (labels(word), value))
    })
}

fn shard_label(number: usize) -> Label {
    ("shard", number.to_string())
}

/// Writes metrics one after the other.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    pub(super) fn counts<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn count(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn seconds<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, usize)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&(value as u64))?;
        }
        Ok(())
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        value: Option<f64>,
    ) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.0.encode_descriptor(name, help, Some(unit), MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn number(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn spans(
        &mut self,
        name: &str,
        help: &str,
        spans: &Spans,
        bounds: impl Iterator<Item = u64>,
    ) -> fmt::Result {
        let (sum, count) = (spans.nanos() as f64 / 1e9, spans.count());
        let bounds = bounds.map(|nanos| (nanos as f64 / 1e9, Span::from_nanos(nanos)));
        let buckets =
            buckets(bounds.map(|(bound, nanos)| (bound, spans.shorter_than(nanos))), count);
        let unit = Some(&Unit::Seconds);
        let mut metric = self.0.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn sizes(&mut self, name: &str, help: &str, sizes: &Sizes) -> fmt::Result {
        let count = sizes.up_to(usize::MAX);
        let bounds = SIZE_BOUNDS.iter().map(|&size| (size as f64, sizes.up_to(size)));
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let buckets = buckets(bounds, count);
        metric.encode_histogram::<NoLabelSet>(sizes.packets() as f64, count, &buckets, None)
    }
}

/// How many fell between each bound and the one before, from how many fell below each.
fn buckets(bounds: impl Iterator<Item = (f64, u64)>, count: u64) -> Vec<(f64, u64)> {
    let mut before = 0;
    let all = bounds.chain([(f64::INFINITY, count)]);
    all.map(|(bound, below)| (bound, below - std::mem::replace(&mut before, below))).collect()
}

impl Collector for Node {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let help = "What this node is made of.";
        writer
            .0
            .encode_descriptor("build", help, None, MetricType::Info)?
            .encode_info(&self.build)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|time| time.as_secs_f64());
        let help = "When these values were taken.";
        writer.gauge(REFRESHED, help, &Unit::Seconds, now)?;
        self.counts(&mut writer)?;
        self.gauges(&mut writer)?;
        self.histograms(&mut writer)
    }
}

impl Node {
    fn counts(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let shards = &self.shards;
        for (place, count) in Counters::COUNTS.iter().enumerate() {
            let values = by_shard(shards, |shard| shard.counters.values()[place]);
            writer.counts(count.name, count.help(), values)?;
        }
        let dropped = by_shard_and(shards, "reason", |shard| {
            DropReason::ALL.map(|reason| (reason.name(), shard.counters.dropped(reason)))
        });
        writer.counts(DROPPED, "Packets dropped, by reason.", dropped)?;
        let cpu = self.cpu.iter().map(|&(number, seconds)| ([shard_label(number)], seconds));
        writer.seconds(SHARD_CPU, "Time for which each shard's thread ran.", cpu)
    }

    fn gauges(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let shards = &self.shards;
        let held = by_shard_and(shards, "stage", |shard| {
            let held = shard.gauges.held;
            [
                ("ready", held.ready),
                ("delayed", held.delayed),
                ("queued", held.queued),
                ("in_flight", held.in_flight),
            ]
        });
        writer.gauges(HELD, "Packets that the node holds, by where they are.", held)?;
        let connections = by_shard_and(shards, "direction", |shard| {
            let connections = shard.gauges.connections;
            [("in", connections.inbound), ("out", connections.outbound)]
        });
        writer.gauges(CONNECTIONS, "Connections with other nodes.", connections)?;
        let next_hops = by_shard(shards, |shard| shard.gauges.next_hops);
        writer.gauges(NEXT_HOPS, "Next hops that the shard knows.", next_hops)?;
        let by_size = |slots: Capacity| {
            std::array::from_fn::<_, { SIZES.len() }, _>(|size| (SIZES[size], slots[size]))
        };
        let slots = by_shard_and(shards, "size", move |_| by_size(self.capacity));
        writer.gauges(SLOTS, "Packets of each size that the shard can hold.", slots)?;
        let free = by_shard_and(shards, "size", move |shard| by_size(shard.gauges.pool_free));
        writer.gauges(SLOTS_FREE, "Packets of each size that the shard has room for.", free)
    }

    fn histograms(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let mut all = Histograms::default();
        self.shards.iter().for_each(|shard| all.add(&shard.histograms));
        let eighths = |octave: u32| (8..16).map(move |part: u64| part << (octave - 3));
        let bounds = LATENESS_BOUNDS.flat_map(eighths).chain([1 << (LATENESS_BOUNDS.end() + 1)]);
        let help = "How long after its deadline, which is its arrival plus the delay that its \
                    sender chose, a packet was handed to the link.";
        writer.spans(LATENESS, help, &all.lateness, bounds)?;
        let help = "How long a packet waited for its batch.";
        let bounds = WAIT_BOUNDS.map(|octave| 1 << octave);
        writer.spans(BATCH_WAIT, help, &all.batch_wait, bounds)?;
        writer.sizes(BATCH_SIZE, "Packets per batch.", &all.batch_size)
    }
}

impl Collector for Usage {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        if let Some(seconds) = self.cpu_seconds {
            let help = "Time for which the process ran, in user and kernel mode.";
            let unit = Some(&Unit::Seconds);
            let mut metric = writer.0.encode_descriptor("cpu", help, unit, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
        }
        let bytes = |count: Option<u64>| count.map(|count| count as f64);
        let help = "Memory that the process occupies.";
        writer.gauge("resident_memory", help, &Unit::Bytes, bytes(self.resident_bytes))?;
        let help = "Addresses that the process has mapped.";
        writer.gauge("virtual_memory", help, &Unit::Bytes, bytes(self.virtual_bytes))?;
        let help = "When the process started.";
        writer.gauge("start_time", help, &Unit::Seconds, self.start_seconds)?;
        writer.number("threads", "Threads of the process.", self.threads)?;
        writer.number("open_fds", "Files that the process has open.", self.open_files)?;
        let help = "Files that the process may have open.";
        writer.number("max_fds", help, self.open_files_max)
    }
}
