//! What an entry remembers of its clients: their keys, when they last opened a session, and their
//! bandwidth.

use std::sync::Arc;

use phix_proto::gateway::SharedKey;
use rusqlite::{Connection, OptionalExtension, params};
use zeroize::Zeroizing;

use super::account::{Balance, Credit};
use super::counts::Counts;
use super::database::{Database, DatabaseError};
use super::delivery::ClientId;
use super::limits::FORGOTTEN_AFTER;

/// The tables. Times are seconds since 1970, bandwidth is in bytes.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS clients (
        identity BLOB NOT NULL PRIMARY KEY CHECK (length(identity) = 32),
        key BLOB NOT NULL CHECK (length(key) = 32),
        -- The time in the last authentication that was accepted; earlier ones are refused.
        authenticated INTEGER NOT NULL,
        seen INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS clients_seen ON clients (seen);
    -- What earlier versions had for balances; it did not say when they expire, and they have.
    DROP TABLE IF EXISTS bandwidth;
    CREATE TABLE IF NOT EXISTS balances (
        identity BLOB NOT NULL PRIMARY KEY REFERENCES clients ON DELETE CASCADE,
        available INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) WITHOUT ROWID;";

/// A registered client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) key: SharedKey,
    /// The time in its last authentication.
    pub(crate) authenticated: u64,
}

/// Why a client was not registered.
#[derive(Debug)]
pub(crate) enum NotRegistered {
    /// There is no room for another.
    Full,
    Database(DatabaseError),
}

/// The registered clients.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    database: Database,
    counts: Arc<Counts>,
    clients_max: u64,
}

impl Clients {
    /// Those in `database`, counted in `counts`; at most so many.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) fn new(
        database: Database,
        counts: Arc<Counts>,
        clients_max: u64,
    ) -> Result<Self, DatabaseError> {
        counts.clients.set(database.run_blocking(count)?);
        Ok(Self { database, counts, clients_max })
    }

    /// Remembers `client` with its new key, from `now` on. If it is known, it keeps its bandwidth.
    pub(crate) async fn register(
        &self,
        client: ClientId,
        key: &SharedKey,
        now: u64,
    ) -> Result<(), NotRegistered> {
        let key = Zeroizing::new(*key.as_bytes());
        let full = self.counts.clients.get() >= self.clients_max;
        let work = move |database: &Connection| {
            let known = is_known(database, &client)?;
            let forgotten = if full && !known { forget_old(database, now)? } else { 0 };
            if full && !known && forgotten == 0 {
                return Ok(None);
            }
            database.execute(
                "INSERT INTO clients (identity, key, authenticated, seen) VALUES (?1, ?2, 0, ?3)
                 ON CONFLICT DO UPDATE SET key = excluded.key, seen = excluded.seen",
                params![client, key.as_slice(), seconds(now)],
            )?;
            Ok(Some((u64::from(!known), forgotten)))
        };
        match self.database.run(work).await {
            Ok(Some((added, forgotten))) => {
                self.counts.clients.add(added);
                self.counts.clients.sub(forgotten);
                Ok(())
            }
            Ok(None) => Err(NotRegistered::Full),
            Err(error) => Err(NotRegistered::Database(error)),
        }
    }

    /// What is known of `client`.
    pub(crate) async fn find(&self, client: ClientId) -> Result<Option<Client>, DatabaseError> {
        let work = move |database: &Connection| {
            let mut find = database
                .prepare_cached("SELECT key, authenticated FROM clients WHERE identity = ?1")?;
            let found = find.query_row([client], |row| {
                let key = SharedKey::from_bytes(row.get(0)?);
                Ok(Client { key, authenticated: row.get::<_, i64>(1)?.unsigned_abs() })
            });
            found.optional()
        };
        self.database.run(work).await
    }

    /// Takes note that `client` has authenticated itself with a request of the time `sent`. False
    /// if one of that time or later was there before.
    pub(crate) async fn authenticate(
        &self,
        client: ClientId,
        sent: u64,
        now: u64,
    ) -> Result<bool, DatabaseError> {
        let work = move |database: &Connection| {
            let mut note = database.prepare_cached(
                "UPDATE clients SET authenticated = ?2, seen = ?3
                 WHERE identity = ?1 AND authenticated < ?2",
            )?;
            Ok(note.execute(params![client, seconds(sent), seconds(now)])? == 1)
        };
        self.database.run(work).await
    }

    /// The bandwidth of `client`.
    pub(crate) async fn balance(&self, client: ClientId) -> Result<Balance, DatabaseError> {
        self.database.run(move |database| balance(database, &client)).await
    }

    /// Takes from the bandwidth of `client` what it has spent, bytes.
    pub(crate) async fn spend(&self, client: ClientId, spent: i64) -> Result<(), DatabaseError> {
        let work = move |database: &Connection| {
            let mut spend = database.prepare_cached(
                "UPDATE balances SET available = max(0, available - ?2) WHERE identity = ?1",
            )?;
            spend.execute(params![client, spent]).map(drop)
        };
        self.database.run(work).await
    }

    /// Adds to the bandwidth of `client`; what it has then.
    pub(crate) async fn credit(
        &self,
        client: ClientId,
        credit: Credit,
        now: u64,
    ) -> Result<Balance, DatabaseError> {
        let work = move |database: &Connection| {
            if !is_known(database, &client)? {
                return Ok(Balance::default());
            }
            let balance = balance(database, &client)?.with(credit, now);
            let mut set = database.prepare_cached("REPLACE INTO balances VALUES (?1, ?2, ?3)")?;
            set.execute(params![client, balance.available, seconds(balance.expires)])?;
            Ok(balance)
        };
        self.database.run(work).await
    }

    /// Forgets `client`.
    pub(crate) async fn forget(&self, client: ClientId) -> Result<(), DatabaseError> {
        let work = move |database: &Connection| {
            database.execute("DELETE FROM clients WHERE identity = ?1", [client])
        };
        let forgotten = self.database.run(work).await?;
        self.counts.clients.sub(forgotten as u64);
        Ok(())
    }
}

fn balance(database: &Connection, client: &ClientId) -> rusqlite::Result<Balance> {
    let mut find =
        database.prepare_cached("SELECT available, expires FROM balances WHERE identity = ?1")?;
    let found = find.query_row([client], |row| {
        let expires = row.get::<_, i64>(1)?.unsigned_abs();
        Ok(Balance { available: row.get(0)?, expires })
    });
    Ok(found.optional()?.unwrap_or_default())
}

fn is_known(database: &Connection, client: &ClientId) -> rusqlite::Result<bool> {
    let known = "SELECT 1 FROM clients WHERE identity = ?1";
    Ok(database.query_row(known, [client], |_| Ok(())).optional()?.is_some())
}

/// Forgets whom nobody has seen for long; how many these were.
fn forget_old(database: &Connection, now: u64) -> rusqlite::Result<u64> {
    let before = seconds(now.saturating_sub(FORGOTTEN_AFTER.as_secs()));
    let forgotten = database.execute("DELETE FROM clients WHERE seen < ?1", [before])?;
    Ok(forgotten as u64)
}

fn count(database: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = database.query_row("SELECT count(*) FROM clients", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// SQLite's integers have a sign.
fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
