//! The replay memory as it passes from a running node to the one that takes its place: the memory
//! of the filters, the lock of the directory and, once the old node accepts nothing more, the
//! journals.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use phix_client::files::words;
use phix_engine::replay::ReplayFilter;
use phix_io::Memory;

use super::format::{JournalKeys, KeyId};
use super::journal::{Journal, Written};
use super::saver::Saver;
use super::{Disk, Lock, Store, journal_path, unusable};
use crate::fault::Fault;

/// The memory of one filter.
#[derive(Debug)]
pub struct SharedFilter {
    /// The number of its key's rotation.
    pub number: u32,
    /// Names the key under which it was filled.
    pub key: KeyId,
    /// The memory; see [`Memory::from_fd`].
    pub memory: OwnedFd,
}

/// What a node that takes over has of the one before it, when it begins.
#[derive(Debug, Default)]
pub struct Legacy {
    /// The lock of the state directory, where there is one.
    pub lock: Option<OwnedFd>,
    /// The memory of its filters.
    pub filters: Vec<SharedFilter>,
}

/// The memory of the filters that there are, and of those that a node before this one had.
#[derive(Default)]
pub(super) struct Shares {
    own: Mutex<BTreeMap<u32, (KeyId, OwnedFd)>>,
    inherited: Mutex<BTreeMap<u32, (KeyId, OwnedFd)>>,
    /// The keys of filters whose journals the node before this one still has.
    awaiting: Mutex<BTreeMap<u32, JournalKeys>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shares {
    fn of(filters: Vec<SharedFilter>) -> Self {
        let filters = filters.into_iter();
        let inherited = filters.map(|filter| (filter.number, (filter.key, filter.memory)));
        Self { inherited: Mutex::new(inherited.collect()), ..Self::default() }
    }

    /// Takes note of a filter's memory, so that it can be handed on: a node that took over without
    /// it would read the journal while this one still writes it.
    ///
    /// # Errors
    /// If there is no second descriptor of it to be had.
    pub(super) fn note(
        &self,
        number: u32,
        keys: &JournalKeys,
        memory: &Memory,
    ) -> Result<(), Fault> {
        let fd = memory.as_fd().expect("a filter's memory is shared").try_clone_to_owned();
        let fd = fd.map_err(|error| {
            Fault::refused(format!(
                "there is no descriptor for the memory of packets seen ({}): raise the limit of \
                 open files.",
                words(&error),
            ))
        })?;
        lock(&self.own).insert(number, (keys.id(), fd));
        Ok(())
    }

    /// The filter with this number has ended.
    pub(super) fn forget(&self, number: u32) {
        lock(&self.own).remove(&number);
        lock(&self.inherited).remove(&number);
        lock(&self.awaiting).remove(&number);
    }

    /// The memory that the node before this one had for the key, if it is the same key.
    pub(super) fn inherited(
        &self,
        number: u32,
        keys: &JournalKeys,
    ) -> Result<Option<Memory>, Fault> {
        let Some((key, memory)) = lock(&self.inherited).remove(&number) else { return Ok(None) };
        if key != keys.id() {
            return Err(Fault::refused(format!(
                "the running node has another Sphinx key with the number {number}: put that key \
                 back, or stop the node and start it again."
            )));
        }
        let memory =
            Memory::from_fd(memory).and_then(|memory| memory.populate().map(|()| memory)).map_err(
                |error| Fault::refused(format!("{error}: stop the node and start it again.")),
            )?;
        Ok(Some(memory))
    }

    pub(super) fn await_journal(&self, number: u32, keys: JournalKeys) {
        lock(&self.awaiting).insert(number, keys);
    }
}

impl Store {
    /// The memory in `dir`, of a node that is to take the place of a running one.
    ///
    /// # Errors
    /// If the running node has another directory, or this one cannot be used.
    pub fn inherit(dir: Option<&Path>, legacy: Legacy, say: fn(String)) -> Result<Self, Fault> {
        let Legacy { lock, filters } = legacy;
        let other = || {
            Fault::refused(
                "the running node has another state-dir, which an upgrade cannot change: set it as \
                 it was, or stop the node and start it again.",
            )
        };
        let disk = match (dir, lock) {
            (None, None) => None,
            (Some(dir), Some(lock)) => {
                let cannot = |error| unusable(dir, &error);
                let lock = File::from(lock);
                let there = File::open(dir.join("lock")).map_err(|_| other())?;
                if !same(&lock, &there).map_err(cannot)? {
                    return Err(other());
                }
                let saver = Saver::start(say).map_err(cannot)?;
                Some(Disk { dir: dir.to_owned(), lock: Lock::of(lock, true), saver })
            }
            (None, Some(_)) | (Some(_), None) => return Err(other()),
        };
        Ok(Self { disk, shares: Shares::of(filters), say })
    }

    /// What a node that is to take this one's place begins with.
    ///
    /// # Errors
    /// If there are no descriptors to be had.
    pub fn legacy(&self) -> std::io::Result<Legacy> {
        let lock_of = |disk: &Disk| disk.lock.file.try_clone().map(OwnedFd::from);
        let filter = |(&number, (key, memory)): (&u32, &(KeyId, OwnedFd))| {
            let memory = memory.try_clone()?;
            Ok(SharedFilter { number, key: *key, memory })
        };
        Ok(Legacy {
            lock: self.disk.as_ref().map(lock_of).transpose()?,
            filters: lock(&self.shares.own).iter().map(filter).collect::<std::io::Result<_>>()?,
        })
    }

    /// Writes what there is, and gives journals and lock away: this node writes nothing more. All
    /// packets that it accepts must have been accepted.
    ///
    /// # Errors
    /// If there are no descriptors to be had. Everything is as it was then.
    pub fn release(&self) -> std::io::Result<Vec<Written>> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let (journals, unsaved) = disk.saver.release();
        let written = journals.iter().map(|(number, journal)| journal.written(*number));
        let written: std::io::Result<Vec<Written>> = written.collect();
        match written {
            Ok(written) => {
                if unsaved > 0 {
                    (self.say)(format!(
                        "{unsaved} packets could not be saved and would pass again after a restart."
                    ));
                }
                let mut awaiting = lock(&self.shares.awaiting);
                awaiting.extend(journals.into_iter().map(|(number, one)| (number, one.keys)));
                disk.lock.given.store(true, Ordering::Relaxed);
                Ok(written)
            }
            Err(error) => {
                journals.into_iter().for_each(|(number, one)| disk.saver.add(number, one));
                Err(error)
            }
        }
    }

    /// Goes on writing journals, which another process gave away or this one did.
    pub fn adopt(&self, journals: Vec<Written>) {
        let Some(disk) = &self.disk else { return };
        disk.lock.given.store(false, Ordering::Relaxed);
        for written in journals {
            let number = written.number;
            // A key that this node does not serve has no use for its journal.
            if let Some(keys) = lock(&self.shares.awaiting).remove(&number) {
                let path = journal_path(&disk.dir, number);
                disk.saver.add(number, Journal::resume(written, &path, keys));
            }
        }
    }

    /// The filter over memory that the node before this one had, if it had the same key.
    pub(super) fn inherited(
        &self,
        number: u32,
        keys: JournalKeys,
        capacity: usize,
    ) -> Result<Result<ReplayFilter, JournalKeys>, Fault> {
        let Some(memory) = self.shares.inherited(number, &keys)? else { return Ok(Err(keys)) };
        if memory.len() < ReplayFilter::bytes_for(capacity) {
            let text = "the memory of packets seen is that of the node before, which is smaller \
                        than replay-capacity: it grows when the key changes, or after a stop.";
            (self.say)(text.into());
        }
        self.shares.note(number, &keys, &memory)?;
        let filter = ReplayFilter::over(Box::new(memory), *keys.filter, number);
        if self.disk.is_some() {
            self.shares.await_journal(number, keys);
        }
        Ok(Ok(filter))
    }
}

/// Whether both are one file.
fn same(one: &File, other: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}
