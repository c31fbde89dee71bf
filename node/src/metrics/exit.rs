//! What the page says about the node's network requester.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::Writer;
use crate::entry::counts::Gauge;
use crate::exit::requester::counts::{Counts, Dropped, Ending};

/// The counts of a network requester, as a part of the page.
#[derive(Debug)]
pub(super) struct ExitPage(pub(super) Arc<Counts>);

impl Collector for ExitPage {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut writer, counts) = (Writer(encoder), &*self.0);
        let ended = Ending::ALL.iter().map(|why| ([("reason", why.name())], counts.ended(*why)));
        let help = "Connections to servers that ended, or did not come about, by reason.";
        writer.counts("exit_connections_ended", help, ended)?;
        let reasons = Dropped::ALL.iter();
        let dropped = reasons.map(|why| ([("reason", why.name())], counts.dropped(*why)));
        let help = "Messages of clients that the network requester dropped, by reason.";
        writer.counts("exit_dropped", help, dropped)?;
        let grows: [(&str, &str, &Gauge); 4] = [
            ("exit_connections_asked", "Connections that clients asked for.", &counts.asked),
            ("exit_uploaded_bytes", "Bytes that servers took.", &counts.uploaded),
            ("exit_downloaded_bytes", "Bytes that servers sent.", &counts.downloaded),
            ("exit_questions", "Questions about the exit that were answered.", &counts.answered),
        ];
        for (name, help, value) in grows {
            writer.count(name, help, value.get())?;
        }
        let help = "Connections to servers that there are.";
        writer.number("exit_connections", help, Some(counts.connections.get()))
    }
}
