//! The pool: all packet memory of one shard, allocated once, lent out one slot at a time.
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
//! Invariant: a slot index is in exactly one place at a time: in its free list, or in one `Slot`.
#![expect(unsafe_code, reason = "exclusive slices of several slots at once need raw pointers")]

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;

use crate::limits::{BATCH_MAX, HEADROOM, SLOTS_PER_SIZE_MAX, TAILROOM, slot_stride};
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

/// How many packets of each size a pool can hold, in the order of [`PacketSize::ALL`].
pub type Capacity = [usize; PacketSize::ALL.len()];

/// One size's share of the pool.
#[derive(Debug)]
struct Class {
    size: PacketSize,
    slots: Range<u32>,
    offset: usize,
    free: Vec<u32>,
}

/// Packet memory of one shard.
#[derive(Debug)]
pub struct Pool {
    memory: Box<[u8]>,
    classes: [Class; PacketSize::ALL.len()],
    capacity: usize,
}

impl Pool {
    /// Allocates memory for `capacity` packets of each size. This is the only allocation.
    ///
    /// # Panics
    /// If a size asks for more than [`SLOTS_PER_SIZE_MAX`] slots.
    pub fn new(capacity: Capacity) -> Self {
        let (mut next, mut offset) = (0_u32, 0_usize);
        let classes = PacketSize::ALL.map(|size| {
            let count = capacity[size.index()];
            assert!(count <= SLOTS_PER_SIZE_MAX, "too many slots of one size");
            let slots = next..next + count as u32;
            let class = Class { size, slots: slots.clone(), offset, free: slots.rev().collect() };
            next += count as u32;
            offset += count * slot_stride(size);
            class
        });
        Self { memory: vec![0; offset].into_boxed_slice(), classes, capacity: next as usize }
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
        &self.memory[self.packet_range(slot.0)]
    }

    /// The packet in `slot`, to be changed in place.
    pub fn packet_mut(&mut self, slot: &Slot) -> &mut [u8] {
        let range = self.packet_range(slot.0);
        &mut self.memory[range]
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
        &self.memory[margins.around(self.packet_range(slot.0))]
    }

    /// Like [`Pool::enclosed`], to be written.
    ///
    /// # Panics
    /// If the margins exceed [`HEADROOM`] or [`TAILROOM`].
    pub fn enclosed_mut(&mut self, slot: &Slot, margins: Margins) -> &mut [u8] {
        let range = margins.around(self.packet_range(slot.0));
        &mut self.memory[range]
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
        let raw: ArrayVec<u32, BATCH_MAX> = slots.into_iter().map(|slot| slot.0).collect();
        for (i, one) in raw.iter().enumerate() {
            assert!(!raw[..i].contains(one), "a slot stands twice in one batch");
        }
        let ranges: ArrayVec<Range<usize>, BATCH_MAX> =
            raw.iter().map(|&slot| self.packet_range(slot)).collect();
        let len = self.memory.len();
        let base = self.memory.as_mut_ptr();
        ranges
            .into_iter()
            .map(|range| {
                assert!(range.end <= len);
                // SAFETY: range.start <= range.end <= len, so the offset stays in the allocation.
                let start = unsafe { base.add(range.start) };
                // SAFETY: the bytes lie in the allocation, which `self` borrows mutably for 'a;
                // different slots have disjoint ranges, and no slot comes twice (checked above).
                unsafe { core::slice::from_raw_parts_mut(start, range.len()) }
            })
            .collect()
    }

    fn class_of(&self, slot: u32) -> usize {
        let found = self.classes.iter().position(|class| class.slots.contains(&slot));
        found.expect("a slot belongs to the pool that made it")
    }

    fn packet_range(&self, slot: u32) -> Range<usize> {
        let class = &self.classes[self.class_of(slot)];
        let index = (slot - class.slots.start) as usize;
        let start = class.offset + index * slot_stride(class.size) + HEADROOM;
        start..start + class.size.packet_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
