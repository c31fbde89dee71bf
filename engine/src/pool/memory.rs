//! The memory behind the pools of one node: a single allocation, cut into blocks.
//!
//! A [`Memory`] is one pool's share: a table that says for each of its slots which block lies
//! behind it. Beside the tables there are cells, each holding one spare block. A slot and a cell
//! can exchange their blocks ([`Memory::swap`]), and by way of a cell a block, with the packet in
//! it, passes from one pool to another without being copied.
//!
//! Invariant: a block is in exactly one place, an entry of one table or a cell. It holds at the
//! start and is kept because blocks move in one way only: an atomic swap against another block.
//! So whoever has a table for himself has its blocks for himself, whatever the other pools do.
#![expect(unsafe_code, reason = "pools of several threads have exclusive parts of one allocation")]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::{MaybeUninit, replace};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::AtomicU64;

use arrayvec::ArrayVec;

use crate::atomic::{Ordering, Word};
use crate::limits::BATCH_MAX;

/// Blocks begin at a multiple of this: a cache line.
const LINE: usize = 64;

/// So many blocks of so many bytes each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// A part of the allocation, in lines. Made in [`Memory::several`] only, and never copied.
#[derive(Debug)]
struct Block {
    first: u32,
    lines: u32,
}

impl Block {
    fn into_word(self) -> u64 {
        u64::from(self.first) << 32 | u64::from(self.lines)
    }

    /// Undoes [`Block::into_word`]; to be called once per word.
    const fn from_word(word: u64) -> Self {
        Self { first: (word >> 32) as u32, lines: word as u32 }
    }
}

/// A place for one block that belongs to no pool.
#[derive(Debug)]
struct Cell<W: Word = AtomicU64>(W);

impl<W: Word> Cell<W> {
    /// Takes out the block that lies here and leaves `block` instead.
    ///
    /// Acquire and release: what was written to a block before it was put here is seen by whoever
    /// takes it out.
    fn swap(&self, block: Block) -> Block {
        Block::from_word(self.0.swap(block.into_word(), Ordering::AcqRel))
    }
}

/// The allocation and the cells.
struct Arena {
    bytes: Box<[MaybeUninit<UnsafeCell<u8>>]>,
    /// Bytes before the first whole line.
    shift: usize,
    /// Of each pool, those beside it.
    cells: Box<[Box<[Cell]>]>,
}

// SAFETY: the bytes are reached through blocks only (see `Memory`), a block is in one place, and
// it moves between threads by way of a cell, which orders the accesses before and after.
unsafe impl Sync for Arena {}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Arena {
    /// The bytes at `range` of `block`.
    ///
    /// # Panics
    /// If they are not all in it.
    fn locate(&self, block: &Block, range: Range<usize>) -> *mut [u8] {
        assert!(range.start <= range.end && range.end <= block.lines as usize * LINE);
        let base = UnsafeCell::raw_get(self.bytes.as_ptr().cast::<UnsafeCell<u8>>());
        let at = self.shift + block.first as usize * LINE + range.start;
        // SAFETY: blocks lie in the allocation (`Memory::several` cut them), the range lies in its
        // block (checked above), and so does its beginning.
        let start = unsafe { base.add(at) };
        ptr::slice_from_raw_parts_mut(start, range.len())
    }
}

/// One pool's share of the memory: a block for each of its slots.
#[derive(Debug)]
pub(super) struct Memory {
    arena: Arc<Arena>,
    blocks: Box<[Block]>,
}

impl Memory {
    /// Allocates, at once and all zero, the memory of `count` pools: for each of them the blocks
    /// of its slots, in the order of `slots`, and cells with the blocks of `spare`.
    ///
    /// # Panics
    /// If that is more memory than there are numbers for its lines: 256 GiB.
    pub(super) fn several(slots: &[Run], spare: &[Run], count: usize) -> Vec<Self> {
        let mut next = 0_u32;
        let mut cut = |runs: &[Run]| -> Box<[Block]> {
            let blocks = runs.iter().flat_map(|run| (0..run.count).map(|_| run.bytes));
            let cut = blocks.map(|bytes| {
                let block = Block { first: next, lines: bytes.div_ceil(LINE) as u32 };
                next = next.checked_add(block.lines).expect("packet memory has at most 2^32 lines");
                block
            });
            cut.collect()
        };
        let tables: Vec<Box<[Block]>> = (0..count).map(|_| cut(slots)).collect();
        let cell = |block: Block| Cell(AtomicU64::new(block.into_word()));
        let cells = (0..count).map(|_| cut(spare).into_iter().map(cell).collect()).collect();
        let bytes = Box::new_zeroed_slice((next as usize + 1) * LINE);
        let shift = bytes.as_ptr().align_offset(LINE);
        assert!(shift < LINE, "an address of bytes can be aligned");
        let arena = Arc::new(Arena { bytes, shift, cells });
        let share = |blocks| Self { arena: Arc::clone(&arena), blocks };
        tables.into_iter().map(share).collect()
    }

    /// Where the allocation lies that all pools share.
    pub(super) fn whole(&self) -> (*const u8, usize) {
        (self.arena.bytes.as_ptr().cast(), self.arena.bytes.len())
    }

    /// The bytes at `range` of the block behind `slot`.
    ///
    /// # Panics
    /// If there is no such slot or it is shorter.
    pub(super) fn bytes(&self, slot: usize, range: Range<usize>) -> &[u8] {
        let bytes = self.arena.locate(&self.blocks[slot], range);
        // SAFETY: the bytes are initialized (zeroed at first) and belong to this table's block;
        // `self`, borrowed as long as they are, lets nobody write to them or move the block.
        unsafe { &*bytes }
    }

    /// Like [`Memory::bytes`], to be written.
    ///
    /// # Panics
    /// If there is no such slot or it is shorter.
    pub(super) fn bytes_mut(&mut self, slot: usize, range: Range<usize>) -> &mut [u8] {
        let bytes = self.arena.locate(&self.blocks[slot], range);
        // SAFETY: as in `bytes`; `self`, borrowed mutably, is the only way to this block.
        unsafe { &mut *bytes }
    }

    /// Like [`Memory::bytes_mut`], for several slots at once, in their order.
    ///
    /// # Panics
    /// If a slot comes twice, or for one of the reasons of [`Memory::bytes_mut`].
    pub(super) fn several_mut(
        &mut self,
        parts: ArrayVec<(usize, Range<usize>), BATCH_MAX>,
    ) -> ArrayVec<&mut [u8], BATCH_MAX> {
        for (i, (one, _)) in parts.iter().enumerate() {
            let twice = parts[..i].iter().any(|(other, _)| other == one);
            assert!(!twice, "a slot stands twice in one batch");
        }
        let Self { arena, blocks } = self;
        let parts = parts.into_iter().map(|(slot, range)| arena.locate(&blocks[slot], range));
        // SAFETY: as in `bytes_mut`; different slots have different blocks, which do not overlap,
        // and no slot comes twice (checked above).
        parts.map(|bytes| unsafe { &mut *bytes }).collect()
    }

    /// Exchanges the block behind `slot` for that in cell `cell` beside pool `of`.
    ///
    /// # Panics
    /// If there is no such slot or cell.
    pub(super) fn swap(&mut self, slot: usize, of: usize, cell: usize) {
        let Self { arena, blocks } = self;
        let (block, cell) = (&mut blocks[slot], &arena.cells[of][cell]);
        // Between these two lines the table has an empty block, which no bytes belong to.
        let out = replace(block, Block { first: 0, lines: 0 });
        *block = cell.swap(out);
    }
}

#[cfg(test)]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64;
    use loom::thread;

    use super::*;

    /// Threads that write to the blocks that they have and swap them in one cell: no two of them
    /// ever write to one block without an order between them, and none gets lost. Loom's cells
    /// stand for the bytes; it reports any use of them that is not ordered.
    #[test]
    fn a_swap_hands_the_bytes_over() {
        loom::model(|| {
            let block = |first| Block { first, lines: 1 };
            let bytes = Arc::new([(); 3].map(|()| UnsafeCell::new(())));
            let cell = Arc::new(Cell::<AtomicU64>(AtomicU64::new(block(2).into_word())));
            let threads: Vec<_> = (0..2)
                .map(|own| {
                    let (bytes, cell) = (Arc::clone(&bytes), Arc::clone(&cell));
                    thread::spawn(move || {
                        let mut own = block(own);
                        for _ in 0..2 {
                            bytes[own.first as usize].with_mut(|_| ());
                            own = cell.swap(own);
                        }
                        bytes[own.first as usize].with_mut(|_| ());
                        own.first
                    })
                })
                .collect();
            let mut blocks: Vec<u32> = threads.into_iter().map(|t| t.join().unwrap()).collect();
            blocks.push(cell.swap(block(9)).first);
            blocks.sort_unstable();
            assert_eq!(blocks, [0, 1, 2]);
        });
    }
}
