//! Replay memory that survives: which packets a node has seen, on disk before a second has passed.
//!
//! A shard puts the marks of the packets that it accepts into a ring of its own (`ring`). One
//! thread empties the rings four times a second (`saver`) and appends a block to the journal of
//! each key (`journal`, `format`). A node that starts reads the journals back (`load`). Nothing on
//! the way of a packet waits for the disk: if the disk does not keep up, marks are counted as not
//! saved.
//!
//! The filters' memory can be mapped by another process, so that a new program takes it over from a
//! running one (`legacy`).
//!
//! A journal grows to eight bytes for each packet that the filter is made for, and ends with its
//! key. Where packets are few its blocks are small and their heads take more than that, until it
//! is taken up again (`merge`).

mod format;
mod journal;
mod legacy;
mod load;
mod merge;
mod ring;
mod saver;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use phix_client::files::words;
use phix_engine::replay::{Mark, ReplayFilter};
use phix_engine::secret::NodeSecret;
use phix_engine::shard::{Delivery, Sink, Undelivered};
use phix_io::Memory;

use self::format::{HEAD, HeadFault, JournalKeys, MARK};
use self::journal::Journal;
use self::legacy::Shares;
use self::load::LoadFault;
use self::saver::Saver;
use crate::fault::Fault;
use crate::machine::readable;

pub use self::format::KeyId;
pub use self::journal::Written;
pub use self::legacy::{Legacy, SharedFilter};

/// Marks that one shard can have on their way to the disk: more than two seconds of 100,000
/// packets each.
const RING: usize = 1 << 18;
/// How often a long load says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A shard's sink at a mix node: no message ends here, and what passes is remembered.
#[derive(Debug)]
pub struct Remembering(Option<ring::Writer>);

impl Sink for Remembering {
    fn deliver(&mut self, _delivery: Delivery<'_>) -> Result<(), Undelivered> {
        Err(Undelivered::Malformed)
    }

    fn remember(&mut self, filter: &ReplayFilter, marks: &[Mark]) -> bool {
        self.0.as_mut().is_none_or(|ring| ring.put(filter.number(), marks))
    }
}

/// The replay memory of a node: filters, and on disk what is in them.
pub struct Store {
    /// Nothing if the memory is not to survive.
    disk: Option<Disk>,
    shares: Shares,
    say: fn(String),
}

struct Disk {
    dir: PathBuf,
    /// Held for as long as the directory is in use.
    lock: Lock,
    saver: Saver,
}

/// A locked file, unlocked when it is dropped: closing it is not enough where a process that is
/// just being started has a copy of the descriptor. One that was given to another process, or is
/// not this one's yet, is left alone.
struct Lock {
    file: File,
    given: AtomicBool,
}

impl Lock {
    const fn of(file: File, given: bool) -> Self {
        Self { file, given: AtomicBool::new(given) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A lock that cannot be given back goes with the last copy of its descriptor.
        if !self.given.load(Ordering::Relaxed) {
            let _ = self.file.unlock();
        }
    }
}

impl Store {
    /// The memory in `dir`, which is made where it is missing; without one, memory that ends with
    /// the process. `say` prints a line for the operator.
    ///
    /// # Errors
    /// If the directory cannot be used, or another node uses it.
    pub fn open(dir: Option<&Path>, say: fn(String)) -> Result<Self, Fault> {
        let shares = Shares::default();
        let Some(dir) = dir else { return Ok(Self { disk: None, shares, say }) };
        let cannot = |error: io::Error| unusable(dir, &error);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(cannot)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock.open(dir.join("lock")).map_err(cannot)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Fault::refused(format!(
                "another node uses the directory {}: stop it, or set --state-dir to another.",
                dir.display(),
            )),
            TryLockError::Error(error) => cannot(error),
        })?;
        let saver = Saver::start(say).map_err(cannot)?;
        let disk = Disk { dir: dir.to_owned(), lock: Lock::of(lock, false), saver };
        Ok(Self { disk: Some(disk), shares, say })
    }

    /// A sink for one more shard.
    pub fn sink(&self) -> Remembering {
        Remembering(self.disk.as_ref().map(|disk| {
            let (writer, reader) = ring::ring(RING);
            disk.saver.watch(reader);
            writer
        }))
    }

    /// The filter for the packets of one key, with what is on disk of it, for `capacity` packets.
    /// `number` is that of the key's rotation.
    ///
    /// # Errors
    /// If memory or disk are too small for it, or what is on disk cannot be used.
    pub fn filter(
        &self,
        number: u32,
        secret: &NodeSecret,
        capacity: usize,
    ) -> Result<ReplayFilter, Fault> {
        let keys = match self.inherited(number, JournalKeys::of(secret), capacity)? {
            Ok(filter) => return Ok(filter),
            Err(keys) => keys,
        };
        let memory = |keys: &JournalKeys| {
            let bytes = ReplayFilter::bytes_for(capacity);
            let memory = Memory::shared(bytes)
                .and_then(|memory| memory.populate().map(|()| memory))
                .map_err(|error| Fault::refused(format!("{error}: lower replay-capacity.")))?;
            self.shares.note(number, keys, &memory)?;
            Ok(Box::new(memory))
        };
        let Some(disk) = &self.disk else {
            return Ok(ReplayFilter::over(memory(&keys)?, *keys.filter, number));
        };
        let path = journal_path(&disk.dir, number);
        room(&disk.dir, path.metadata().map_or(0, |metadata| metadata.len()), capacity)?;
        let filter = ReplayFilter::over(memory(&keys)?, *keys.filter, number);
        let journal = if path.symlink_metadata().is_ok() {
            self.load(&path, keys, &filter)?
        } else {
            Journal::create(&path, number, keys).map_err(|error| unusable(&disk.dir, &error))?
        };
        disk.saver.add(number, journal);
        Ok(filter)
    }

    fn load(
        &self,
        path: &Path,
        keys: JournalKeys,
        filter: &ReplayFilter,
    ) -> Result<Journal, Fault> {
        let refuse = |fault| refusal(path, filter, &fault);
        let found = load::find(path, filter.number(), keys).map_err(refuse)?;
        let (total, mut next) = (found.marks, Instant::now() + PROGRESS_EVERY);
        let loaded = found.load(filter, &mut |done| {
            if Instant::now() >= next {
                next = Instant::now() + PROGRESS_EVERY;
                (self.say)(format!("remembering packets: {done} of {total}"));
            }
        });
        let loaded = loaded.map_err(refuse)?;
        let mut text = format!("{} packets of before are remembered", loaded.marks);
        if loaded.cut > 0 {
            text += &format!("; an unfinished write of {} bytes was cut off", loaded.cut);
        }
        if let Some(error) = loaded.unmerged {
            text += &format!("; what is on disk stays larger than it need be ({})", words(&error));
        }
        (self.say)(text);
        Ok(loaded.journal)
    }

    /// Forgets what was seen under the key with this number, in memory once the filter goes, and on
    /// disk. The key must be gone before.
    ///
    /// # Errors
    /// If the journal cannot be removed.
    pub fn forget(&self, number: u32) -> Result<(), Fault> {
        self.shares.forget(number);
        let Some(disk) = &self.disk else { return Ok(()) };
        drop(disk.saver.remove(number));
        let path = journal_path(&disk.dir, number);
        match fs::remove_file(&path).and_then(|()| journal::sync_dir(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unusable(&disk.dir, &error))
            }
            _ => Ok(()),
        }
    }

    /// Packets that are on disk of the key with this number, at most.
    pub fn saved(&self, number: u32) -> usize {
        let path = self.disk.as_ref().map(|disk| journal_path(&disk.dir, number));
        let bytes = path.and_then(|path| path.metadata().ok()).map_or(0, |found| found.len());
        bytes as usize / MARK
    }

    /// The numbers of the keys of which there is something on disk.
    pub fn numbers(&self) -> Vec<u32> {
        let dir = self.disk.as_ref().and_then(|disk| fs::read_dir(&disk.dir).ok());
        let number = |entry: io::Result<fs::DirEntry>| {
            let name = entry.ok()?.file_name();
            name.to_str()?.strip_prefix("replay-")?.strip_suffix(".journal")?.parse().ok()
        };
        dir.into_iter().flatten().filter_map(number).collect()
    }

    /// Saves nothing more of what passes under the key with this number; what is saved stays.
    pub fn pause(&self, number: u32) {
        self.shares.forget(number);
        if let Some(disk) = &self.disk {
            drop(disk.saver.remove(number));
        }
    }

    /// Writes what there is; the shards must have ended. Says how many packets could not be saved.
    pub fn close(&self) -> usize {
        self.disk.as_ref().map_or(0, |disk| disk.saver.finish())
    }
}

/// Whether the disk that `dir` is on, or will be on, has room for `packets`, with those that it has
/// already.
///
/// # Errors
/// A sentence if it has not.
pub fn disk(dir: &Path, packets: usize) -> Result<String, Fault> {
    let there = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("."));
    let journal = |entry: io::Result<fs::DirEntry>| entry.ok()?.metadata().ok();
    let has = fs::read_dir(dir).into_iter().flatten().filter_map(journal);
    let needed = room(there, has.map(|metadata| metadata.len()).sum(), packets)?;
    Ok(format!("disk          up to {} in {}", readable(needed), dir.display()))
}

/// The bytes that `capacity` packets take on the disk of `dir`, which has `has` of them already.
fn room(dir: &Path, has: u64, capacity: usize) -> Result<u64, Fault> {
    let needed = (HEAD as u64).saturating_add((capacity as u64).saturating_mul(MARK as u64));
    let system = rustix::fs::statvfs(dir).map_err(|error| unusable(dir, &error.into()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize).saturating_add(has);
    if free < needed {
        return Err(Fault::refused(format!(
            "remembering {capacity} packets takes up to {} on the disk of {}, which has {}: lower \
             replay-capacity, or set --state-dir to a larger disk.",
            readable(needed),
            dir.display(),
            readable(free),
        )));
    }
    Ok(needed)
}

fn journal_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("replay-{number}.journal"))
}

fn unusable(dir: &Path, error: &io::Error) -> Fault {
    Fault::refused(format!(
        "the directory {} cannot be used ({}): see that it belongs to the node's user, or set \
         --state-dir to another.",
        dir.display(),
        words(error),
    ))
}

fn refusal(path: &Path, filter: &ReplayFilter, fault: &LoadFault) -> Fault {
    let forget = "move it away to start without what it remembers, so that packets of before could \
                  pass once more";
    let text = match fault {
        LoadFault::Head(HeadFault::NoJournal) => format!("is no replay journal: {forget}"),
        LoadFault::Head(HeadFault::Version) => {
            format!("was written by another version of this program: use that one, or {forget}")
        }
        LoadFault::Head(HeadFault::OtherKey) => format!(
            "belongs to another Sphinx key: put that key back, or, if the key was changed on \
             purpose, {forget}"
        ),
        LoadFault::Head(HeadFault::Damaged) => format!("is damaged at its head: {forget}"),
        LoadFault::Block(at) => format!("is damaged at byte {at}: {forget}"),
        LoadFault::Room(homeless) => format!(
            "remembers more packets than a replay-capacity of {} has room for, by at least \
             {homeless}: raise it",
            filter.capacity(),
        ),
        LoadFault::Io(error) => format!("cannot be read ({}): {forget}", words(error)),
    };
    Fault::refused(format!("{} {text}.", path.display()))
}
