//! The entries: every operation on keys, each one atomic step under the lock of its key.
//!
//! An entry whose deadline has passed is absent to all of them; when its memory is freed is the
//! sweeper's business.

use std::fmt;
use std::hash::BuildHasher;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use dashmap::Entry;
use dashmap::mapref::one::RefMut;
use foldhash::fast::RandomState;
use store_core::{Condition, Error, ErrorKind, Expiry, Result, ScanPage, Ttl, TtlMillis};

use crate::clock::{Clock, Deadline, Now};
use crate::expiry::Sweeper;
use crate::partition::{Partition, Slot, Slots, Swept};
use crate::value::Value;

/// A power of two. With a million entries a partition has about a thousand, in two shards.
const PARTITIONS: usize = 1024;

/// A page of a scan ends after this many entries, even if hardly one had the prefix, so that a
/// scan of a large store does not hold up its thread.
const VISITED_PER_PAGE: usize = 4096;

/// All entries of a driver.
pub(crate) struct Entries {
    partitions: Box<[Partition]>,
    // Not the hasher of the maps: keys of one partition would be alike in the bits they are
    // spread by within it.
    partition_hasher: RandomState,
    clock: Clock,
    sweeper: Sweeper,
    closed: AtomicBool,
    // For the sweeper's thread, which must not keep the entries alive.
    this: Weak<Self>,
}

/// What a write did.
pub(crate) struct Written {
    pub(crate) done: bool,
    /// The value that was replaced, if the key was live.
    pub(crate) previous: Option<Value>,
}

impl Written {
    const NOT: Self = Self {
        done: false,
        previous: None,
    };
}

impl Entries {
    pub(crate) fn new(sweep_interval: Duration) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            partitions: (0..PARTITIONS).map(|_| Partition::new()).collect(),
            partition_hasher: RandomState::default(),
            clock: Clock::new(),
            sweeper: Sweeper::new(sweep_interval),
            closed: AtomicBool::new(false),
            this: Weak::clone(this),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Removes everything and lets nothing in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.sweeper.stop();
        for partition in &self.partitions {
            partition.close();
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.read(key, |slot, _| slot.value.to_bytes())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.read(key, |_, _| ()).is_some()
    }

    pub(crate) fn ttl(&self, key: &str) -> Ttl {
        self.read(key, |slot, now| match slot.deadline {
            None => Ttl::Forever,
            Some(deadline) => Ttl::Left(deadline.left(now.get())),
        })
        .unwrap_or(Ttl::Missing)
    }

    pub(crate) fn write(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<Written> {
        let now = self.clock.lazy();
        let value = Value::new(value);
        let given = match expiry {
            Expiry::Never | Expiry::Keep => None,
            Expiry::After(ttl) => Some(Deadline::after(now.get(), ttl)),
            _ => return Err(Error::unsupported("memory", "such an expiry")),
        };
        let partition = self.partition(key);
        let slot = match condition {
            Condition::Always | Condition::IfAbsent => Some(self.slot_to_write(partition, key)?),
            _ => partition.slots().and_then(|slots| slots.get_mut(key)),
        };
        let Some(mut slot) = slot else {
            return Ok(Written::NOT);
        };
        let was_live = slot.is_live(&now);
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => !was_live,
            Condition::IfPresent => was_live,
            Condition::IfEquals(expected) => was_live && slot.value.equals(expected),
            _ => return Err(Error::unsupported("memory", "such a condition")),
        };
        if !holds {
            return Ok(Written::NOT);
        }
        let deadline = match expiry {
            Expiry::Keep if was_live => slot.deadline,
            _ => given,
        };
        // The old value is handed out, so that it is freed when the key is not locked any more.
        let previous = mem::replace(&mut *slot, Slot { value, deadline });
        drop(slot);
        self.note(partition, given);
        Ok(Written {
            done: true,
            previous: was_live.then_some(previous.value),
        })
    }

    pub(crate) fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        let now = self.clock.lazy();
        let partition = self.partition(key);
        let mut slot = self.slot_to_write(partition, key)?;
        if slot.is_live(&now) {
            return slot.value.increment(delta);
        }
        let deadline = initial_ttl.map(|ttl| Deadline::after(now.get(), ttl));
        let value = Value::Counter(delta);
        let dead = mem::replace(&mut *slot, Slot { value, deadline });
        drop(slot);
        drop(dead);
        self.note(partition, deadline);
        Ok(delta)
    }

    pub(crate) fn expire(&self, key: &str, ttl: TtlMillis) -> bool {
        let now = self.clock.lazy();
        let partition = self.partition(key);
        let Some(mut slot) = partition.slots().and_then(|slots| slots.get_mut(key)) else {
            return false;
        };
        if !slot.is_live(&now) {
            return false;
        }
        slot.deadline = Some(Deadline::after(now.get(), ttl));
        let deadline = slot.deadline;
        drop(slot);
        self.note(partition, deadline);
        true
    }

    pub(crate) fn persist(&self, key: &str) -> bool {
        let now = self.clock.lazy();
        let slots = self.partition(key).slots();
        let Some(mut slot) = slots.and_then(|slots| slots.get_mut(key)) else {
            return false;
        };
        slot.is_live(&now) && slot.deadline.take().is_some()
    }

    /// Removes `key` if it is live and `condition` holds for its value; answers the value.
    pub(crate) fn remove_if(
        &self,
        key: &str,
        condition: impl FnOnce(&Value) -> bool,
    ) -> Option<Value> {
        let now = self.clock.lazy();
        let mut was_live = false;
        let slots = self.partition(key).slots()?;
        let removed = slots.remove_if(key, |_, slot| {
            was_live = slot.is_live(&now);
            // A dead one may go on this occasion.
            !was_live || condition(&slot.value)
        });
        removed.filter(|_| was_live).map(|(_, slot)| slot.value)
    }

    /// One page of a scan. A cursor is the number of the partition where the page begins.
    ///
    /// A key never moves to another partition, and of one partition a page has all or none. So
    /// a key that stays through the scan is in exactly one of its pages.
    pub(crate) fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let start = cursor.map_or(Ok(0), parse_cursor)?;
        let now = self.clock.lazy();
        let mut page = ScanPage::default();
        let mut visited = 0;
        for (index, partition) in self.partitions.iter().enumerate().skip(start) {
            if page.keys.len() >= page_size.max(1) || visited >= VISITED_PER_PAGE.max(page_size) {
                page.cursor = Some(index.to_string());
                break;
            }
            for entry in partition.used_slots().into_iter().flatten() {
                visited += 1;
                if entry.key().starts_with(prefix) && entry.value().is_live(&now) {
                    page.keys.push(entry.key().to_string());
                }
            }
        }
        Ok(page)
    }

    /// How many entries take memory, those that have expired and were not swept included.
    pub(crate) fn len(&self) -> usize {
        let used = self.partitions.iter().filter_map(Partition::used_slots);
        used.map(Slots::len).sum()
    }

    /// Removes what has expired. Answers early if nothing else holds the entries any more.
    pub(crate) fn sweep(self: &Arc<Self>) -> Swept {
        let mut sum = Swept::default();
        let moment = self.clock.moment();
        for partition in &self.partitions {
            if !partition.is_due(moment) {
                continue;
            }
            let swept = partition.sweep(moment);
            sum.removed += swept.removed;
            sum.kept += swept.kept;
            if Arc::strong_count(self) == 1 {
                break;
            }
        }
        sum
    }

    /// Whether an entry may have a deadline.
    pub(crate) fn has_deadlines(&self) -> bool {
        self.partitions.iter().any(Partition::has_deadlines)
    }

    #[cfg(test)]
    pub(crate) fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    fn partition(&self, key: &str) -> &Partition {
        let hash = self.partition_hasher.hash_one(key);
        // The cast may cut off the upper half; the lower bits are the ones that count.
        &self.partitions[hash as usize % PARTITIONS]
    }

    /// Runs `read` on the slot of `key` if it is live.
    fn read<T>(&self, key: &str, read: impl FnOnce(&Slot, &Now<'_>) -> T) -> Option<T> {
        let now = self.clock.lazy();
        let slot = self.partition(key).slots()?.get(key)?;
        slot.is_live(&now).then(|| read(&slot, &now))
    }

    /// The locked slot of `key`; a dead one, which the caller must fill, if there was none.
    fn slot_to_write<'a>(
        &'a self,
        partition: &'a Partition,
        key: &str,
    ) -> Result<RefMut<'a, Box<str>, Slot>> {
        let slots = partition.slots().ok_or_else(Error::closed)?;
        // Tried first, since `entry` asks for a key of its own.
        if let Some(slot) = slots.get_mut(key) {
            return Ok(slot);
        }
        match slots.entry(Box::from(key)) {
            Entry::Occupied(slot) => Ok(slot.into_ref()),
            // Asked under the lock: `close` either finds the new entry, or is seen here.
            Entry::Vacant(_) if self.is_closed() => Err(Error::closed()),
            Entry::Vacant(place) => Ok(place.insert(Slot::dead())),
        }
    }

    /// Lets the sweeper know of a deadline that was just written.
    fn note(&self, partition: &Partition, deadline: Option<Deadline>) {
        if deadline.is_some_and(|deadline| partition.note(deadline)) {
            self.sweeper.wake(&self.this);
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

fn parse_cursor(cursor: &str) -> Result<usize> {
    // Exactly what `scan_page` writes: no sign, no leading zero, no number of no partition.
    cursor
        .parse()
        .ok()
        .filter(|index| (1..PARTITIONS).contains(index) && index.to_string() == cursor)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "the cursor is none that this driver gave out",
            )
        })
}
