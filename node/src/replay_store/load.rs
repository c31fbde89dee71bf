//! Reading a journal back: whole blocks into the filter, a torn end cut off, damage refused.
//!
//! A block is written only once the disk has the one before it. If the machine stops in the middle
//! of a write, the last block is therefore the only one that can be broken. A broken block with a
//! whole one behind it is something else: the disk has lost what it had, and packets of before
//! would pass once more. That is for a person to decide.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use phix_engine::replay::{Mark, ReplayFilter};

use super::format::{BLOCK_HEAD, BlockHead, HEAD, HeadFault, JournalKeys, MARK};
use super::journal::Journal;
use super::merge;

/// Bytes that the search for a whole block looks at together.
const WINDOW: usize = 1 << 20;

/// Why a journal cannot be taken up again.
#[derive(Debug)]
pub(super) enum LoadFault {
    /// The head is not that of the journal looked for.
    Head(HeadFault),
    /// A block in the middle is broken; here it begins.
    Block(u64),
    /// The filter has no room for this many of the marks.
    Room(usize),
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for LoadFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A journal's blocks, found but not yet read.
pub(super) struct Found {
    journal: Journal,
    blocks: Vec<(u64, BlockHead)>,
    size: u64,
    /// Marks that it says it has.
    pub(super) marks: u64,
}

/// What came back.
pub(super) struct Loaded {
    /// The journal, ready to go on.
    pub(super) journal: Journal,
    /// Marks that were restored.
    pub(super) marks: u64,
    /// Bytes of a write that was not finished, now gone.
    pub(super) cut: u64,
    /// Why its small blocks could not be made into large ones, if that was so.
    pub(super) unmerged: Option<io::Error>,
}

/// Opens the journal with this number and finds its blocks.
///
/// # Errors
/// If it cannot be read or is not that journal.
pub(super) fn find(path: &Path, number: u32, keys: JournalKeys) -> Result<Found, LoadFault> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut head = [0; HEAD];
    match file.read_exact_at(&mut head, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(LoadFault::Head(HeadFault::Damaged));
        }
        other => other?,
    }
    keys.check_head(&head, number).map_err(LoadFault::Head)?;
    let mut blocks: Vec<(u64, BlockHead)> = Vec::new();
    let (mut at, mut marks) = (HEAD as u64, 0);
    while let Some(head) = block_head(&file, at, size)? {
        if head.sequence != blocks.len() as u64 {
            break;
        }
        blocks.push((at, head));
        at += head.len();
        marks += head.count as u64;
    }
    let path = path.to_owned();
    let journal = Journal { file, path, keys, len: at, sequence: 0, buffer: Vec::new() };
    Ok(Found { journal, blocks, size, marks })
}

impl Found {
    /// Puts all marks into `filter`, on all cores, and cuts off what a stop in the middle of a
    /// write has left. `progress` is told now and then how many of the marks are there.
    ///
    /// # Errors
    /// If the journal is damaged, or the filter is too small for it.
    pub(super) fn load(
        self,
        filter: &ReplayFilter,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Loaded, LoadFault> {
        let Self { mut journal, blocks, size, .. } = self;
        let read = restore(&journal, &blocks, filter, progress)?;
        let whole = read.broken.unwrap_or(blocks.len());
        journal.len = blocks.get(whole).map_or(journal.len, |&(at, _)| at);
        journal.sequence = whole as u64;
        let broken = journal.len;
        if broken < size && whole_block_after(&journal, size)? {
            return Err(LoadFault::Block(broken));
        }
        if read.homeless > 0 {
            return Err(LoadFault::Room(read.homeless));
        }
        if broken < size {
            journal.file.set_len(broken)?;
            journal.file.sync_all()?;
        }
        let blocks = &blocks[..whole];
        let marks = blocks.iter().map(|(_, head)| head.count as u64).sum();
        let worth = merge::pays(blocks);
        let merged = if worth { merge::merge(&mut journal, blocks) } else { Ok(()) };
        Ok(Loaded { journal, marks, cut: size - broken, unmerged: merged.err() })
    }
}

/// How the reading went.
#[derive(Default)]
struct Read {
    /// The first block that is not whole.
    broken: Option<usize>,
    /// Marks that found no place.
    homeless: usize,
}

fn restore(
    journal: &Journal,
    blocks: &[(u64, BlockHead)],
    filter: &ReplayFilter,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Read> {
    let (next, read) = (AtomicUsize::new(0), Mutex::new(Read::default()));
    let work = |told: &mut dyn FnMut(usize)| -> io::Result<()> {
        let (mut body, mut marks) = (Vec::new(), Vec::new());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((at, head)) = blocks.get(index) else { return Ok(()) };
            told(index);
            body.resize(head.count * MARK, 0);
            journal.file.read_exact_at(&mut body, at + BLOCK_HEAD as u64)?;
            marks.clear();
            let whole = journal.keys.open_block(head, &body, &mut marks);
            let homeless = filter.restore(&marks);
            if !whole || homeless > 0 {
                let mut read = read.lock().expect("no thread panics while it has it");
                read.homeless += homeless;
                let first = read.broken.map_or(index, |other| other.min(index));
                read.broken = if whole { read.broken } else { Some(first) };
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(blocks.len());
    thread::scope(|scope| {
        let spawn = |_| scope.spawn(|| work(&mut |_| {}));
        let others: Vec<_> = (1..threads).map(spawn).collect();
        let mut done = 0;
        let mut upto = 0;
        let own = work(&mut |index| {
            done += blocks[upto..index].iter().map(|(_, head)| head.count as u64).sum::<u64>();
            upto = index;
            progress(done);
        });
        others.into_iter().fold(own, |all, other| {
            all.and(other.join().expect("a thread that reads blocks does not panic"))
        })
    })?;
    Ok(read.into_inner().expect("no thread panics while it has it"))
}

/// The head of the block at `at`, if there is one and all of the block is in the file.
fn block_head(file: &File, at: u64, size: u64) -> io::Result<Option<BlockHead>> {
    if at + BLOCK_HEAD as u64 > size {
        return Ok(None);
    }
    let mut bytes = [0; BLOCK_HEAD];
    file.read_exact_at(&mut bytes, at)?;
    Ok(BlockHead::read(&bytes).filter(|head| at + head.len() <= size))
}

/// Whether any whole block begins behind the end of the journal's whole part.
fn whole_block_after(journal: &Journal, size: u64) -> io::Result<bool> {
    let mut window = vec![0; WINDOW + BLOCK_HEAD];
    let (mut body, mut marks): (Vec<u8>, Vec<Mark>) = (Vec::new(), Vec::new());
    let mut begin = journal.len;
    while begin < size {
        let len = window.len().min((size - begin) as usize);
        journal.file.read_exact_at(&mut window[..len], begin)?;
        // Blocks begin at multiples of a mark's length, as everything in the file has one.
        for offset in (0..len.min(WINDOW)).step_by(MARK) {
            let at = begin + offset as u64;
            let Some(bytes) = window[offset..len].first_chunk() else { break };
            let head = BlockHead::read(bytes).filter(|head| at + head.len() <= size);
            let Some(head) = head.filter(|head| head.sequence >= journal.sequence) else {
                continue;
            };
            body.resize(head.count * MARK, 0);
            journal.file.read_exact_at(&mut body, at + BLOCK_HEAD as u64)?;
            if journal.keys.open_block(&head, &body, &mut marks) {
                return Ok(true);
            }
        }
        begin += WINDOW as u64;
    }
    Ok(false)
}
