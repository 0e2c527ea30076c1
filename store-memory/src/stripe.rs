//! One part of the entries: some of the keys under one lock, and the earliest deadline among them.
//!
//! The entries are cut into parts so that operations on different keys do not wait for each other,
//! a scan can go on where it stopped, and a sweep can skip and never blocks for long.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::clock::{Deadline, Moment};
use crate::slot::Slot;
use crate::table::Table;

/// Stands for "no entry has a deadline"; greater than every deadline's number.
const NO_DEADLINE: u64 = u64::MAX;

/// How many slots a sweep removes, and how many places it looks at, before it lets others have the
/// lock: a few microseconds.
const SWEPT_AT_ONCE: usize = 64;
const LOOKED_AT_ONCE: usize = 1024;

/// A lock, the slots behind it, and their earliest deadline, in a cache line of their own.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Stripe {
    table: RwLock<Table>,
    /// Never later than the earliest deadline of a slot; earlier after a slot was rewritten.
    earliest: AtomicU64,
}

/// What a sweep of one stripe or more found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) removed: usize,
    pub(crate) kept: usize,
}

impl Stripe {
    pub(crate) fn new() -> Self {
        Self {
            table: RwLock::default(),
            earliest: AtomicU64::new(NO_DEADLINE),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the deadline of a slot that was written before this call; answers whether it
    /// is now the earliest.
    ///
    /// The order matters: a sweep resets `earliest` first and looks at the slots afterwards. So it
    /// either sees the slot, or the slot was written after the reset, and then this call comes
    /// after it too.
    pub(crate) fn note(&self, deadline: Deadline) -> bool {
        let number = deadline.number();
        // Relaxed: the lock that the slot was written under has ordered this with the sweep.
        number < self.earliest.load(Ordering::Relaxed)
            && number < self.earliest.fetch_min(number, Ordering::Relaxed)
    }

    pub(crate) fn has_deadlines(&self) -> bool {
        self.earliest.load(Ordering::Relaxed) != NO_DEADLINE
    }

    pub(crate) fn is_due(&self, moment: Moment) -> bool {
        // NO_DEADLINE reads as a deadline that no moment reaches.
        Deadline::from_number(self.earliest.load(Ordering::Relaxed)).has_passed(moment)
    }

    /// Removes the slots whose deadline has passed, a few at a time.
    pub(crate) fn sweep(&self, moment: Moment, hash_of: impl Fn(&Slot) -> u64) -> Swept {
        self.earliest.store(NO_DEADLINE, Ordering::Relaxed);
        let mut removed = 0;
        let mut kept = 0;
        let mut earliest = NO_DEADLINE;
        let mut garbage = Vec::with_capacity(SWEPT_AT_ONCE);
        let mut position = self.read().start();
        loop {
            let mut table = self.write();
            if !table.holds(&position) {
                // Others have made it grow meanwhile, and some slots may now be where it was.
                position = table.start();
                kept = 0;
                earliest = NO_DEADLINE;
            }
            let is_past = |slot: &Slot| match slot.deadline {
                Some(deadline) if deadline.has_passed(moment) => true,
                deadline => {
                    kept += 1;
                    earliest = earliest.min(deadline.map_or(NO_DEADLINE, Deadline::number));
                    false
                }
            };
            let is_over = table.walk(&mut position, LOOKED_AT_ONCE, &mut garbage, is_past);
            removed += garbage.len();
            if is_over {
                self.earliest.fetch_min(earliest, Ordering::Relaxed);
            }
            drop(table);
            // Freed while the stripe is not locked: an allocator may take long.
            garbage.clear();
            if is_over {
                if removed > 0 {
                    self.shrink(hash_of);
                }
                return Swept { removed, kept };
            }
        }
    }

    /// Gives back the memory of a table of which little is left.
    fn shrink(&self, hash_of: impl Fn(&Slot) -> u64) {
        let few = self.read().few();
        if let Some(few) = few {
            let smaller = Table::with_room(few);
            let old = self.write().move_to(smaller, hash_of);
            drop(old);
        }
    }

    /// Removes everything and gives the memory back. The driver has been marked as closed, which
    /// whoever locks the stripe after this call finds as well.
    pub(crate) fn close(&self) {
        let garbage = mem::take(&mut *self.write());
        self.earliest.store(NO_DEADLINE, Ordering::Relaxed);
        drop(garbage);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use hashbrown::hash_table::Entry;
    use store_core::TtlMillis;

    use super::*;
    use crate::clock::Clock;

    /// As good as any, where keys are this short.
    fn hash(slot: &Slot) -> u64 {
        let numbers = slot.key().iter().map(|byte| u64::from(*byte));
        numbers
            .fold(7, |sum: u64, number| sum.wrapping_mul(31) ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn insert(stripe: &Stripe, key: &str, deadline: Option<Deadline>) {
        let slot = Slot::new(key, b"value", deadline);
        let mut table = stripe.write();
        match table.entry(hash(&slot), key, hash) {
            Entry::Vacant(place) => drop(place.insert(slot)),
            Entry::Occupied(_) => panic!("{key} is there"),
        }
        drop(table);
        if let Some(deadline) = deadline {
            stripe.note(deadline);
        }
    }

    fn later(moment: Moment) -> Deadline {
        Deadline::after(moment, TtlMillis::new(Duration::from_secs(1)).unwrap())
    }

    #[test]
    fn a_stripe_is_one_cache_line() {
        assert_eq!(size_of::<Stripe>(), 64);
    }

    #[test]
    fn a_sweep_removes_what_is_past_and_remembers_the_rest() {
        let moment = Clock::new().moment();
        let stripe = Stripe::new();
        assert!(!stripe.is_due(moment));
        insert(&stripe, "past", Some(Deadline::PAST));
        insert(&stripe, "later", Some(later(moment)));
        insert(&stripe, "forever", None);
        assert!(stripe.is_due(moment));
        let swept = stripe.sweep(moment, hash);
        assert_eq!((swept.removed, swept.kept), (1, 2));
        assert!(!stripe.is_due(moment));
        assert!(stripe.has_deadlines());
        assert!(stripe.read().iter().all(|slot| slot.key() != b"past"));
    }

    #[test]
    fn nothing_is_due_when_the_last_deadline_was_swept() {
        let moment = Clock::new().moment();
        let stripe = Stripe::new();
        insert(&stripe, "past", Some(Deadline::PAST));
        insert(&stripe, "forever", None);
        stripe.sweep(moment, hash);
        assert!(!stripe.has_deadlines());
    }

    #[test]
    fn a_deadline_that_is_noted_while_a_sweep_goes_on_is_not_forgotten() {
        let moment = Clock::new().moment();
        let stripe = Stripe::new();
        for number in 0..4_000 {
            insert(&stripe, &number.to_string(), None);
        }
        let start = Barrier::new(2);
        for round in 0..400 {
            let key = format!("soon {round}");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    stripe.sweep(moment, hash);
                });
                start.wait();
                // In the middle of it, most often.
                while stripe.has_deadlines() {
                    std::hint::spin_loop();
                }
                insert(&stripe, &key, Some(later(moment)));
            });
            assert!(stripe.has_deadlines());
            let slot = Slot::new(&key, b"", None);
            let mut table = stripe.write();
            let found = table.find_entry(hash(&slot), &key);
            found.expect("it is not past").remove();
        }
    }

    #[test]
    fn only_an_earlier_deadline_is_news() {
        let moment = Clock::new().moment();
        let stripe = Stripe::new();
        assert!(stripe.note(later(moment)));
        assert!(!stripe.note(later(moment)));
        assert!(stripe.note(Deadline::PAST));
    }

    #[test]
    fn a_table_is_given_back_when_most_of_it_was_swept() {
        let stripe = Stripe::new();
        for number in 0..10_000 {
            let deadline = (number >= 10).then_some(Deadline::PAST);
            insert(&stripe, &number.to_string(), deadline);
        }
        assert!(stripe.read().places() >= 10_000);
        let swept = stripe.sweep(Clock::new().moment(), hash);
        assert_eq!((swept.removed, swept.kept), (9_990, 10));
        assert_eq!(stripe.read().len(), 10);
        assert!(stripe.read().places() < 100);
        stripe.close();
        assert!(stripe.read().places() <= 1);
    }

    #[test]
    fn a_table_of_which_more_than_a_quarter_is_taken_stays() {
        let stripe = Stripe::new();
        for number in 0..10_000 {
            let deadline = (number >= 6_000).then_some(Deadline::PAST);
            insert(&stripe, &number.to_string(), deadline);
        }
        stripe.sweep(Clock::new().moment(), hash);
        assert_eq!(stripe.read().len(), 6_000);
        assert!(stripe.read().places() >= 10_000);
    }

    #[test]
    fn a_table_of_which_nothing_was_swept_stays() {
        let stripe = Stripe::new();
        for number in 0..1_000 {
            insert(&stripe, &number.to_string(), None);
        }
        let places = stripe.read().places();
        for number in 0..1_000 {
            let key = number.to_string();
            let slot = Slot::new(&key, b"", None);
            stripe
                .write()
                .find_entry(hash(&slot), &key)
                .unwrap()
                .remove();
        }
        stripe.sweep(Clock::new().moment(), hash);
        assert_eq!(stripe.read().places(), places);
    }
}
