//! The page, checked line by line as a scraper would read it, and its cache.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use phix_engine::counters::{Counters, DropReason};
use phix_engine::units::Span;
use phix_io::ShardView;

use super::page::{self, Node};
use super::process::Usage;
use crate::entry::counts::{Counts as EntryCounts, Refusal};

fn some() -> Node {
    let mut one = ShardView::default();
    (one.counters.received, one.counters.forwarded) = (12, 9);
    one.counters.drop_one(DropReason::Replay);
    one.gauges.held.delayed = 2;
    one.gauges.pool_free = [1, 2, 3, 4, 5];
    for micros in [1, 90, 100, 70_000, 3_000_000] {
        one.histograms.lateness.note(Span::from_micros(micros));
        one.histograms.batch_wait.note(Span::from_micros(micros));
    }
    [1, 3, 64].into_iter().for_each(|size| one.histograms.batch_size.note(size));
    let build = ["version", "link", "crypto"].map(|name| (name, "a \"b\"".to_owned()));
    let shards = vec![one.clone(), one];
    Node { shards, capacity: [9; 5], build, cpu: vec![(0, 1.5), (1, 2.5)] }
}

fn text() -> String {
    page::text(
        some(),
        (Some(Arc::default()), Some(Arc::default()), Some(Arc::default())),
        Usage::now(),
    )
}

#[derive(Debug, Default)]
struct Family {
    kind: String,
    unit: Option<String>,
    help: bool,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads a page as strictly as OpenMetrics describes it.
fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut present = String::new();
    let body = text.strip_suffix("# EOF\n").expect("a page ends with its mark");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let [word, name, rest] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "what is said of {name} comes before its samples");
            match word {
                "HELP" => assert!(!std::mem::replace(&mut family.help, true) && rest.len() > 8),
                "TYPE" => assert!(std::mem::replace(&mut family.kind, rest.into()).is_empty()),
                "UNIT" => assert!(family.unit.replace(rest.to_owned()).is_none()),
                _ => panic!("{line}"),
            }
            present = name.to_owned();
            continue;
        }
        let (name, labels, value) = sample(line);
        assert!(name.starts_with(&present), "{line} stands among those of {present}");
        let family = families.get_mut(&present).unwrap();
        family.samples.push((name[present.len()..].to_owned(), labels, value));
    }
    families
}

fn sample(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let (id, value) = line.rsplit_once(' ').expect(line);
    let value = value.parse().expect(line);
    let Some((name, labels)) = id.split_once('{') else { return (id, BTreeMap::new(), value) };
    let labels = labels.strip_suffix("\"}").expect(line);
    let labels: BTreeMap<String, String> = labels
        .split("\",")
        .map(|label| label.split_once("=\"").expect(line))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (name, labels, value)
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn every_line_is_as_the_format_wants_it() {
    let families = families(&text());
    assert!(families.len() > Counters::COUNTS.len() + 15);
    for (name, family) in &families {
        assert!(family.help && is_name(name), "{name}");
        assert!(name.starts_with("phix_") || name.starts_with("process_"), "{name}");
        let ends: BTreeSet<&str> = family.samples.iter().map(|(end, ..)| end.as_str()).collect();
        let expected: &[&str] = match family.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("{name} is a {other}"),
        };
        assert_eq!(ends, expected.iter().copied().collect(), "{name}");
        if let Some(unit) = &family.unit {
            assert!(name.ends_with(&format!("_{unit}")), "{name} in {unit}");
        }
        let mut seen = BTreeSet::new();
        for (end, labels, value) in &family.samples {
            assert!(*value >= 0.0 && value.is_finite(), "{name}{end}");
            assert!(labels.keys().all(|label| is_name(label)));
            assert!(seen.insert((end, labels)), "{name}{end} {labels:?} stands twice");
        }
    }
}

#[test]
fn an_entry_is_shown_with_every_reason_for_a_refusal() {
    let counts = EntryCounts::default();
    (0..3).for_each(|_| counts.refuse(Refusal::Clock));
    counts.sessions.add(7);
    let page = page::text(some(), (Some(Arc::new(counts)), None, None), Usage::now());
    let families = families(&page);
    let refused = &families["phix_entry_refused"].samples;
    assert_eq!(refused.len(), Refusal::ALL.len());
    let of = |reason: &str| refused.iter().find(|(_, labels, _)| labels["reason"] == reason);
    assert_eq!((of("clock").unwrap().2, of("proof").unwrap().2), (3.0, 0.0));
    assert_eq!(families["phix_entry_sessions"].samples[0].2, 7.0);
    let without = page::text(some(), (None, None, None), Usage::now());
    assert!(!without.contains("phix_entry"), "a node without an entry shows none");
}

#[test]
fn units_are_those_of_prometheus() {
    let families = families(&text());
    for name in ["phix_delay_error_seconds", "phix_batch_wait_seconds", "phix_shard_cpu_seconds"] {
        assert_eq!(families[name].unit.as_deref(), Some("seconds"), "{name}");
    }
    for name in ["process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"] {
        assert_eq!(families[name].samples.len(), 1, "{name}");
    }
}

#[test]
fn histograms_add_up() {
    let families = families(&text());
    let histograms = families.values().filter(|family| family.kind == "histogram");
    let counts = histograms.map(|family| {
        let of =
            |wanted: &'static str| family.samples.iter().filter(move |(end, ..)| end == wanted);
        let buckets: Vec<(f64, f64)> = of("_bucket")
            .map(|(_, labels, count)| (labels["le"].parse().unwrap(), *count))
            .collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
        let (last, count) = buckets[buckets.len() - 1];
        assert_eq!((last, count), (f64::INFINITY, of("_count").next().unwrap().2));
        count as u64
    });
    assert_eq!(counts.collect::<Vec<_>>(), [6, 10, 10], "two shards together");
    let lateness = &families["phix_delay_error_seconds"].samples;
    let below = |bound: f64| {
        let of = |labels: &BTreeMap<String, String>| labels.get("le")?.parse().ok();
        lateness.iter().find(|(_, labels, _)| of(labels) == Some(bound)).unwrap().2
    };
    assert_eq!([below(65.536e-6), below(131.072e-6), below(1.073741824)], [2.0, 6.0, 8.0]);
}

#[test]
fn each_drop_reason_of_each_shard_is_shown() {
    let families = families(&text());
    let dropped = &families["phix_packets_dropped"].samples;
    assert_eq!(dropped.len(), 2 * DropReason::ALL.len());
    let count = |reason: DropReason| -> f64 {
        let of = dropped.iter().filter(|(_, labels, _)| labels["reason"] == reason.name());
        of.map(|(.., count)| count).sum()
    };
    assert_eq!((count(DropReason::Replay), count(DropReason::HeaderMac)), (2.0, 0.0));
}

mod cache {
    use std::net::TcpListener;
    use std::sync::Mutex;

    use hyper::{Method, StatusCode};
    use phix_io::Observer;

    use super::super::endpoint::{Cache, REFRESH};
    use super::super::{Endpoint, Shown};
    use super::*;

    fn shown() -> std::sync::Arc<Shown> {
        Shown::new(Observer::default(), [9; 5], "epoll".into(), "portable".into())
    }

    #[test]
    fn values_change_once_a_second_at_most() {
        let cache = Cache { shown: shown(), last: Mutex::new(None) };
        let start = Instant::now();
        let first = cache.page(start);
        assert_eq!(cache.page(start + REFRESH - std::time::Duration::from_nanos(1)), first);
        assert_ne!(cache.page(start + REFRESH), first, "the time of the values is another");
        families(std::str::from_utf8(&first).unwrap());
    }

    #[test]
    fn readiness_ends_before_life() {
        let cache = Cache { shown: shown(), last: Mutex::new(None) };
        let status = |path| cache.answer(&Method::GET, path).status();
        assert_eq!((status("/livez"), status("/readyz")), (StatusCode::OK, StatusCode::OK));
        cache.shown.leave();
        assert_eq!(status("/readyz"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((status("/livez"), status("/other")), (StatusCode::OK, StatusCode::NOT_FOUND));
        let posted = cache.answer(&Method::POST, "/metrics");
        assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    fn ask(address: std::net::SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A reset in the middle of what is too long leaves what came before.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn requests_are_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::start(listener, shown()).unwrap();
        let address = endpoint.address();
        let _silent: Vec<TcpStream> =
            (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let good = ask(address, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(good.ends_with("\r\n\r\nall shards run\n"), "{good}");
        let long = format!("GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(100_000));
        assert!(!ask(address, long.as_bytes()).contains(" 200 "));
        let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100));
        assert!(!ask(address, many.as_bytes()).contains(" 200 "));
        assert!(!ask(address, b"\x16\x03\x01garbage\r\n\r\n").contains(" 200 "));
        drop(endpoint);
        assert!(TcpStream::connect(address).is_err(), "it has ended");
    }
}
