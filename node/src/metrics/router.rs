//! What the page says about the node's IP packet router.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Writer;
use crate::exit::router::counts::{Count, Counts, Dropped};

/// The counts of an IP packet router, as a part of the page.
#[derive(Debug)]
pub(super) struct RouterPage(pub(super) Arc<Counts>);

impl Collector for RouterPage {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut writer, counts) = (Writer(encoder), &*self.0);
        let reasons = Dropped::ALL.iter();
        let dropped = reasons.map(|why| ([("reason", why.word())], counts.dropped(*why)));
        let help = "Messages and packets that the IP packet router dropped, by reason.";
        writer.counts("router_dropped", help, dropped)?;
        let grows: [(&str, &str, &Count); 4] = [
            ("router_packets_out", "IP packets of clients that were sent on.", &counts.out),
            ("router_packets_back", "IP packets that were sent to clients.", &counts.back),
            ("router_connected", "Clients that got addresses.", &counts.connected),
            ("router_expired", "Clients that lost them for their silence.", &counts.expired),
        ];
        for (name, help, value) in grows {
            writer.count(name, help, value.get())?;
        }
        let help = "Clients that have addresses of the IP packet router now.";
        writer.number("router_clients", help, Some(counts.clients.get()))
    }
}
