//! What the page says about the node's entry.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::page::Writer;
use crate::entry::counts::{Counts, Gauge, Refusal};

/// The counts of an entry, as a part of the page.
#[derive(Debug)]
pub(super) struct EntryPage(pub(super) Arc<Counts>);

impl Collector for EntryPage {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut writer, counts) = (Writer(encoder), &*self.0);
        let reasons = Refusal::ALL.iter();
        let refused = reasons.map(|why| ([("reason", why.name())], counts.refused(*why)));
        let help = "What the entry refused to clients, by reason.";
        writer.counts("entry_refused", help, refused)?;
        let grows: [(&str, &str, &Gauge); 6] = [
            ("entry_registrations", "Registrations of clients.", &counts.registered),
            ("entry_authentications", "Sessions of clients known before.", &counts.authenticated),
            ("entry_packets", "Packets of clients that were sent on.", &counts.forwarded),
            ("entry_messages", "Messages that were written to clients.", &counts.pushed),
            ("entry_messages_stored", "Messages that were put into the inbox.", &counts.stored),
            ("entry_messages_expired", "Messages that waited for too long.", &counts.expired),
        ];
        for (name, help, value) in grows {
            writer.count(name, help, value.get())?;
        }
        let changes: [(&str, &str, &Gauge); 3] = [
            ("entry_connections", "Connections of clients.", &counts.connections),
            ("entry_sessions", "Connections that have shown who they are.", &counts.sessions),
            ("entry_clients", "Clients that are registered.", &counts.clients),
        ];
        for (name, help, value) in changes {
            writer.number(name, help, Some(value.get()))?;
        }
        let help = "Messages that wait for connections.";
        writer.gauge("entry_queued", help, &Unit::Bytes, Some(counts.queued.get() as f64))
    }
}
