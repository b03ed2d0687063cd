//! A slab with generations: stable places in chunks, so that growth never moves or doubles what is there.
//!
//! Invariant: a [`Key`] finds its value until `remove`, and nothing afterwards. Makes no system call.

use crate::prefetch;

/// Names a place and one occupation of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Bits of a generation that are kept, because a completion's user data has room for so many.
pub(crate) const GENERATION_MASK: u32 = (1 << 28) - 1;
const CHUNK: usize = 64;
const NONE: u32 = u32::MAX;

struct Entry<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

pub(crate) struct Slab<T> {
    chunks: Vec<Box<[Entry<T>; CHUNK]>>,
    free: u32,
    len: u32,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0 }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Bytes that one value costs, with its bookkeeping.
    pub(crate) const fn slot_bytes() -> usize {
        size_of::<Entry<T>>()
    }

    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        self.chunks.get(index as usize / CHUNK).map(|chunk| &chunk[index as usize % CHUNK])
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(index as usize / CHUNK).map(|chunk| &mut chunk[index as usize % CHUNK])
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let entry = |i| Entry {
            generation: 0,
            next_free: if i + 1 == CHUNK { self.free } else { first + i as u32 + 1 },
            value: None,
        };
        self.chunks.push(Box::new(std::array::from_fn(entry)));
        self.free = first;
    }

    /// Puts `value` into a free place, the one freed last.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let chunk = &mut self.chunks[index as usize / CHUNK];
        let entry = &mut chunk[index as usize % CHUNK];
        entry.value = Some(value);
        self.free = entry.next_free;
        self.len += 1;
        Key { index, generation: entry.generation }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entry_mut(key.index)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entry(key.index)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    /// Fetches a place that will soon be looked at.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some(entry) = self.entry(index) {
            prefetch::value(entry, size_of::<Entry<T>>());
        }
    }

    /// Whatever occupies the place now.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entry_mut(index)?.value.as_mut()
    }

    /// Whatever occupies the place now, with its key.
    #[inline]
    pub(crate) fn occupant(&mut self, index: u32) -> Option<(Key, &mut T)> {
        let entry = self.entry_mut(index)?;
        let key = Key { index, generation: entry.generation };
        entry.value.as_mut().map(|value| (key, value))
    }

    /// The current occupation's key.
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        let entry = self.entry(index)?;
        entry.value.is_some().then_some(Key { index, generation: entry.generation })
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let entry = self.entry_mut(key.index)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        entry.next_free = free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    /// Keys of everything inside, in no useful order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        (0..(self.chunks.len() * CHUNK) as u32).filter_map(|index| self.key_at(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_like_a_map_and_never_revives_a_key(ops in prop::collection::vec(any::<(bool, u8)>(), 1..400)) {
            let mut slab = Slab::new();
            let mut live: Vec<(Key, u32)> = Vec::new();
            let mut dead: Vec<Key> = Vec::new();
            for (n, (insert, pick)) in ops.into_iter().enumerate() {
                if insert || live.is_empty() {
                    let key = slab.insert(n as u32);
                    prop_assert!(!live.iter().any(|(k, _)| k.index == key.index));
                    live.push((key, n as u32));
                } else {
                    let (key, value) = live.swap_remove(usize::from(pick) % live.len());
                    prop_assert_eq!(slab.remove(key), Some(value));
                    dead.push(key);
                }
                prop_assert_eq!(slab.len() as usize, live.len());
                for (key, value) in &live {
                    prop_assert_eq!(slab.get(*key), Some(value));
                }
                for key in &dead {
                    prop_assert_eq!(slab.get(*key), None);
                    prop_assert_eq!(slab.remove(*key), None);
                }
            }
        }
    }
}
