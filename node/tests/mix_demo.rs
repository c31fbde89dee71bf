//! The demo as a person runs it, over both links, whole and with a node that dies in the middle.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the demo in an empty directory; gives what it printed and its JSON.
fn demo(arguments: &[&str]) -> (Output, Option<Value>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_phix-node"))
        .current_dir(&folder)
        .args(["mix-demo", "--json", "demo.json"])
        .args(arguments)
        .output()
        .unwrap();
    let json = fs::read_to_string(folder.path().join("demo.json")).ok();
    (output, json.map(|json| serde_json::from_str(&json).unwrap()), folder)
}

fn number(json: &Value, name: &str) -> u64 {
    json[name].as_u64().unwrap_or_else(|| panic!("no {name} in {json:#}"))
}

fn whole(link: &str) {
    let (output, json, folder) = demo(&[
        "--packets",
        "500",
        "--rate",
        "200",
        "--mean-delay",
        "30ms",
        "--link",
        link,
        "--plot",
        "demo.svg",
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    let json = json.expect("a JSON was asked for");
    for (name, expected) in
        [("sent", 500), ("delivered", 500), ("lost", 0), ("duplicated", 0), ("corrupted", 0)]
    {
        assert_eq!(number(&json, name), expected, "{name}");
    }
    assert_eq!(json["link"], link);
    assert_eq!(json["dropped"].as_object().unwrap().values().filter(|n| **n != 0).count(), 0);
    for name in ["p50", "p90", "p99", "p999"] {
        assert!(json["latency_ms"][name].as_f64().unwrap() > 0.0);
        assert!(json["theory_ms"][name].as_f64().unwrap() > 0.0);
    }
    // A busy machine makes packets late, which is not what this test is about. It can never make
    // them early: the median must not fall short of theory by more than a sample's own scatter.
    let (measured, theory) = (&json["latency_ms"]["p50"], &json["theory_ms"]["p50"]);
    assert!(measured.as_f64().unwrap() > 0.85 * theory.as_f64().unwrap(), "{json:#}");
    assert!((0.0..=1.0).contains(&json["ks_distance"].as_f64().unwrap()));
    let follows = json["follows_theory"].as_bool().expect("there are delays and arrivals");
    let verdict = ["the delays do not follow theory: ", "the delays follow theory\n"];
    assert!(said.contains(verdict[usize::from(follows)]), "{said}");
    let plot = fs::read_to_string(folder.path().join("demo.svg")).unwrap();
    assert!(plot.contains("<svg") && plot.ends_with("</svg>\n"));
}

#[test]
fn every_packet_arrives_over_epoll() {
    whole("epoll");
}

#[test]
fn every_packet_arrives_over_io_uring() {
    if has_io_uring() {
        whole("io_uring");
    }
}

/// Whether this machine has io_uring. Says aloud if not: the test harness keeps what a test prints
/// to itself, and what is written past it does not get lost.
fn has_io_uring() -> bool {
    let plan = phix_io::plan(phix_io::LinkChoice::Uring);
    if let Err(error) = &plan {
        let said = format!("NOT TESTED over io_uring: {error}\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    plan.is_ok()
}

#[test]
fn a_node_that_dies_costs_its_packets_and_nothing_else_over_epoll() {
    killed("epoll");
}

#[test]
fn a_node_that_dies_costs_its_packets_and_nothing_else_over_io_uring() {
    if has_io_uring() {
        killed("io_uring");
    }
}

fn killed(link: &str) {
    let arguments =
        ["--packets", "400", "--rate", "200", "--width", "2", "--kill", "4@500ms", "--link", link];
    let (output, json, _folder) = demo(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ended on purpose: mix 4 (layer 2); what it held counts as"), "{said}");
    let json = json.expect("a JSON is written all the same");
    assert_eq!(json["killed"], "mix 4 (layer 2)");
    let (sent, delivered) = (number(&json, "sent"), number(&json, "delivered"));
    let lost = number(&json, "lost");
    assert_eq!((sent, delivered + lost), (400, 400));
    // The node carries half of the traffic for three quarters of the time.
    assert!((70..=230).contains(&lost), "{lost} lost");
    assert_eq!((number(&json, "duplicated"), number(&json, "corrupted")), (0, 0));
    let dropped = number(&json, "dropped_total");
    assert!(dropped > 0 && dropped <= lost, "{dropped} dropped, {lost} lost");
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_runs() {
    for place in ["missing/demo.json", "/proc/demo.json", "."] {
        let output = Command::new(env!("CARGO_BIN_EXE_phix-node"))
            .args(["mix-demo", "--json", place])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{place}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.lines().count(), 1, "{place}");
        assert!(!said.contains("/.phix-"), "no temporary name: {said}");
        assert!(output.stdout.is_empty(), "{place}");
    }
}
