//! Small blocks become large ones when a journal is taken up again.
//!
//! A node that sees few packets writes a block for each few of them, whose head takes more room
//! than they do. The journal is written anew beside the old one and takes its place only once the
//! disk has all of it; where that fails, the old one stays.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use phix_engine::replay::Mark;

use super::format::{BLOCK_HEAD, BLOCK_MARKS, BlockHead, HEAD, MARK};
use super::journal::{self, Journal};

/// Whether heads take so much that it is worth writing these blocks anew: a quarter of the marks.
pub(super) fn pays(blocks: &[(u64, BlockHead)]) -> bool {
    let marks: usize = blocks.iter().map(|(_, head)| head.count).sum();
    let spared = blocks.len().saturating_sub(marks.div_ceil(BLOCK_MARKS));
    spared * BLOCK_HEAD * 4 > marks * MARK
}

/// Writes the journal anew, with the marks of these blocks, which are all that it has.
///
/// # Errors
/// If the disk does not take it; the journal is as it was.
pub(super) fn merge(journal: &mut Journal, blocks: &[(u64, BlockHead)]) -> io::Result<()> {
    let new = journal.path.with_extension("new");
    let written = write(journal, blocks, &new).and_then(|written| {
        fs::rename(&new, &journal.path)?;
        Ok(written)
    });
    let (file, len, sequence) = written.inspect_err(|_| {
        // It may not have been made. The error to report is the first one.
        let _ = fs::remove_file(&new);
    })?;
    (journal.file, journal.len, journal.sequence) = (file, len, sequence);
    journal::sync_dir(&journal.path)
}

/// The new file, its length and the number of its next block.
fn write(
    journal: &Journal,
    blocks: &[(u64, BlockHead)],
    new: &Path,
) -> io::Result<(File, u64, u64)> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(new)?;
    let mut head = [0; HEAD];
    journal.file.read_exact_at(&mut head, 0)?;
    file.write_all_at(&head, 0)?;
    let (mut len, mut sequence, mut bytes) = (HEAD as u64, 0, Vec::new());
    let mut put = |marks: &[Mark]| -> io::Result<()> {
        journal.keys.block(sequence, marks, &mut bytes);
        file.write_all_at(&bytes, len)?;
        (len, sequence) = (len + bytes.len() as u64, sequence + 1);
        Ok(())
    };
    let (mut body, mut marks) = (Vec::new(), Vec::new());
    for (at, head) in blocks {
        body.resize(head.count * MARK, 0);
        journal.file.read_exact_at(&mut body, at + BLOCK_HEAD as u64)?;
        if !journal.keys.open_block(head, &body, &mut marks) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a block has changed"));
        }
        if marks.len() >= BLOCK_MARKS {
            put(&marks[..BLOCK_MARKS])?;
            marks.drain(..BLOCK_MARKS);
        }
    }
    if !marks.is_empty() {
        put(&marks)?;
    }
    file.sync_all()?;
    Ok((file, len, sequence))
}
