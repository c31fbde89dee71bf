//! A belt: parcels of bytes on their way from some threads to another, with a bound, without a
//! lock, and without an allocation after the start.
//!
//! It joins what carries packets to what serves people: packets of an entry's clients go to a shard
//! on one, messages that end here come from the shards on another. Whoever puts a parcel on a belt
//! copies it into a buffer of the belt; whoever takes it has the buffer until the parcel is
//! dropped. When all buffers of a size are in use the belt is full, for parcels of that size, and
//! the sender has to do something about it.
//!
//! The receiver says when it goes to sleep and when it is back. A sender learns whether it has to
//! wake it: once for everything that comes until the receiver has slept again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;
use phix_engine::pool::Capacity;
use phix_engine::wire::geometry::PacketSize;

/// Why a parcel was not put on a belt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPut {
    /// All buffers for its size are in use at present.
    Full,
    /// It is longer than the largest packet.
    TooLong,
    /// The receiver takes nothing any more.
    Closed,
}

/// A bounded queue of parcels, each with a note of type `N`.
pub struct Belt<N> {
    parcels: ArrayQueue<Bound<N>>,
    free: [ArrayQueue<Box<[u8]>>; PacketSize::ALL.len()],
    asleep: AtomicBool,
    closed: AtomicBool,
}

struct Bound<N> {
    note: N,
    size: PacketSize,
    buffer: Box<[u8]>,
    len: usize,
}

/// Whether the receiver has to be woken for what was put on the belt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a receiver that sleeps sleeps on"]
pub enum Wake {
    /// It sleeps: wake it.
    Needed,
    /// It is awake, or somebody else wakes it.
    No,
}

impl<N> Belt<N> {
    /// An empty belt with so many buffers for packets of each size, and for what is shorter.
    ///
    /// # Panics
    /// If a size has no buffer.
    pub fn new(capacity: Capacity) -> Self {
        let buffers = |size: PacketSize| {
            let count = capacity[size.index()];
            let free = ArrayQueue::new(count);
            for _ in 0..count {
                let buffer = vec![0; size.packet_len()].into_boxed_slice();
                free.push(buffer).expect("there is a place for each");
            }
            free
        };
        Self {
            parcels: ArrayQueue::new(capacity.iter().sum()),
            free: PacketSize::ALL.map(buffers),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Puts a copy of `bytes` on the belt.
    ///
    /// # Errors
    /// If there is no buffer for it, or nobody to take it; the note is dropped then.
    pub fn put(&self, note: N, bytes: &[u8]) -> Result<Wake, NotPut> {
        let fits = |size: &PacketSize| size.packet_len() >= bytes.len();
        let size = PacketSize::ALL.into_iter().find(fits).ok_or(NotPut::TooLong)?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(NotPut::Closed);
        }
        let mut buffer = self.free[size.index()].pop().ok_or(NotPut::Full)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        let bound = Bound { note, size, buffer, len: bytes.len() };
        let Ok(()) = self.parcels.push(bound) else {
            unreachable!("there is a place for each buffer");
        };
        // Either the receiver sees this parcel when it looks before it sleeps, or its word that it
        // sleeps is seen here.
        fence(Ordering::SeqCst);
        let sleeps =
            self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed);
        Ok(if sleeps { Wake::Needed } else { Wake::No })
    }

    /// The oldest parcel, if there is one.
    pub fn take(self: &Arc<Self>) -> Option<Parcel<N>> {
        let Bound { note, size, buffer, len } = self.parcels.pop()?;
        Some(Parcel { note, size, buffer, len, belt: Arc::clone(self) })
    }

    /// Parcels that nobody has taken yet.
    pub fn len(&self) -> usize {
        self.parcels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// The receiver is going to sleep. False if there are parcels: then it must not. Otherwise the
    /// next parcel wakes it.
    pub fn rest(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = self.parcels.is_empty();
        if !empty {
            self.rise();
        }
        empty
    }

    /// The receiver sleeps no longer.
    pub fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the receiver takes nothing that comes from now on.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The receiver takes what there is, and nothing that comes later.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl<N> fmt::Debug for Belt<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Belt").field("parcels", &self.parcels.len()).finish_non_exhaustive()
    }
}

/// Bytes that came on a belt. Their buffer goes back when this is dropped.
pub struct Parcel<N> {
    /// What the sender noted on it.
    pub note: N,
    size: PacketSize,
    buffer: Box<[u8]>,
    len: usize,
    belt: Arc<Belt<N>>,
}

impl<N> Parcel<N> {
    /// What the sender put on the belt.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl<N> Drop for Parcel<N> {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let back = self.belt.free[self.size.index()].push(buffer);
        debug_assert!(back.is_ok(), "a buffer goes back once");
    }
}

impl<N: fmt::Debug> fmt::Debug for Parcel<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { note, len, .. } = self;
        f.debug_struct("Parcel").field("note", note).field("len", len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread;

    use super::*;

    #[test]
    fn parcels_come_in_order_and_buffers_go_back() {
        let belt = Arc::new(Belt::new([2, 1, 1, 1, 1]));
        assert_eq!(belt.put(1, b"one"), Ok(Wake::No));
        assert_eq!(belt.put(2, b"two"), Ok(Wake::No));
        assert_eq!(belt.put(3, b"three"), Err(NotPut::Full));
        assert_eq!(belt.put(4, &[4; 387]), Ok(Wake::No), "the next size has buffers of its own");
        let one = belt.take().unwrap();
        assert_eq!((one.note, one.bytes()), (1, &b"one"[..]));
        assert_eq!(belt.put(5, b"five"), Err(NotPut::Full), "the parcel is still in use");
        drop(one);
        assert_eq!(belt.put(6, b"six"), Ok(Wake::No));
        let rest: Vec<u32> = std::iter::from_fn(|| belt.take()).map(|parcel| parcel.note).collect();
        assert_eq!(rest, [2, 4, 6]);
        assert_eq!(belt.put(7, &[0; 33_134]), Err(NotPut::TooLong));
        belt.close();
        assert_eq!(belt.put(8, b"eight"), Err(NotPut::Closed));
    }

    #[test]
    fn a_sleeper_is_woken_once_for_all_that_comes() {
        let belt = Arc::new(Belt::new([8, 1, 1, 1, 1]));
        assert!(belt.rest());
        assert_eq!(belt.put((), b"first"), Ok(Wake::Needed));
        assert_eq!(belt.put((), b"second"), Ok(Wake::No));
        assert!(!belt.rest(), "there are parcels");
        assert_eq!(belt.put((), b"third"), Ok(Wake::No));
        while belt.take().is_some() {}
        assert!(belt.rest());
        belt.rise();
        assert_eq!(belt.put((), b"fourth"), Ok(Wake::No));
    }

    /// If a wake-up could be lost, the receiver would park for ever and the test would hang.
    #[test]
    fn no_wake_up_is_lost() {
        const SENDERS: u64 = 3;
        const EACH: u64 = 20_000;
        let belt = Arc::new(Belt::new([4, 1, 1, 1, 1]));
        let sum = AtomicU64::new(0);
        thread::scope(|scope| {
            let receiver = {
                let (belt, sum) = (Arc::clone(&belt), &sum);
                scope.spawn(move || {
                    let mut left = SENDERS * EACH;
                    while left > 0 {
                        if let Some(parcel) = belt.take() {
                            sum.fetch_add(parcel.note, Ordering::Relaxed);
                            left -= 1;
                        } else if belt.rest() {
                            thread::park();
                            belt.rise();
                        }
                    }
                })
            };
            for _ in 0..SENDERS {
                let (belt, receiver) = (Arc::clone(&belt), receiver.thread().clone());
                scope.spawn(move || {
                    for number in 1..=EACH {
                        let wake = loop {
                            match belt.put(number, &[1]) {
                                Ok(wake) => break wake,
                                Err(reason) => assert_eq!(reason, NotPut::Full),
                            }
                            thread::yield_now();
                        };
                        if wake == Wake::Needed {
                            receiver.unpark();
                        }
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), SENDERS * EACH * (EACH + 1) / 2);
    }
}
