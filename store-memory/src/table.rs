//! The slots behind one lock, by key, in a table that can be gone through piece by piece.
//!
//! Separate so that only here is known when a table moves its slots.

use std::mem;

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

use crate::slot::Slot;

/// A table is given back once it has this many places and fewer than a quarter are taken.
const SHRINKABLE: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: HashTable<Slot>,
    /// How often the slots may have changed their places, modulo 2^32.
    moves: u32,
}

/// Where a walk through a table has come to.
#[derive(Debug, Default)]
pub(crate) struct Position {
    next: usize,
    moves: u32,
}

impl Table {
    pub(crate) fn find(&self, hash: u64, key: &str) -> Option<&Slot> {
        self.slots.find(hash, |slot| slot.key() == key.as_bytes())
    }

    pub(crate) fn find_mut(&mut self, hash: u64, key: &str) -> Option<&mut Slot> {
        self.slots
            .find_mut(hash, |slot| slot.key() == key.as_bytes())
    }

    pub(crate) fn find_entry(&mut self, hash: u64, key: &str) -> Option<OccupiedEntry<'_, Slot>> {
        let entry = self
            .slots
            .find_entry(hash, |slot| slot.key() == key.as_bytes());
        entry.ok()
    }

    /// The slot of `key`, or a place for it. `hash_of` is asked where the table has to grow.
    pub(crate) fn entry(
        &mut self,
        hash: u64,
        key: &str,
        hash_of: impl Fn(&Slot) -> u64,
    ) -> Entry<'_, Slot> {
        if self.slots.len() == self.slots.capacity() {
            // It now makes room for one more, in another table or among its own places.
            self.moves = self.moves.wrapping_add(1);
        }
        let is_it = |slot: &Slot| slot.key() == key.as_bytes();
        self.slots.entry(hash, is_it, hash_of)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// A walk from the beginning.
    pub(crate) fn start(&self) -> Position {
        Position {
            next: 0,
            moves: self.moves,
        }
    }

    /// Whether the slots still have the places that they had when the walk to `position` began.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        self.moves == position.moves
    }

    /// Goes on with a walk past so many places, and takes out the slots for which `leaves` says
    /// so, at most as many as `garbage` has room for. Answers whether it has come to the end.
    pub(crate) fn walk(
        &mut self,
        position: &mut Position,
        places: usize,
        garbage: &mut Vec<Slot>,
        mut leaves: impl FnMut(&Slot) -> bool,
    ) -> bool {
        let end = self.slots.num_buckets().min(position.next + places);
        while position.next < end && garbage.len() < garbage.capacity() {
            if self
                .slots
                .get_bucket(position.next)
                .is_some_and(&mut leaves)
                && let Ok(slot) = self.slots.get_bucket_entry(position.next)
            {
                garbage.push(slot.remove().0);
            }
            position.next += 1;
        }
        position.next >= self.slots.num_buckets()
    }

    /// How many slots there are, if they leave most of the places free.
    pub(crate) fn few(&self) -> Option<usize> {
        let places = self.slots.num_buckets();
        let are_few = places >= SHRINKABLE && self.slots.len() < places / 4;
        are_few.then_some(self.slots.len())
    }

    /// An empty table for so many slots.
    pub(crate) fn with_room(slots: usize) -> Self {
        Self {
            slots: HashTable::with_capacity(slots),
            moves: 0,
        }
    }

    /// Moves all slots to `smaller`, which takes the place of this table, unless that has changed
    /// meanwhile. Answers the one that is left over.
    pub(crate) fn move_to(&mut self, mut smaller: Self, hash_of: impl Fn(&Slot) -> u64) -> Self {
        if self
            .few()
            .is_some_and(|few| few <= smaller.slots.capacity())
        {
            for slot in self.slots.drain() {
                smaller.slots.insert_unique(hash_of(&slot), slot, &hash_of);
            }
            smaller.moves = self.moves.wrapping_add(1);
            mem::swap(self, &mut smaller);
        }
        smaller
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.slots.num_buckets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that begin with an `a` want the same place.
    fn hash(key: &[u8]) -> u64 {
        if key.starts_with(b"a") {
            return 0;
        }
        let sum = key
            .iter()
            .fold(7_u64, |sum, byte| sum * 31 + u64::from(*byte));
        sum.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn insert(table: &mut Table, key: &str) {
        match table.entry(hash(key.as_bytes()), key, |slot| hash(slot.key())) {
            Entry::Vacant(place) => drop(place.insert(Slot::new(key, b"", None))),
            Entry::Occupied(_) => panic!("{key} is there"),
        }
    }

    /// The keys in the order of their places.
    fn keys(table: &mut Table, places: usize) -> Vec<Vec<u8>> {
        let (mut position, mut keys) = (table.start(), Vec::new());
        let mut garbage = Vec::with_capacity(1);
        while !table.walk(&mut position, places, &mut garbage, |slot| {
            keys.push(slot.key().to_vec());
            false
        }) {}
        keys
    }

    #[test]
    fn a_walk_in_pieces_meets_every_slot_once() {
        let mut table = Table::default();
        assert!(keys(&mut table, 1).is_empty());
        for number in 0..100 {
            insert(&mut table, &number.to_string());
        }
        let whole = keys(&mut table, usize::MAX / 2);
        assert_eq!(whole.len(), 100);
        for places in [1, 7, 100] {
            assert_eq!(keys(&mut table, places), whole);
        }
    }

    #[test]
    fn a_walk_stops_where_there_is_no_room_for_more() {
        let mut table = Table::default();
        for number in 0..100 {
            insert(&mut table, &number.to_string());
        }
        let mut position = table.start();
        let mut steps = 0;
        loop {
            let mut garbage = Vec::with_capacity(8);
            let is_over = table.walk(&mut position, 1_000, &mut garbage, |_| true);
            steps += 1;
            assert!(garbage.len() <= 8);
            if is_over {
                break;
            }
        }
        assert_eq!((table.len(), steps), (0, 13));
    }

    #[test]
    fn slots_never_move_under_a_walk_without_being_noticed() {
        let mut table = Table::default();
        let mut before = (table.start(), Vec::new());
        let mut check = |table: &mut Table| {
            let now = keys(table, 1_000);
            if table.holds(&before.0) {
                let stayed = |keys: &[Vec<u8>], others: &[Vec<u8>]| -> Vec<Vec<u8>> {
                    let both = keys.iter().filter(|key| others.contains(key));
                    both.cloned().collect()
                };
                assert_eq!(stayed(&now, &before.1), stayed(&before.1, &now));
            }
            before = (table.start(), now);
        };
        let mut come = |table: &mut Table, key: String| {
            insert(table, &key);
            check(table);
        };
        let go = |table: &mut Table, key: String| {
            let slot = table.find_entry(hash(key.as_bytes()), &key);
            slot.expect("it is there").remove();
        };
        // It grows. Then all go, and as they stood in one row, few of their places count as free.
        for number in 0..200 {
            come(&mut table, format!("a{number}"));
        }
        for number in 0..200 {
            go(&mut table, format!("a{number}"));
        }
        let (grown, places) = (table.moves, table.places());
        // So it soon has to make room among its own places.
        for number in 0..1_000 {
            come(&mut table, number.to_string());
            if number >= 10 {
                go(&mut table, (number - 10).to_string());
            }
        }
        assert!(table.moves > grown);
        assert_eq!(table.places(), places);
    }

    #[test]
    fn a_table_of_which_little_is_left_moves_to_a_smaller_one() {
        let mut table = Table::default();
        for number in 0..1_000 {
            insert(&mut table, &number.to_string());
        }
        assert!(table.few().is_none());
        let mut garbage = Vec::with_capacity(1_000);
        let mut position = table.start();
        let mut left = 10;
        table.walk(&mut position, 4_000, &mut garbage, |_| {
            left -= 1;
            left < 0
        });
        let before = table.start();
        let smaller = Table::with_room(table.few().unwrap());
        let old = table.move_to(smaller, |slot| hash(slot.key()));
        assert_eq!((table.len(), old.len()), (10, 0));
        assert!(old.places() >= 1_000 && table.places() < 100);
        assert!(!table.holds(&before));
        let left = keys(&mut table, 100);
        assert!(left.iter().all(|key| {
            let key = str::from_utf8(key).unwrap();
            table.find(hash(key.as_bytes()), key).is_some()
        }));
    }

    #[test]
    fn a_table_that_has_changed_meanwhile_stays() {
        let hash_of = |slot: &Slot| hash(slot.key());
        let mut table = Table::default();
        // It was emptied, and has no places to give back.
        let left_over = table.move_to(Table::with_room(100), hash_of);
        assert!(table.places() <= 1 && left_over.places() >= 100);
        // It has more than there is room for.
        for number in 0..100 {
            insert(&mut table, &number.to_string());
        }
        let left_over = table.move_to(Table::with_room(10), hash_of);
        assert_eq!((table.len(), left_over.len()), (100, 0));
    }
}
