//! What a directory must still know after a restart, in SQLite: nodes and their numbers, what
//! probes came to, and the sets that were drawn.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phix_client::files::words;
use phix_proto::directory::NodeId;
use phix_proto::directory::epoch::RewardedSet;
use phix_proto::directory::registration::SignedDescription;
use rusqlite::{Connection, OptionalExtension, params};

use super::window::{ROUNDS, Round};
use crate::fault::Fault;

const FILE: &str = "directory.sqlite";
/// The version of the tables below.
const VERSION: i64 = 1;
/// Nodes that are forgotten whose numbers are still known: identities cost nothing, and whoever
/// makes one after the other is not to fill the disk.
pub const FORGOTTEN_MAX: u32 = 1_000;
/// Sets that are kept, of the last epochs.
const EPOCHS_KEPT: u32 = 100;
/// How long to wait for another program that looks into the file.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
    CREATE TABLE nodes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        identity BLOB NOT NULL UNIQUE,
        description TEXT
    ) STRICT;
    CREATE TABLE rounds (
        node INTEGER NOT NULL,
        number INTEGER NOT NULL,
        sent INTEGER NOT NULL,
        delivered INTEGER NOT NULL,
        entry INTEGER,
        PRIMARY KEY (node, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE epochs (
        id INTEGER PRIMARY KEY,
        rewarded_set TEXT NOT NULL
    ) STRICT;
    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT;
";

/// A node as it is written down.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub id: NodeId,
    /// What it said last.
    pub signed: SignedDescription,
    /// Its last rounds, oldest first.
    pub rounds: Vec<Round>,
}

/// The open file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    next_round: i64,
}

impl Store {
    /// Opens the file in `dir`, or makes it.
    ///
    /// # Errors
    /// If it cannot be made, or is of another version, or not a database.
    pub fn open(dir: &Path) -> Result<Self, Fault> {
        let path = dir.join(FILE);
        let cannot = |what: String| {
            Fault::refused(format!(
                "the directory's file {} cannot be used ({what}): set --state-dir to a directory \
                 that the node may write to, or move the file away.",
                path.display(),
            ))
        };
        fs::create_dir_all(dir).map_err(|error| cannot(words(&error)))?;
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| cannot(words(&error)))?;
        let mut connection = Connection::open(&path).map_err(|error| cannot(error.to_string()))?;
        let next_round = prepare(&mut connection).map_err(cannot)?;
        Ok(Self { connection, path, next_round })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All nodes that are described.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn nodes(&self) -> rusqlite::Result<Vec<Row>> {
        let mut nodes = self
            .connection
            .prepare("SELECT id, description FROM nodes WHERE description IS NOT NULL")?;
        let mut rounds = self.connection.prepare(
            "SELECT sent, delivered, entry FROM rounds WHERE node = ?1 ORDER BY number DESC \
             LIMIT ?2",
        )?;
        let mut rows = Vec::new();
        let texts = nodes.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
        for text in texts {
            let (id, text): (NodeId, String) = text?;
            // What another version of the program wrote is asked of the node again.
            let Ok(signed) = serde_json::from_str(&text) else { continue };
            let mut last: Vec<Round> = rounds
                .query_map(params![id, ROUNDS as i64], |row| {
                    Ok(Round { sent: row.get(0)?, delivered: row.get(1)?, entry: row.get(2)? })
                })?
                .collect::<Result<_, _>>()?;
            last.reverse();
            rows.push(Row { id, signed, rounds: last });
        }
        Ok(rows)
    }

    /// Writes down what a node says of itself; gives it its number, which no other will have.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn describe(&self, signed: &SignedDescription) -> rusqlite::Result<NodeId> {
        let text = serde_json::to_string(signed).expect("a description has a JSON form");
        let identity = signed.description.identity.0;
        // One statement for both would use up a number each time.
        let known = self.connection.query_row(
            "UPDATE nodes SET description = ?2 WHERE identity = ?1 RETURNING id",
            params![identity, text],
            |row| row.get(0),
        );
        if let Some(id) = known.optional()? {
            return Ok(id);
        }
        self.connection.query_row(
            "INSERT INTO nodes (identity, description) VALUES (?1, ?2) RETURNING id",
            params![identity, text],
            |row| row.get(0),
        )
    }

    /// Forgets what a node said and did. Its number stays its own, unless [`FORGOTTEN_MAX`] others
    /// are forgotten whose numbers are higher.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn forget(&mut self, node: NodeId) -> rusqlite::Result<()> {
        let all = self.connection.transaction()?;
        all.execute("UPDATE nodes SET description = NULL WHERE id = ?1", [node])?;
        all.execute("DELETE FROM rounds WHERE node = ?1", [node])?;
        all.execute(
            "DELETE FROM nodes WHERE description IS NULL AND id <= \
             (SELECT id FROM nodes WHERE description IS NULL ORDER BY id DESC LIMIT 1 OFFSET ?1)",
            [FORGOTTEN_MAX],
        )?;
        all.commit()
    }

    /// Writes down what a round of probes came to, all of it or nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn round(&mut self, results: &[(NodeId, Round)]) -> rusqlite::Result<()> {
        let number = self.next_round;
        let all = self.connection.transaction()?;
        {
            let mut insert = all.prepare(
                "INSERT OR REPLACE INTO rounds (node, number, sent, delivered, entry) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (node, Round { sent, delivered, entry }) in results {
                insert.execute(params![node, number, sent, delivered, entry])?;
            }
            all.execute("DELETE FROM rounds WHERE number <= ?1", [number - ROUNDS as i64])?;
        }
        all.commit()?;
        self.next_round += 1;
        Ok(())
    }

    /// Writes down the set of an epoch.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, set: &RewardedSet) -> rusqlite::Result<()> {
        let text = serde_json::to_string(set).expect("a set has a JSON form");
        self.connection.execute(
            "INSERT OR REPLACE INTO epochs (id, rewarded_set) VALUES (?1, ?2)",
            params![set.epoch_id, text],
        )?;
        let oldest = set.epoch_id.saturating_sub(EPOCHS_KEPT);
        self.connection.execute("DELETE FROM epochs WHERE id < ?1", [oldest])?;
        Ok(())
    }

    /// The set of an epoch, if it was drawn.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn set(&self, epoch: u32) -> rusqlite::Result<Option<RewardedSet>> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT rewarded_set FROM epochs WHERE id = ?1", [epoch], |row| row.get(0))
            .optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The number that stands under `name`; `value` from now on, if there was none.
    ///
    /// # Errors
    /// If it can neither be read nor written.
    pub fn fact(&self, name: &str, value: u32) -> rusqlite::Result<u32> {
        self.connection.execute(
            "INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            params![name, value],
        )?;
        self.connection
            .query_row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0))
    }
}

/// Brings the tables up to date; gives the number of the next round.
fn prepare(connection: &mut Connection) -> Result<i64, String> {
    let said = |error: rusqlite::Error| error.to_string();
    connection.busy_timeout(BUSY).map_err(said)?;
    // A write-ahead log survives the death of the process; a power cut may cost the last moments.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(said)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(said)?;
    let version: i64 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(said)?;
    match version {
        0 => {
            let all = connection.transaction().map_err(said)?;
            all.execute_batch(TABLES).map_err(said)?;
            all.pragma_update(None, "user_version", VERSION).map_err(said)?;
            all.commit().map_err(said)?;
        }
        VERSION => {}
        other => return Err(format!("it is of version {other}, and this program knows {VERSION}")),
    }
    // Files of earlier programs do not have it.
    let index = "CREATE INDEX IF NOT EXISTS forgotten ON nodes (id) WHERE description IS NULL";
    connection.execute(index, []).map_err(said)?;
    connection
        .query_row("SELECT COALESCE(MAX(number), 0) + 1 FROM rounds", [], |row| row.get(0))
        .map_err(said)
}
