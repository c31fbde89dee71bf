//! The database of an entry: one file, one connection, one thread that owns it.
//!
//! Whoever needs it hands over a piece of work and waits for the result, which comes when the work
//! is committed. All work that is waiting goes into one transaction, so that many clients at once
//! cost one write to the disk. The file is in WAL mode: what was committed outlives the process
//! whichever way it ends, and a loss of power, too.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::{Builder, JoinHandle};

use phix_client::files::words;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::fault::Fault;

/// Name of the file in the node's state directory.
pub const FILE: &str = "entry.sqlite";

/// Pieces of work that wait at a time.
const WAITING_MAX: usize = 4096;
/// Pieces of work in one transaction: nobody waits for more than these.
const TOGETHER_MAX: usize = 512;
/// What the file says it is, and in which version, so that no later one is taken for this.
const VERSION: i32 = 1;

/// Work that was done, to be told whether it was committed.
type Done = Box<dyn FnOnce(Result<(), DatabaseError>) + Send>;
type Work = Box<dyn FnOnce(&Connection) -> Done + Send>;

/// Why work was not done, or not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// The database refused it; the text says why.
    Failed(String),
    /// The database is closed.
    Closed,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => write!(f, "the database failed: {why}"),
            Self::Closed => f.write_str("the database is closed"),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A way to the database, one of many.
#[derive(Clone)]
pub struct Database(mpsc::Sender<Work>);

/// The thread that owns the connection. It ends when the last [`Database`] is gone, having done all
/// that was handed over.
pub struct DatabaseThread(JoinHandle<()>);

impl Database {
    /// Opens the file in `dir`, or makes it, with the tables that `schema` creates where they are
    /// not there yet.
    ///
    /// # Errors
    /// A sentence, if the file cannot be used.
    pub fn open(dir: &Path, schema: &[&str]) -> Result<(Self, DatabaseThread), Fault> {
        let path = dir.join(FILE);
        let connection = connect(&path, schema)?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let thread = Builder::new()
            .name("phix-entry-db".into())
            .spawn(move || serve(connection, receiver))
            .map_err(|error| {
                Fault::refused(format!(
                    "the entry cannot be served ({error}): see that the system allows this user \
                     more threads."
                ))
            })?;
        Ok((Self(sender), DatabaseThread(thread)))
    }

    /// Has `work` done; its result once it is committed. If `work` fails, nothing of it is kept.
    ///
    /// # Errors
    /// If it fails or cannot be committed.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (work, result) = wrapped(work);
        self.0.send(work).await.map_err(|_| DatabaseError::Closed)?;
        result.await.unwrap_or(Err(DatabaseError::Closed))
    }

    /// As [`Database::run`], for threads that may wait.
    ///
    /// # Errors
    /// As [`Database::run`].
    ///
    /// # Panics
    /// If it is called from within an asynchronous task.
    pub fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (work, result) = wrapped(work);
        self.0.blocking_send(work).map_err(|_| DatabaseError::Closed)?;
        result.blocking_recv().unwrap_or(Err(DatabaseError::Closed))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

impl DatabaseThread {
    /// Waits until all that was handed over is done and the file is closed. Every [`Database`] must
    /// be gone.
    pub fn join(self) {
        self.0.join().expect("the database's thread does not panic");
    }
}

impl fmt::Debug for DatabaseThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseThread")
    }
}

fn wrapped<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Work, oneshot::Receiver<Result<T, DatabaseError>>) {
    let (sender, receiver) = oneshot::channel();
    let work: Work = Box::new(move |connection| {
        let result = kept_whole(connection, work);
        Box::new(move |committed| {
            // Who waits no longer needs no answer.
            let _ = sender.send(result.and_then(|value| committed.map(|()| value)));
        })
    });
    (work, receiver)
}

/// Does `work` wholly or not at all, within the transaction.
fn kept_whole<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, DatabaseError> {
    connection.execute_batch("SAVEPOINT work")?;
    let result = work(connection);
    let end = if result.is_ok() { "RELEASE work" } else { "ROLLBACK TO work; RELEASE work" };
    connection.execute_batch(end)?;
    Ok(result?)
}

fn serve(mut connection: Connection, mut waiting: mpsc::Receiver<Work>) {
    let mut together = Vec::with_capacity(TOGETHER_MAX);
    while waiting.blocking_recv_many(&mut together, TOGETHER_MAX) > 0 {
        let mut done: Vec<Done> = Vec::with_capacity(together.len());
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let committed = begun.and_then(|transaction| {
            done.extend(together.drain(..).map(|work| work(&transaction)));
            transaction.commit()
        });
        // Work that could not even begin is dropped, which those who wait for it notice.
        together.clear();
        let committed = committed.map_err(DatabaseError::from);
        done.into_iter().for_each(|done| done(committed.clone()));
    }
}

fn connect(path: &Path, schema: &[&str]) -> Result<Connection, Fault> {
    let refused =
        |why: &str, remedy: &str| Fault::refused(format!("{} {why}: {remedy}.", path.display()));
    make(path).map_err(|error| {
        refused(
            &format!("cannot be opened ({})", words(&error)),
            "see that `state-dir` exists and belongs to the node's user",
        )
    })?;
    let mode = path.metadata().map_or(0, |found| found.mode() & 0o077);
    if mode != 0 {
        let remedy = format!("it has clients' keys; run `chmod 600 {}`", path.display());
        return Err(refused("can be read by others", &remedy));
    }
    let connection = set_up(path, schema).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            refused("is in use", "two nodes cannot share it; set another `state-dir` for one")
        }
        _ => refused(
            &format!("is not usable ({error})"),
            "restore it from a backup, or move it away and have all clients register anew",
        ),
    })?;
    let version: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap_or(-1);
    if version != VERSION {
        return Err(refused(
            "was written by another version of this program",
            "use that version, or set another `state-dir`",
        ));
    }
    Ok(connection)
}

/// Makes the file if there is none, for the owner's eyes only.
fn make(path: &Path) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn set_up(path: &Path, schema: &[&str]) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Keys and messages that are deleted are to be gone.
    connection.pragma_update(None, "secure_delete", true)?;
    let new: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for statements in schema {
        transaction.execute_batch(statements)?;
    }
    if new == 0 {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SCHEMA: &[&str] = &["CREATE TABLE IF NOT EXISTS t (x INTEGER PRIMARY KEY)"];

    fn count(database: &Database) -> i64 {
        let count = |it: &Connection| it.query_row("SELECT count(*) FROM t", [], |row| row.get(0));
        database.run_blocking(count).unwrap()
    }

    #[test]
    fn work_is_kept_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (database, thread) = Database::open(dir.path(), SCHEMA).unwrap();
        database.run_blocking(|it| it.execute("INSERT INTO t VALUES (1)", [])).unwrap();
        let refused = database.run_blocking(|it| {
            it.execute("INSERT INTO t VALUES (2)", [])?;
            it.execute("INSERT INTO t VALUES (1)", [])
        });
        assert!(matches!(refused, Err(DatabaseError::Failed(_))), "{refused:?}");
        assert_eq!(count(&database), 1, "neither of the two");
        drop(database);
        thread.join();
        let (database, _) = Database::open(dir.path(), SCHEMA).unwrap();
        assert_eq!(count(&database), 1, "it is there after a restart");
    }

    #[test]
    fn the_file_is_the_owners_and_this_nodes_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (database, thread) = Database::open(dir.path(), SCHEMA).unwrap();
        database.run_blocking(|it| it.execute("INSERT INTO t VALUES (1)", [])).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", file.path());
        }
        let fault = Database::open(dir.path(), SCHEMA).unwrap_err().to_string();
        assert!(fault.contains("two nodes cannot share it"), "{fault}");
        drop(database);
        thread.join();
        let path = dir.path().join(FILE);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let fault = Database::open(dir.path(), SCHEMA).unwrap_err().to_string();
        assert!(fault.contains("chmod 600"), "{fault}");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, "no database at all, but long enough for a header of one").unwrap();
        let fault = Database::open(dir.path(), SCHEMA).unwrap_err().to_string();
        assert!(fault.contains("is not usable"), "{fault}");
    }
}
