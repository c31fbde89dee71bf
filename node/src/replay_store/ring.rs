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

/// A word that both threads use. The model of the tests has words of its own.
pub(super) trait Word {
    fn new(value: u64) -> Self;
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
}

impl Word for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }
}

#[derive(Debug)]
struct Ring<W> {
    words: Box<[W]>,
    /// Words ever written; changed by the writer alone.
    written: CachePadded<W>,
    /// Words ever taken; changed by the reader alone.
    taken: CachePadded<W>,
}

impl<W> Ring<W> {
    fn word(&self, at: u64) -> &W {
        &self.words[(at % self.words.len() as u64) as usize]
    }
}

/// The shard's end.
#[derive(Debug)]
pub(super) struct Writer<W = AtomicU64> {
    ring: Arc<Ring<W>>,
    written: u64,
    /// What `taken` was when it was last looked at.
    taken: u64,
    filter: Option<u32>,
}

/// The saving thread's end.
#[derive(Debug)]
pub(super) struct Reader<W = AtomicU64> {
    ring: Arc<Ring<W>>,
    filter: u32,
}

/// A ring for `words` marks, empty.
pub(super) fn ring<W: Word>(words: usize) -> (Writer<W>, Reader<W>) {
    let ring = Arc::new(Ring {
        words: (0..words).map(|_| W::new(0)).collect(),
        written: CachePadded::new(W::new(0)),
        taken: CachePadded::new(W::new(0)),
    });
    let writer = Writer { ring: Arc::clone(&ring), written: 0, taken: 0, filter: None };
    (writer, Reader { ring, filter: 0 })
}

impl<W: Word> Writer<W> {
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

impl<W: Word> Reader<W> {
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

    fn ring(words: usize) -> (Writer, Reader) {
        super::ring(words)
    }

    fn taken<W: Word>(reader: &mut Reader<W>) -> Vec<(u32, Mark)> {
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

    impl Word for loom::sync::atomic::AtomicU64 {
        fn new(value: u64) -> Self {
            Self::new(value)
        }

        fn load(&self, order: Ordering) -> u64 {
            self.load(order)
        }

        fn store(&self, value: u64, order: Ordering) {
            self.store(value, order);
        }
    }

    /// All orders in which the two can meet, and every value that a relaxed load may give, in a
    /// ring that is full and written over.
    #[test]
    fn what_was_put_is_taken_once_and_in_order_whatever_the_threads_do() {
        loom::model(|| {
            let (mut writer, mut reader) = super::ring::<loom::sync::atomic::AtomicU64>(3);
            let writing = loom::thread::spawn(move || {
                let mut put = Vec::new();
                for (filter, number) in [(1, 1), (1, 2), (2, 3)] {
                    if writer.put(filter, &[mark(number)]) {
                        put.push((filter, mark(number)));
                    }
                }
                put
            });
            let mut all = taken(&mut reader);
            all.extend(taken(&mut reader));
            let put = writing.join().unwrap();
            all.extend(taken(&mut reader));
            assert_eq!(all, put);
            assert!(put.len() >= 2, "what there is room for is put in");
        });
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
