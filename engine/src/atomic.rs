//! What shards share of words: a few atomic operations. The program has them from the core library;
//! the models have them from loom, which tries the orders of events that the memory model allows.

use core::fmt::Debug;
use core::sync::atomic::AtomicU64;
pub(crate) use core::sync::atomic::Ordering;

/// A word that several threads use; the operations are those of [`AtomicU64`].
pub(crate) trait Word: Debug {
    fn new(value: u64) -> Self;
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn swap(&self, value: u64, order: Ordering) -> u64;
    fn fetch_or(&self, marks: u64, order: Ordering) -> u64;
    fn fetch_and(&self, marks: u64, order: Ordering) -> u64;
    fn fetch_xor(&self, marks: u64, order: Ordering) -> u64;
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
    /// What a thread does that waits for another to change a word.
    fn pause();
}

/// Passes each operation on to the type's own.
macro_rules! word {
    ($word:ty, $pause:path) => {
        impl $crate::atomic::Word for $word {
            fn new(value: u64) -> Self {
                <$word>::new(value)
            }

            fn load(&self, order: Ordering) -> u64 {
                <$word>::load(self, order)
            }

            fn store(&self, value: u64, order: Ordering) {
                <$word>::store(self, value, order);
            }

            fn swap(&self, value: u64, order: Ordering) -> u64 {
                <$word>::swap(self, value, order)
            }

            fn fetch_or(&self, marks: u64, order: Ordering) -> u64 {
                <$word>::fetch_or(self, marks, order)
            }

            fn fetch_and(&self, marks: u64, order: Ordering) -> u64 {
                <$word>::fetch_and(self, marks, order)
            }

            fn fetch_xor(&self, marks: u64, order: Ordering) -> u64 {
                <$word>::fetch_xor(self, marks, order)
            }

            fn compare_exchange(
                &self,
                current: u64,
                new: u64,
                success: Ordering,
                failure: Ordering,
            ) -> Result<u64, u64> {
                <$word>::compare_exchange(self, current, new, success, failure)
            }

            fn pause() {
                $pause();
            }
        }
    };
}

word!(AtomicU64, core::hint::spin_loop);
#[cfg(test)]
word!(loom::sync::atomic::AtomicU64, loom::hint::spin_loop);
