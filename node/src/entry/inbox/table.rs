//! The inbox's tables, and what is done with them. All of it runs within a transaction of
//! [`Database`](super::super::database::Database).

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::Quotas;
use crate::entry::counts::Refusal;
use crate::entry::delivery::{Acknowledgement, ClientId, Message, Stored};

/// Messages that a session gets at a time.
const QUERIED_TOGETHER: i64 = 100;
/// Messages that are removed for their age in one transaction.
pub(super) const CLEANED_TOGETHER: usize = 1_000;
/// What a message counts beyond its bytes: about what its row and index entries take. The triggers
/// have the same number.
const OVERHEAD: u64 = 128;

/// The tables. How much each client and all of them have is kept by triggers, so that it is right
/// whichever way a message comes or goes. Numbers are never used twice: a session that has seen
/// one asks for those after it.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS inbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        client BLOB NOT NULL REFERENCES clients ON DELETE CASCADE,
        stored INTEGER NOT NULL,
        bytes BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS inbox_client ON inbox (client, number);
    CREATE INDEX IF NOT EXISTS inbox_stored ON inbox (stored);
    CREATE TABLE IF NOT EXISTS inbox_size (
        client BLOB NOT NULL PRIMARY KEY,
        bytes INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS inbox_total (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        bytes INTEGER NOT NULL
    );
    INSERT OR IGNORE INTO inbox_total VALUES (1, 0);
    CREATE TRIGGER IF NOT EXISTS inbox_comes AFTER INSERT ON inbox BEGIN
        INSERT INTO inbox_size VALUES (new.client, length(new.bytes) + 128)
            ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
        UPDATE inbox_total SET bytes = bytes + length(new.bytes) + 128;
    END;
    CREATE TRIGGER IF NOT EXISTS inbox_goes AFTER DELETE ON inbox BEGIN
        UPDATE inbox_size SET bytes = bytes - length(old.bytes) - 128 WHERE client = old.client;
        DELETE FROM inbox_size WHERE client = old.client AND bytes <= 0;
        UPDATE inbox_total SET bytes = bytes - length(old.bytes) - 128;
    END;";

/// What became of messages that were to be kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// To be sent now.
    pub(super) acknowledgements: Vec<Acknowledgement>,
    /// How many messages were kept.
    pub(super) stored: u64,
    /// How many were not.
    pub(super) refused: Vec<(Refusal, u64)>,
}

/// Stores messages, of each client as many as it may have.
pub(super) fn keep(
    database: &Connection,
    messages: BTreeMap<ClientId, Vec<Message>>,
    quotas: Quotas,
    now: u64,
) -> rusqlite::Result<Kept> {
    let mut kept = Kept::default();
    let mut known = database.prepare_cached("SELECT 1 FROM clients WHERE identity = ?1")?;
    let mut size = database.prepare_cached("SELECT bytes FROM inbox_size WHERE client = ?1")?;
    let mut insert =
        database.prepare_cached("INSERT INTO inbox (client, stored, bytes) VALUES (?1, ?2, ?3)")?;
    let mut total = total(database)?;
    for (client, messages) in messages {
        if !known.exists([client])? {
            kept.refused.push((Refusal::Recipient, messages.len() as u64));
            continue;
        }
        let mut own = bytes(size.query_row([client], |row| row.get(0)).optional()?.unwrap_or(0));
        let (mut over_own, mut over_total) = (0, 0);
        for Message { bytes, acknowledgement } in messages {
            let cost = bytes.len() as u64 + OVERHEAD;
            if own + cost > quotas.client {
                over_own += 1;
            } else if total + cost > quotas.total {
                over_total += 1;
            } else {
                insert.execute(params![client, now.cast_signed(), &*bytes])?;
                (own, total, kept.stored) = (own + cost, total + cost, kept.stored + 1);
                kept.acknowledgements.extend(acknowledgement);
            }
        }
        let refused = [(Refusal::InboxClient, over_own), (Refusal::InboxTotal, over_total)];
        kept.refused.extend(refused.into_iter().filter(|&(_, count)| count > 0));
    }
    Ok(kept)
}

/// The oldest messages of a client after one.
pub(super) fn waiting(
    database: &Connection,
    client: &ClientId,
    after: i64,
) -> rusqlite::Result<Vec<Stored>> {
    let mut find = database.prepare_cached(
        "SELECT number, bytes FROM inbox WHERE client = ?1 AND number > ?2
         ORDER BY number LIMIT ?3",
    )?;
    let rows = find.query_map(params![client, after, QUERIED_TOGETHER], |row| {
        Ok(Stored { number: row.get(0)?, bytes: row.get(1)? })
    })?;
    rows.collect()
}

/// Removes a client's messages up to one; says how many.
pub(super) fn taken(
    database: &Connection,
    client: &ClientId,
    last: i64,
) -> rusqlite::Result<usize> {
    let mut remove =
        database.prepare_cached("DELETE FROM inbox WHERE client = ?1 AND number <= ?2")?;
    remove.execute(params![client, last])
}

/// Removes messages that were stored before a time, a limited number; says how many.
pub(super) fn clean(database: &Connection, before: u64) -> rusqlite::Result<usize> {
    let mut remove = database.prepare_cached(
        "DELETE FROM inbox WHERE number IN (SELECT number FROM inbox WHERE stored < ?1 LIMIT ?2)",
    )?;
    remove.execute(params![before.cast_signed(), CLEANED_TOGETHER as i64])
}

/// Bytes of all messages, as quotas count them.
pub(super) fn total(database: &Connection) -> rusqlite::Result<u64> {
    let mut total = database.prepare_cached("SELECT bytes FROM inbox_total")?;
    total.query_row([], |row| row.get(0)).map(bytes)
}

/// A sum of lengths as the database has it.
const fn bytes(sum: i64) -> u64 {
    if sum < 0 { 0 } else { sum.unsigned_abs() }
}
