//! Receive buffers that the kernel picks from by itself: a provided buffer ring.
//!
//! A buffer is either the kernel's, to be filled, or it is a [`Filled`] in the link's hands, to be
//! read; handing the `Filled` back makes it the kernel's again.
#![expect(unsafe_code, reason = "the kernel writes into this memory behind the compiler's back")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers per ring; a power of two.
pub(super) const COUNT: u16 = 64;
/// Bytes per buffer: about seven regular packets.
pub(super) const LEN: usize = 16 * 1024;
/// The only group of buffers that a ring has.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4096;
const ENTRIES_LEN: usize = COUNT as usize * size_of::<BufRingEntry>();
const MEMORY_LEN: usize = COUNT as usize * LEN;

/// A buffer with bytes in it, which is not the kernel's at the moment. Not to be copied.
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to the kernel"]
pub(super) struct Filled {
    id: u16,
    len: usize,
}

impl Filled {
    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

/// The memory of all buffers, and the table in which they are offered to the kernel.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    /// The buffers in the order in which they were offered, in a ring like the kernel's.
    order: [u16; COUNT as usize],
    head: u16,
    tail: u16,
}

impl Buffers {
    pub(super) fn new() -> Self {
        let mut buffers = Self {
            entries: allocate(ENTRIES_LEN).cast(),
            memory: allocate(MEMORY_LEN),
            order: [0; COUNT as usize],
            head: 0,
            tail: 0,
        };
        (0..COUNT).for_each(|id| buffers.offer(id));
        buffers
    }

    /// Makes the buffers known to `ring`, which must not outlive them.
    pub(super) fn register(&self, ring: &IoUring) -> io::Result<()> {
        let table = self.entries.as_ptr().expose_provenance() as u64;
        let submitter = ring.submitter();
        // SAFETY: the table and the buffers are valid until `self` is dropped, and the owner of
        // both drops the ring first, once no operation is under way (see `Ring`).
        unsafe { submitter.register_buf_ring_with_flags(table, COUNT, GROUP, 0) }
    }

    /// How many buffers the kernel has.
    pub(super) const fn offered(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }

    /// The bytes in a buffer, to be changed in place.
    pub(super) fn bytes_mut(&mut self, filled: &mut Filled) -> &mut [u8] {
        let start = self.start(filled.id);
        // SAFETY: the range lies in the allocation (`Filled::new` checked it), is initialized
        // (zeroed at first) and is used by nobody else: the kernel gave this buffer away with the
        // completion, and gets it back only when `filled` is consumed; `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), filled.len) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "the caller must not have it any longer")]
    pub(super) fn give_back(&mut self, filled: Filled) {
        let Filled { id, .. } = filled;
        self.offer(id);
    }

    fn start(&self, id: u16) -> NonNull<u8> {
        // SAFETY: id < COUNT, so the offset lies in the allocation.
        unsafe { self.memory.add(usize::from(id) * LEN) }
    }

    fn offer(&mut self, id: u16) {
        let address = self.start(id).as_ptr().expose_provenance() as u64;
        let place = usize::from(self.tail % COUNT);
        // SAFETY: place < COUNT, so the offset lies in the allocation.
        let mut entry = unsafe { self.entries.add(place) };
        // SAFETY: the entry is valid and zeroed or written before; the kernel reads entries before
        // the tail only, and at most COUNT are before it, so it does not read this one now.
        let entry = unsafe { entry.as_mut() };
        entry.set_addr(address);
        entry.set_len(LEN as u32);
        entry.set_bid(id);
        self.order[place] = id;
        self.tail = self.tail.wrapping_add(1);
        self.publish();
    }

    fn publish(&self) {
        // SAFETY: `entries` is the address of the first entry of a table of this kind.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is aligned and valid, and the kernel only reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The next buffer that the kernel has filled, of those that one completion is about: it takes
    /// them in the order in which they were offered, and fills all but the last. `first` is what
    /// the completion names, `left` are its bytes that no buffer has been taken for yet.
    ///
    /// # Panics
    /// If the kernel names another one. What it writes to cannot be told then.
    pub(super) fn taken(&mut self, first: Option<u16>, left: usize) -> Filled {
        let id = self.order[usize::from(self.head % COUNT)];
        let known = self.offered() > 0 && first.is_none_or(|first| first == id);
        assert!(known, "the kernel takes buffers in the order in which it was given them");
        self.head = self.head.wrapping_add(1);
        Filled { id, len: left.min(LEN) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout; the kernel is done with it, for the
        // ring is dropped before its buffers.
        unsafe { dealloc(self.entries.cast().as_ptr(), layout(ENTRIES_LEN)) };
        // SAFETY: as above.
        unsafe { dealloc(self.memory.as_ptr(), layout(MEMORY_LEN)) };
    }
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(len, PAGE).expect("a constant that is valid")
}

fn allocate(len: usize) -> NonNull<u8> {
    let layout = layout(len);
    // SAFETY: the length is not zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

const _: () = assert!(COUNT.is_power_of_two() && ENTRIES_LEN > 0 && MEMORY_LEN > 0);
