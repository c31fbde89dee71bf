//! Connections by number and generation.
//!
//! A place is used again, its generation is not: an event that was meant for an old connection
//! finds nothing, instead of the new connection in the same place.

/// Names one connection for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

const GENERATION_BITS: u32 = 24;

impl Key {
    /// A key that names no connection, for events that belong to none.
    pub(crate) const NONE: Self = Self { index: u32::MAX, generation: 0 };

    /// The place, for tables that run beside the slab.
    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }

    /// The key and a tag of eight bits in one number, to travel through the kernel.
    pub(crate) const fn pack(self, tag: u8) -> u64 {
        (tag as u64) << 56 | (self.generation as u64) << 32 | self.index as u64
    }

    /// What [`Key::pack`] packed.
    pub(crate) const fn unpack(packed: u64) -> (u8, Self) {
        let generation = (packed >> 32) as u32 & ((1 << GENERATION_BITS) - 1);
        ((packed >> 56) as u8, Self { index: packed as u32, generation })
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A fixed number of places, last vacated first filled.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let count = u32::try_from(capacity).expect("fewer connections than 2^32");
        let places = (0..count).map(|_| Place { generation: 0, value: None }).collect();
        Self { places, free: (0..count).rev().collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Puts `value` into a free place; gives it back if there is none.
    pub(crate) fn insert(&mut self, value: T) -> Result<Key, T> {
        let Some(index) = self.free.pop() else { return Err(value) };
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        Ok(Key { index, generation: place.generation })
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index())?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = (place.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index);
        Some(value)
    }

    /// All that is in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.value.as_ref())
    }

    /// All that is in it, with the keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            Some((key, place.value.as_ref()?))
        })
    }

    /// The keys of all that is in it.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.entries().map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_finds_nothing() {
        let mut slab = Slab::new(1);
        let old = slab.insert('a').unwrap();
        assert_eq!(slab.insert('b'), Err('b'));
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('c').unwrap();
        assert_eq!(old.index(), new.index());
        assert_eq!((slab.get(old), slab.get(new)), (None, Some(&'c')));
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!((slab.keys(), slab.len()), (vec![new], 1));
        assert_eq!(slab.get_mut(Key::NONE), None);
    }

    #[test]
    fn keys_travel_through_one_number() {
        let key = Key { index: 0x8765_4321, generation: 0x00ab_cdef };
        assert_eq!(Key::unpack(key.pack(0xfe)), (0xfe, key));
        assert_eq!(Key::unpack(Key::NONE.pack(0)), (0, Key::NONE));
    }
}
