//! One part of the map: some of the keys, and the earliest deadline among them.
//!
//! The map is cut into parts so that a scan can go on where it stopped and a sweep can skip, and
//! never blocks for long: DashMap can do neither within one map.

use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use crate::clock::{Deadline, Moment, Now};
use crate::value::Value;

/// The fewest that DashMap takes.
const SHARDS: usize = 2;

/// Stands for "no entry has a deadline"; greater than every deadline's number.
const NO_DEADLINE: u64 = u64::MAX;

/// A table is given back once it has this many places and fewer than a quarter are taken.
const SHRINKABLE: usize = 64;

/// What is stored under a key.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    pub(crate) deadline: Option<Deadline>,
}

impl Slot {
    /// A slot that counts as absent, for a key that is about to be written.
    pub(crate) fn dead() -> Self {
        Self {
            value: Value::Counter(0),
            deadline: Some(Deadline::PAST),
        }
    }

    pub(crate) fn is_live(&self, now: &Now<'_>) -> bool {
        !now.is_past(self.deadline)
    }
}

/// The slots of a partition by key.
pub(crate) type Slots = DashMap<Box<str>, Slot, RandomState>;

#[derive(Debug)]
pub(crate) struct Partition {
    /// Made at first use, so that an empty driver is small and soon made; `None` if the driver was
    /// closed before.
    slots: OnceLock<Option<Slots>>,
    /// Never later than the earliest deadline of a slot; earlier after a slot was rewritten.
    earliest: AtomicU64,
}

/// What a sweep of one partition or more found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) removed: usize,
    pub(crate) kept: usize,
}

impl Partition {
    pub(crate) fn new() -> Self {
        Self {
            slots: OnceLock::new(),
            earliest: AtomicU64::new(NO_DEADLINE),
        }
    }

    /// The slots, or `None` if the driver was closed before the first use of them.
    pub(crate) fn slots(&self) -> Option<&Slots> {
        let make = || DashMap::with_hasher_and_shard_amount(RandomState::default(), SHARDS);
        self.slots.get_or_init(|| Some(make())).as_ref()
    }

    /// The slots, if there ever was one.
    pub(crate) fn used_slots(&self) -> Option<&Slots> {
        self.slots.get()?.as_ref()
    }

    /// Takes note of the deadline of a slot that was written before this call; answers whether it
    /// is now the earliest.
    ///
    /// The order matters: a sweep resets `earliest` first and looks at the slots afterwards. So it
    /// either sees the slot, or the slot was written after the reset, and then this call comes
    /// after it too.
    pub(crate) fn note(&self, deadline: Deadline) -> bool {
        let number = deadline.number();
        // Relaxed: the shard lock that the slot was written under has ordered this with the sweep.
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

    /// Removes the slots whose deadline has passed.
    pub(crate) fn sweep(&self, moment: Moment) -> Swept {
        let mut swept = Swept::default();
        let Some(slots) = self.used_slots() else {
            return swept;
        };
        let mut earliest = NO_DEADLINE;
        let mut garbage = Vec::new();
        self.earliest.store(NO_DEADLINE, Ordering::Relaxed);
        slots.retain(|_, slot| {
            let Some(deadline) = slot.deadline else {
                swept.kept += 1;
                return true;
            };
            if !deadline.has_passed(moment) {
                swept.kept += 1;
                earliest = earliest.min(deadline.number());
                return true;
            }
            // Freed below, when the shard is not locked any more.
            garbage.push(mem::replace(&mut slot.value, Value::Counter(0)));
            false
        });
        self.earliest.fetch_min(earliest, Ordering::Relaxed);
        swept.removed = garbage.len();
        let capacity = slots.capacity();
        if swept.removed > 0 && capacity >= SHRINKABLE && swept.kept < capacity / 4 {
            slots.shrink_to_fit();
        }
        swept
    }

    /// Removes everything and gives the memory back, for good. The driver has been marked as closed.
    ///
    /// Whoever finds the slots after this call finds the mark as well: either they were made by
    /// then, and their lock orders the two, or there never will be any.
    pub(crate) fn close(&self) {
        let Some(slots) = self.slots.get_or_init(|| None) else {
            return;
        };
        let mut garbage = Vec::new();
        slots.retain(|_, slot| {
            garbage.push(mem::replace(&mut slot.value, Value::Counter(0)));
            false
        });
        slots.shrink_to_fit();
        self.earliest.store(NO_DEADLINE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store_core::TtlMillis;

    use super::*;
    use crate::clock::Clock;

    fn insert(partition: &Partition, key: &str, deadline: Option<Deadline>) {
        let value = Value::new(b"value");
        partition
            .slots()
            .unwrap()
            .insert(Box::from(key), Slot { value, deadline });
        if let Some(deadline) = deadline {
            partition.note(deadline);
        }
    }

    fn later(moment: Moment) -> Deadline {
        Deadline::after(moment, TtlMillis::new(Duration::from_secs(1)).unwrap())
    }

    #[test]
    fn a_key_with_its_slot_takes_forty_bytes_of_a_table() {
        assert_eq!(size_of::<(Box<str>, Slot)>(), 40);
    }

    #[test]
    fn a_sweep_removes_what_is_past_and_remembers_the_rest() {
        let moment = Clock::new().moment();
        let partition = Partition::new();
        assert!(!partition.is_due(moment));
        insert(&partition, "past", Some(Deadline::PAST));
        insert(&partition, "later", Some(later(moment)));
        insert(&partition, "forever", None);
        assert!(partition.is_due(moment));
        let swept = partition.sweep(moment);
        assert_eq!((swept.removed, swept.kept), (1, 2));
        assert!(!partition.is_due(moment));
        assert!(partition.has_deadlines());
        assert!(!partition.slots().unwrap().contains_key("past"));
    }

    #[test]
    fn nothing_is_due_when_the_last_deadline_was_swept() {
        let moment = Clock::new().moment();
        let partition = Partition::new();
        insert(&partition, "past", Some(Deadline::PAST));
        insert(&partition, "forever", None);
        partition.sweep(moment);
        assert!(!partition.has_deadlines());
    }

    #[test]
    fn a_partition_that_was_closed_unused_never_has_slots() {
        let partition = Partition::new();
        assert!(partition.used_slots().is_none());
        partition.close();
        assert!(partition.slots().is_none());
    }

    #[test]
    fn only_an_earlier_deadline_is_news() {
        let moment = Clock::new().moment();
        let partition = Partition::new();
        assert!(partition.note(later(moment)));
        assert!(!partition.note(later(moment)));
        assert!(partition.note(Deadline::PAST));
    }

    #[test]
    fn a_table_is_given_back_when_most_of_it_was_swept() {
        let partition = Partition::new();
        for number in 0..10_000 {
            let deadline = (number >= 10).then_some(Deadline::PAST);
            insert(&partition, &number.to_string(), deadline);
        }
        assert!(partition.slots().unwrap().capacity() >= 10_000);
        let swept = partition.sweep(Clock::new().moment());
        assert_eq!((swept.removed, swept.kept), (9_990, 10));
        assert!(partition.slots().unwrap().capacity() < 100);
        partition.close();
        assert_eq!(partition.slots().unwrap().capacity(), 0);
    }
}
