//! What a node says about its packets, while it runs and when it stops.

use std::fmt::Write;
use std::time::Duration;

use phix_engine::counters::{Counters, DropReason};

/// One line: packets in, out, and dropped by reason.
pub fn line(counters: &Counters) -> String {
    let Counters { received, originated, forwarded, delivered, .. } = counters;
    let mut text = format!("{received} packets received, ");
    if *originated > 0 {
        let _ = write!(text, "{originated} originated, ");
    }
    let _ = write!(text, "{forwarded} sent on, ");
    if *delivered > 0 {
        let _ = write!(text, "{delivered} delivered, ");
    }
    let _ = write!(text, "{} dropped", counters.dropped_total());
    let reasons: Vec<String> =
        reasons(counters).map(|(reason, count)| format!("{} {count}", reason.name())).collect();
    if !reasons.is_empty() {
        let _ = write!(text, " ({})", reasons.join(", "));
    }
    text
}

/// The whole account of a node that stopped after `took`, with `abandoned` packets left.
pub fn account(counters: &Counters, abandoned: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let mut text = format!("Stopped in {seconds:.1} s.\n");
    let mut row = |name: &str, count: u64| {
        let _ = writeln!(text, "  {name:<24}{count:>14}");
    };
    row("received", counters.received);
    for (name, count) in [("originated", counters.originated), ("delivered", counters.delivered)] {
        if count > 0 {
            row(name, count);
        }
    }
    row("sent on", counters.forwarded);
    row("dropped", counters.dropped_total());
    for (reason, count) in reasons(counters) {
        row(&format!("  {}", reason.name()), count);
    }
    if abandoned > 0 {
        row("left when time was up", abandoned);
    }
    row("connections accepted", counters.accepted);
    for (name, count) in [
        ("connections refused", counters.refused),
        ("refused: too many of one", counters.refused_source),
        ("closed: not frames", counters.malformed),
        ("cut off within a frame", counters.truncated),
        ("closed: forged records", counters.forged),
        ("refused for being plain", counters.plain_refused),
        ("Noise handshakes", counters.noise_handshakes),
        ("  that failed", counters.noise_failed),
    ] {
        if count > 0 {
            row(name, count);
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn reasons(counters: &Counters) -> impl Iterator<Item = (DropReason, u64)> {
    let each = |reason| (reason, counters.dropped(reason));
    DropReason::ALL.into_iter().map(each).filter(|&(_, count)| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Counters {
        let mut counters = Counters::default();
        (counters.received, counters.forwarded) = (12, 9);
        counters.drop_one(DropReason::Replay);
        counters.drop_one(DropReason::Replay);
        counters.drop_one(DropReason::PeerUnreachable);
        counters
    }

    #[test]
    fn only_reasons_that_occurred_are_named() {
        assert_eq!(
            line(&some()),
            "12 packets received, 9 sent on, 3 dropped (replay 2, peer_unreachable 1)"
        );
        let mut gateway = Counters::default();
        (gateway.originated, gateway.delivered) = (5, 2);
        let text = "0 packets received, 5 originated, 0 sent on, 2 delivered, 0 dropped";
        assert_eq!(line(&gateway), text);
        assert_eq!(line(&Counters::default()), "0 packets received, 0 sent on, 0 dropped");
    }

    #[test]
    fn the_account_lines_up() {
        let text = account(&some(), 0, Duration::from_millis(1_250));
        let mut rows = text.lines();
        assert_eq!(rows.next(), Some("Stopped in 1.2 s."));
        assert!(rows.all(|row| row.len() == 40), "{text}");
        assert!(text.contains("replay") && !text.contains("header_mac"));
    }
}
