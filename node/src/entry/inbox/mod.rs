//! The inbox: messages for clients that are not connected, or whose connection is behind.
//!
//! They lie in the table `inbox` of the entry's database. A message is acknowledged to its sender
//! only after the transaction that stored it was committed, so that what was acknowledged outlives
//! the process. It is removed when its client has confirmed it, when it is [`AGE_MAX`] old, or with
//! its client. Each client may have so many bytes there, and all of them together so
//! many; beyond that, and for those who are not registered, messages are dropped, counted, and not
//! acknowledged.

mod acknowledging;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use phix_io::Injector;
use rusqlite::Connection;

use self::table::{CLEANED_TOGETHER, Kept};
use super::counts::{Counts, Refusal};
use super::database::Database;
use super::delivery::{ClientId, Inbox, Message, Stored};

pub(crate) use table::SCHEMA;

/// How long a message waits for its client.
pub const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What may lie in the inbox. A message counts as many bytes as it has, and 128 for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// For one client, bytes.
    pub client: u64,
    /// For all clients together, bytes.
    pub total: u64,
}

/// The way to the inbox, one of many.
#[derive(Clone, Debug)]
pub struct ClientInbox {
    database: Database,
    injector: Injector,
    quotas: Quotas,
    counts: Arc<Counts>,
}

impl ClientInbox {
    /// The inbox in `database`, which has its tables. Acknowledgements go out by `injector`.
    pub fn new(
        database: Database,
        injector: Injector,
        quotas: Quotas,
        counts: Arc<Counts>,
    ) -> Self {
        Self { database, injector, quotas, counts }
    }

    /// Keeps messages for their clients, all in one transaction, and acknowledges those that are
    /// kept once they are on the disk.
    pub async fn keep_all(&self, messages: BTreeMap<ClientId, Vec<Message>>) {
        let (quotas, now) = (self.quotas, now());
        let all = messages.values().map(Vec::len).sum::<usize>() as u64;
        let work = move |database: &Connection| table::keep(database, messages, quotas, now);
        // Where the disk is full, nothing of the batch is kept, and its senders send it again.
        let Ok(Kept { acknowledgements, stored, refused }) = self.database.run(work).await else {
            return self.counts.refuse_many(Refusal::InboxDisk, all);
        };
        self.counts.stored.add(stored);
        for (why, count) in refused {
            self.counts.refuse_many(why, count);
        }
        acknowledging::send_all(&self.injector, &self.counts, &acknowledgements).await;
    }

    /// Removes what is too old.
    pub async fn clean(&self) {
        self.clean_at(now()).await;
    }

    async fn clean_at(&self, now: u64) {
        let before = now.saturating_sub(AGE_MAX.as_secs());
        loop {
            let work = move |database: &Connection| table::clean(database, before);
            let Ok(removed) = self.database.run(work).await else {
                return self.counts.refuse(Refusal::Database);
            };
            self.counts.expired.add(removed as u64);
            if removed < CLEANED_TOGETHER {
                return;
            }
        }
    }
}

impl Inbox for ClientInbox {
    fn keep(&self, client: ClientId, messages: Vec<Message>) -> BoxFuture<'_, ()> {
        Box::pin(self.keep_all(BTreeMap::from([(client, messages)])))
    }

    fn waiting(&self, client: ClientId, after: i64) -> BoxFuture<'_, Vec<Stored>> {
        Box::pin(async move {
            let work = move |database: &Connection| table::waiting(database, &client, after);
            self.database.run(work).await.unwrap_or_else(|_| {
                self.counts.refuse(Refusal::Database);
                Vec::new()
            })
        })
    }

    fn taken(&self, client: ClientId, last: i64) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let work = move |database: &Connection| table::taken(database, &client, last);
            if self.database.run(work).await.is_err() {
                self.counts.refuse(Refusal::Database);
            }
        })
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
