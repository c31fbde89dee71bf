//! Marks on their way from a shard to the disk: one writer, one reader, no lock, nothing that two
//! shards write.
//!
//! A shard stores the marks of a batch and then where they end, once; the saving thread looks in
//! several times a second. Nobody has to wake anybody, and a shard that goes to sleep has nothing
//! to hand over first.
//!
//! A word is a mark, or says from which filter those after it come. The low 21 bits of a mark are
//! never all zero; those of the other kind are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use phix_engine::replay::Mark;

/// Bits below the number of a filter.
const SHIFT: u32 = 21;

#[derive(Debug)]
struct Ring {
    words: Box<[AtomicU64]>,
    /// Words ever written; changed by the writer alone.
    written: CachePadded<AtomicU64>,
    /// Words ever taken; changed by the reader alone.
    taken: CachePadded<AtomicU64>,
}

impl Ring {
    fn word(&self, at: u64) -> &AtomicU64 {
        &self.words[(at % self.words.len() as u64) as usize]
    }
}

/// The shard's end.
#[derive(Debug)]
pub(super) struct Writer {
    ring: Arc<Ring>,
    written: u64,
    /// What `taken` was when it was last looked at.
    taken: u64,
    filter: Option<u32>,
}

/// The saving thread's end.
#[derive(Debug)]
pub(super) struct Reader {
    ring: Arc<Ring>,
    filter: u32,
}

/// A ring for `words` marks, empty.
pub(super) fn ring(words: usize) -> (Writer, Reader) {
    let ring = Arc::new(Ring {
        words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        written: CachePadded::new(AtomicU64::new(0)),
        taken: CachePadded::new(AtomicU64::new(0)),
    });
    let writer = Writer { ring: Arc::clone(&ring), written: 0, taken: 0, filter: None };
    (writer, Reader { ring, filter: 0 })
}

impl Writer {
    /// Puts in the marks that came from the filter with this number, all or none; says which.
    pub(super) fn put(&mut self, filter: u32, marks: &[Mark]) -> bool {
        let changes = self.filter != Some(filter);
        let end = self.written + u64::from(changes) + marks.len() as u64;
        let room = self.ring.words.len() as u64;
        if end - self.taken > room {
            // Pairs with the reader's store: it has read the words that are now overwritten.
            self.taken = self.ring.taken.load(Ordering::Acquire);
            if end - self.taken > room {
                return false;
            }
        }
        if changes {
            self.filter = Some(filter);
            self.push(u64::from(filter) << SHIFT);
        }
        marks.iter().for_each(|mark| self.push(mark.bits()));
        // Whoever sees the new end sees the words before it.
        self.ring.written.store(self.written, Ordering::Release);
        true
    }

    fn push(&mut self, word: u64) {
        self.ring.word(self.written).store(word, Ordering::Relaxed);
        self.written += 1;
    }
}

impl Reader {
    /// Takes out all there is: the number of the filter and the mark, in the order of the writer.
    pub(super) fn take(&mut self, mut each: impl FnMut(u32, Mark)) {
        let end = self.ring.written.load(Ordering::Acquire);
        for at in self.ring.taken.load(Ordering::Relaxed)..end {
            let word = self.ring.word(at).load(Ordering::Relaxed);
            match Mark::from_bits(word) {
                Some(mark) => each(self.filter, mark),
                None => self.filter = (word >> SHIFT) as u32,
            }
        }
        self.ring.taken.store(end, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn mark(number: u64) -> Mark {
        Mark::from_bits(number << SHIFT | 1).unwrap()
    }

    fn taken(reader: &mut Reader) -> Vec<(u32, Mark)> {
        let mut all = Vec::new();
        reader.take(|filter, mark| all.push((filter, mark)));
        all
    }

    #[test]
    fn marks_keep_their_filter() {
        let (mut writer, mut reader) = ring(8);
        assert!(writer.put(u32::MAX, &[mark(1), mark(2)]) && writer.put(0, &[mark(3)]));
        let (a, b) = (u32::MAX, 0);
        assert_eq!(taken(&mut reader), [(a, mark(1)), (a, mark(2)), (b, mark(3))]);
        assert!(writer.put(0, &[mark(4)]));
        assert_eq!(taken(&mut reader), [(b, mark(4))]);
        assert_eq!(taken(&mut reader), []);
    }

    #[test]
    fn a_full_ring_takes_nothing_until_it_is_read() {
        let (mut writer, mut reader) = ring(4);
        assert!(writer.put(1, &[mark(1), mark(2)]));
        assert!(!writer.put(1, &[mark(3), mark(4)]), "all or none");
        assert!(!writer.put(2, &[mark(3)]), "the filter's number takes a word, too");
        assert!(writer.put(1, &[mark(3)]));
        assert_eq!(taken(&mut reader).len(), 3);
        assert!(writer.put(2, &[mark(5), mark(6), mark(7)]));
        assert_eq!(taken(&mut reader), [5, 6, 7].map(|number| (2, mark(number))));
    }

    #[test]
    fn nothing_is_lost_or_changed_between_threads() {
        let (mut writer, mut reader) = ring(64);
        let count = 200_000;
        thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..count {
                    let filter = (number / 1000) as u32;
                    while !writer.put(filter, &[mark(number)]) {
                        thread::yield_now();
                    }
                }
            });
            let mut next = 0;
            while next < count {
                reader.take(|filter, found| {
                    assert_eq!((filter, found), ((next / 1000) as u32, mark(next)));
                    next += 1;
                });
                thread::yield_now();
            }
        });
    }
}
