//! One journal, open for writing: each write is one block, and the next one comes after the disk
//! has it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phix_engine::replay::Mark;

use super::format::{BLOCK_MARKS, HEAD, JournalKeys};

/// A file to which the marks of one filter are appended.
///
/// Invariant: the first `len` bytes are head and whole blocks, and the disk has them. What may be
/// behind them was not acknowledged, and is written again or cut.
pub(super) struct Journal {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) keys: JournalKeys,
    pub(super) len: u64,
    pub(super) sequence: u64,
    pub(super) buffer: Vec<u8>,
}

impl Journal {
    /// A new one, empty. It has its name only once its head is on the disk.
    pub(super) fn create(path: &Path, number: u32, keys: JournalKeys) -> io::Result<Self> {
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&new)?;
        file.write_all_at(&keys.head(number), 0)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_dir(path)?;
        let path = path.to_owned();
        Ok(Self { file, path, keys, len: HEAD as u64, sequence: 0, buffer: Vec::new() })
    }

    /// One that another process has written so far, all of which the disk has.
    pub(super) fn resume(at: Written, path: &Path, keys: JournalKeys) -> Self {
        let Written { file, len, sequence, .. } = at;
        Self { file, path: path.to_owned(), keys, len, sequence, buffer: Vec::new() }
    }

    /// What another process needs to go on writing.
    pub(super) fn written(&self, number: u32) -> io::Result<Written> {
        let file = self.file.try_clone()?;
        Ok(Written { number, file, len: self.len, sequence: self.sequence })
    }

    /// Appends `marks`; when it returns, the disk has them. Where it fails, the same marks must be
    /// given again: some of them may be there.
    pub(super) fn append(&mut self, marks: &[Mark]) -> io::Result<()> {
        debug_assert!(marks.len() <= BLOCK_MARKS, "a block has a bound");
        self.keys.block(self.sequence, marks, &mut self.buffer);
        self.file.write_all_at(&self.buffer, self.len)?;
        self.file.sync_data()?;
        self.len += self.buffer.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A journal as one process leaves it to another.
#[derive(Debug)]
pub struct Written {
    /// That of its filter.
    pub number: u32,
    /// The open file.
    pub file: File,
    /// Bytes that count.
    pub len: u64,
    /// The number of the next block.
    pub sequence: u64,
}

/// Waits until the disk has the names in the directory of `path`.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
