//! The pool: a shard's packet memory, allocated once, lent out one slot at a time.
//!
//! A [`Slot`] is the only way to a packet's bytes. It is neither `Clone` nor `Copy`: whoever holds
//! it owns the packet, and handing the slot over hands the packet over. Slots come in the five
//! packet sizes; each size has its own free list, last in first out, so that the slots in motion
//! stay in the cache and those that wait grow cold.
//!
//! A slot is `headroom | packet | tailroom`. Frame headers are written into the headroom directly
//! before the packet, and a tag directly after it, so that what is sent is one contiguous run of
//! bytes and nothing is copied.
//!
//! The pools of one node share an allocation. Beside each pool lie cells with spare memory, which
//! any of the pools can swap for that of one of its slots ([`Pool::swap`]): so a packet passes to
//! another pool without being copied, and each pool has as much memory afterwards as before.
//!
//! Invariant: a slot index is in exactly one place at a time: in its free list, or in one `Slot`.

mod memory;

use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;

use self::memory::{Memory, Run};
use crate::limits::{BATCH_MAX, HANDOVER_MAX, HEADROOM, SLOTS_PER_SIZE_MAX, TAILROOM, slot_stride};
use crate::wire::geometry::PacketSize;

/// Ownership of one packet's memory. Goes back by [`Pool::give_back`]; never copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slot that is not given back is lost to the pool"]
pub struct Slot(u32);

impl Slot {
    /// Number of this slot in its pool, for tables that run beside the pool.
    pub const fn index(&self) -> usize {
        self.0 as usize
    }

    /// Turns ownership into a bare number, for lists threaded through tables.
    pub(crate) const fn into_raw(self) -> u32 {
        self.0
    }

    /// Takes ownership back from the number that [`Slot::into_raw`] gave.
    pub(crate) const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// How many bytes of a slot before and after its packet belong to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins {
    /// Bytes of headroom directly before the packet.
    pub front: usize,
    /// Bytes of tailroom directly after it.
    pub tail: usize,
}

impl Margins {
    fn around(self, packet: Range<usize>) -> Range<usize> {
        assert!(self.front <= HEADROOM && self.tail <= TAILROOM, "margins lie in the slot");
        packet.start - self.front..packet.end + self.tail
    }
}

/// One cell for this many slots of its size, rounded up, and at most [`HANDOVER_MAX`] of them.
const CELL_SHARE: usize = 16;

/// How many packets of each size a pool can hold, in the order of [`PacketSize::ALL`].
pub type Capacity = [usize; PacketSize::ALL.len()];

/// A place beside one of a node's pools for the memory of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Position of that pool among those made together.
    pub of: usize,
    /// Position among the cells beside it that are of the packet's size, below [`Pool::cells`].
    pub index: usize,
}

/// One size's share of the pool.
#[derive(Debug)]
struct Class {
    size: PacketSize,
    slots: Range<u32>,
    /// Cells beside each pool, by their positions among all cells there.
    cells: Range<usize>,
    free: Vec<u32>,
}

/// Packet memory of one shard.
#[derive(Debug)]
pub struct Pool {
    memory: Memory,
    classes: [Class; PacketSize::ALL.len()],
    capacity: usize,
}

impl Pool {
    /// Allocates memory for `capacity` packets of each size. This is the only allocation.
    ///
    /// # Panics
    /// If a size asks for more than [`SLOTS_PER_SIZE_MAX`] slots.
    pub fn new(capacity: Capacity) -> Self {
        let mut alone = Self::make(capacity, [0; PacketSize::ALL.len()], 1);
        alone.pop().expect("one was asked for")
    }

    /// `count` pools of `capacity` packets of each size, on memory that they share, and with
    /// cells beside each of them.
    ///
    /// # Panics
    /// If a size asks for more than [`SLOTS_PER_SIZE_MAX`] slots.
    pub fn several(capacity: Capacity, count: usize) -> Vec<Self> {
        let cells = capacity.map(|slots| slots.div_ceil(CELL_SHARE).min(HANDOVER_MAX));
        Self::make(capacity, cells, count)
    }

    fn make(capacity: Capacity, cells: Capacity, count: usize) -> Vec<Self> {
        assert!(capacity.iter().all(|&slots| slots <= SLOTS_PER_SIZE_MAX), "too many slots");
        let runs = |counts: Capacity| {
            PacketSize::ALL
                .map(|size| Run { count: counts[size.index()], bytes: slot_stride(size) })
        };
        let shares = Memory::several(&runs(capacity), &runs(cells), count);
        let pools = shares.into_iter().map(|memory| {
            let (mut slot, mut cell) = (0_u32, 0);
            let classes = PacketSize::ALL.map(|size| {
                let slots = slot..slot + capacity[size.index()] as u32;
                let cells = cell..cell + cells[size.index()];
                (slot, cell) = (slots.end, cells.end);
                Class { size, slots: slots.clone(), cells, free: slots.rev().collect() }
            });
            Self { memory, classes, capacity: slot as usize }
        });
        pools.collect()
    }

    /// Where the memory lies that this pool shares with those made together with it, and how many
    /// bytes it has. For advice to the system about it; nobody may read or write there.
    pub fn memory(&self) -> (*const u8, usize) {
        self.memory.whole()
    }

    /// Slots of all sizes together.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Slots that are free, all sizes together.
    pub fn free(&self) -> usize {
        self.classes.iter().map(|class| class.free.len()).sum()
    }

    /// Slots that are free, by size.
    pub fn free_by_size(&self) -> Capacity {
        core::array::from_fn(|index| self.classes[index].free.len())
    }

    /// Takes the most recently returned slot of `size`, or nothing if all are lent out.
    pub fn take(&mut self, size: PacketSize) -> Option<Slot> {
        self.classes[size.index()].free.pop().map(Slot)
    }

    /// Ends the packet in `slot`; its memory may be lent out again at once.
    #[expect(clippy::needless_pass_by_value, reason = "taking the slot is the point")]
    pub fn give_back(&mut self, slot: Slot) {
        let index = self.class_of(slot.0);
        let class = &mut self.classes[index];
        debug_assert!(class.free.len() < class.slots.len(), "a slot was given back twice");
        class.free.push(slot.0);
    }

    /// The size of packet that `slot` holds.
    pub fn size(&self, slot: &Slot) -> PacketSize {
        self.classes[self.class_of(slot.0)].size
    }

    /// The packet in `slot`.
    pub fn packet(&self, slot: &Slot) -> &[u8] {
        self.memory.bytes(slot.index(), self.packet_range(slot))
    }

    /// The packet in `slot`, to be changed in place.
    pub fn packet_mut(&mut self, slot: &Slot) -> &mut [u8] {
        self.memory.bytes_mut(slot.index(), self.packet_range(slot))
    }

    /// The packet in `slot` and the `front` bytes of headroom before it.
    ///
    /// # Panics
    /// If `front` exceeds [`HEADROOM`].
    pub fn framed(&self, slot: &Slot, front: usize) -> &[u8] {
        self.enclosed(slot, Margins { front, tail: 0 })
    }

    /// Like [`Pool::framed`], to be written.
    ///
    /// # Panics
    /// If `front` exceeds [`HEADROOM`].
    pub fn framed_mut(&mut self, slot: &Slot, front: usize) -> &mut [u8] {
        self.enclosed_mut(slot, Margins { front, tail: 0 })
    }

    /// The packet in `slot` with the bytes around it that `margins` names.
    ///
    /// # Panics
    /// If the margins exceed [`HEADROOM`] or [`TAILROOM`].
    pub fn enclosed(&self, slot: &Slot, margins: Margins) -> &[u8] {
        self.memory.bytes(slot.index(), margins.around(self.packet_range(slot)))
    }

    /// Like [`Pool::enclosed`], to be written.
    ///
    /// # Panics
    /// If the margins exceed [`HEADROOM`] or [`TAILROOM`].
    pub fn enclosed_mut(&mut self, slot: &Slot, margins: Margins) -> &mut [u8] {
        self.memory.bytes_mut(slot.index(), margins.around(self.packet_range(slot)))
    }

    /// The packets of a batch, all of them mutable at once, in the order of `slots`.
    ///
    /// # Panics
    /// If a slot comes twice, which only slots of two different pools can bring about, or if there
    /// are more than [`BATCH_MAX`].
    pub fn packets_mut<'a>(
        &'a mut self,
        slots: impl IntoIterator<Item = &'a Slot>,
    ) -> ArrayVec<&'a mut [u8], BATCH_MAX> {
        let parts = slots.into_iter().map(|slot| (slot.index(), self.packet_range(slot)));
        let parts = parts.collect();
        self.memory.several_mut(parts)
    }

    /// Cells for packets of `size` beside each pool.
    pub const fn cells(&self, size: PacketSize) -> usize {
        let cells = &self.classes[size.index()].cells;
        cells.end - cells.start
    }

    /// Exchanges the memory of `slot` for what lies in `cell`, a cell for packets of its size:
    /// afterwards its packet lies there, and the slot has what lay there before.
    ///
    /// # Panics
    /// If there is no such cell.
    pub fn swap(&mut self, slot: &Slot, cell: Cell) {
        let class = &self.classes[self.class_of(slot.0)];
        assert!(cell.index < class.cells.len(), "there is a cell of this number and size");
        self.memory.swap(slot.index(), cell.of, class.cells.start + cell.index);
    }

    fn class_of(&self, slot: u32) -> usize {
        let found = self.classes.iter().position(|class| class.slots.contains(&slot));
        found.expect("a slot belongs to the pool that made it")
    }

    fn packet_range(&self, slot: &Slot) -> Range<usize> {
        HEADROOM..HEADROOM + self.size(slot).packet_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool with a slot for each of `fills`, filled with it.
    fn filled(pool: &mut Pool, fills: &[u8]) -> Vec<Slot> {
        let take = |&fill: &u8| {
            let slot = pool.take(PacketSize::Ack).unwrap();
            pool.packet_mut(&slot).fill(fill);
            slot
        };
        fills.iter().map(take).collect()
    }

    #[test]
    fn slots_are_disjoint_and_come_back() {
        let mut pool = Pool::new([2, 3, 1, 1, 1]);
        let mut slots = Vec::new();
        for size in PacketSize::ALL {
            while let Some(slot) = pool.take(size) {
                assert_eq!(pool.size(&slot), size);
                assert_eq!(pool.packet(&slot).len(), size.packet_len());
                slots.push(slot);
            }
        }
        assert_eq!((slots.len(), pool.free()), (8, 0));
        for (i, packet) in pool.packets_mut(&slots).into_iter().enumerate() {
            packet.fill(i as u8);
        }
        for (i, slot) in slots.iter().enumerate() {
            assert!(pool.packet(slot).iter().all(|&byte| byte == i as u8));
            assert_eq!(pool.framed(slot, 4).len(), pool.packet(slot).len() + 4);
            pool.enclosed_mut(slot, Margins { front: HEADROOM, tail: TAILROOM }).fill(i as u8);
        }
        slots.into_iter().for_each(|slot| pool.give_back(slot));
        assert_eq!(pool.free(), pool.capacity());
    }

    #[test]
    #[should_panic(expected = "twice in one batch")]
    fn slots_of_two_pools_cannot_alias() {
        let (mut one, mut two) = (Pool::new([1, 0, 0, 0, 0]), Pool::new([1, 0, 0, 0, 0]));
        let slots = [one.take(PacketSize::Ack).unwrap(), two.take(PacketSize::Ack).unwrap()];
        let _ = one.packets_mut(&slots);
    }

    #[test]
    fn last_in_first_out() {
        let mut pool = Pool::new([0, 4, 0, 0, 0]);
        let slot = pool.take(PacketSize::Regular).unwrap();
        let index = slot.index();
        pool.give_back(slot);
        assert_eq!(pool.take(PacketSize::Regular).unwrap().index(), index);
    }

    #[test]
    fn a_packet_passes_from_pool_to_pool_through_a_cell() {
        let mut pools = Pool::several([32, 0, 0, 0, 0], 2);
        let (mut two, mut one) = (pools.pop().unwrap(), pools.pop().unwrap());
        assert_eq!((one.cells(PacketSize::Ack), one.cells(PacketSize::Regular)), (2, 0));
        let (given, taken) = (filled(&mut one, &[1, 2]), filled(&mut two, &[3, 4]));
        for (index, slot) in given.iter().enumerate() {
            one.swap(slot, Cell { of: 1, index });
            assert!(one.packet(slot).iter().all(|&byte| byte == 0), "what lay there before");
        }
        for (index, slot) in taken.iter().enumerate() {
            two.swap(slot, Cell { of: 1, index });
            assert!(two.packet(slot).iter().all(|&byte| byte == 1 + index as u8));
        }
        // What the second pool had lies in the cells now, for whoever comes next.
        for (index, slot) in given.iter().enumerate() {
            one.swap(slot, Cell { of: 1, index });
            assert!(one.packet(slot).iter().all(|&byte| byte == 3 + index as u8));
        }
    }

    #[test]
    fn pools_that_swap_at_random_keep_all_memory_apart() {
        const POOLS: usize = 3;
        let mut pools = Pool::several([48, 0, 0, 0, 0], POOLS);
        let mut slots: Vec<Vec<Slot>> =
            pools.iter_mut().map(|pool| filled(pool, &[0; 48])).collect();
        let mut random = 1_u64;
        for _ in 0..5_000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let draw = |shift: u32, bound: u64| ((random >> shift) % bound) as usize;
            let (pool, of) = (draw(20, POOLS as u64), draw(30, POOLS as u64));
            let cell = Cell { of, index: draw(40, 3) };
            pools[pool].swap(&slots[pool][draw(50, 48)], cell);
        }
        for (number, (pool, slots)) in pools.iter_mut().zip(&slots).enumerate() {
            for (i, slot) in slots.iter().enumerate() {
                pool.packet_mut(slot).fill((number * 48 + i) as u8);
            }
        }
        for (number, (pool, slots)) in pools.iter_mut().zip(&mut slots).enumerate() {
            for (i, slot) in slots.drain(..).enumerate() {
                let own = (number * 48 + i) as u8;
                assert!(pool.packet(&slot).iter().all(|&byte| byte == own));
                pool.give_back(slot);
            }
            assert_eq!(pool.free(), pool.capacity());
        }
    }

    #[test]
    fn packets_begin_on_a_cache_line() {
        let mut pool = Pool::new([3, 3, 3, 3, 3]);
        for slot in PacketSize::ALL.map(|size| pool.take(size).unwrap()) {
            assert_eq!(pool.packet(&slot).as_ptr().addr() % 64, 0);
            pool.give_back(slot);
        }
    }
}
