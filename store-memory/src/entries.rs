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
use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry;
use store_core::{Condition, Error, ErrorKind, Expiry, Result, ScanPage, Ttl, TtlMillis};

use crate::clock::{Clock, Deadline, Now};
use crate::expiry::Sweeper;
use crate::slot::Slot;
use crate::stripe::{Stripe, Swept};

/// A power of two. With a million entries a stripe has about four thousand.
const STRIPES: usize = 256;

/// Which bits of a hash choose the stripe: none of those that a table places a slot by, which are
/// the lowest ones and the seven highest.
const STRIPE_SHIFT: u32 = 40;

/// A page of a scan ends after this many entries, even if hardly one had the prefix, so that a
/// scan of a large store does not hold up its thread.
const VISITED_PER_PAGE: usize = 4096;

/// All entries of a driver.
pub(crate) struct Entries {
    stripes: Box<[Stripe]>,
    hasher: RandomState,
    clock: Clock,
    sweeper: Sweeper,
    closed: AtomicBool,
    // For the sweeper's thread, which must not keep the entries alive.
    this: Weak<Self>,
}

/// A value as it was stored, and when it dies.
pub(crate) struct Seen {
    value: Bytes,
    deadline: Option<Deadline>,
}

/// What a write did.
pub(crate) struct Written<P> {
    pub(crate) done: bool,
    /// What was seen of the slot that was replaced, if it was live.
    pub(crate) previous: Option<P>,
}

impl<P> Written<P> {
    const NOT: Self = Self {
        done: false,
        previous: None,
    };
}

impl Entries {
    pub(crate) fn new(sweep_interval: Duration) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            stripes: (0..STRIPES).map(|_| Stripe::new()).collect(),
            hasher: RandomState::default(),
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
        for stripe in &self.stripes {
            stripe.close();
        }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.read(key, |slot, _| slot.value())
    }

    /// What is stored under `key`, whether or not it still lives: that depends on the clock, and so
    /// on the runtime that polls, which need not be there yet.
    pub(crate) fn glance(&self, key: &str) -> Result<Option<Seen>> {
        let (hash, stripe) = self.place(key);
        let table = stripe.read();
        let Some(slot) = table.find(hash, key) else {
            return self.nothing();
        };
        Ok(Some(Seen {
            value: slot.value(),
            deadline: slot.deadline,
        }))
    }

    /// The value that was seen, or if it has died since, what is there now.
    pub(crate) fn look(&self, key: &str, seen: Seen) -> Result<Option<Bytes>> {
        if self.clock.lazy().is_past(seen.deadline) {
            return self.get(key);
        }
        Ok(Some(seen.value))
    }

    pub(crate) fn has(&self, key: &str) -> Result<bool> {
        self.read(key, |_, _| ()).map(|found| found.is_some())
    }

    pub(crate) fn ttl(&self, key: &str) -> Result<Ttl> {
        let ttl = self.read(key, |slot, now| match slot.deadline {
            None => Ttl::Forever,
            Some(deadline) => Ttl::Left(deadline.left(now.get())),
        })?;
        Ok(ttl.unwrap_or(Ttl::Missing))
    }

    /// Writes a value if `condition` holds. `see` looks at the live slot that it replaces.
    pub(crate) fn write<P>(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
        see: impl Fn(&Slot) -> P,
    ) -> Result<Written<P>> {
        let ttl = match expiry {
            Expiry::Never | Expiry::Keep => None,
            Expiry::After(ttl) => Some(ttl),
            _ => return Err(Error::unsupported("memory", "such an expiry")),
        };
        let (hash, stripe) = self.place(key);
        let mut new: Option<Slot> = None;
        loop {
            // Anew each time: others may have found the entry dead meanwhile.
            let now = self.clock.lazy();
            let given = || ttl.map(|ttl| Deadline::after(now.get(), ttl));
            let mut table = stripe.write();
            let written = match table.entry(hash, key, self.rehash()) {
                Entry::Occupied(mut slot) => {
                    let slot = slot.get_mut();
                    let live = Some(&*slot).filter(|slot| slot.is_live(&now));
                    if !holds(condition, live)? {
                        return Ok(Written::NOT);
                    }
                    let deadline = match live {
                        Some(live) if expiry == Expiry::Keep => live.deadline,
                        _ => given(),
                    };
                    if slot.fits(value) {
                        let previous = live.map(&see);
                        slot.overwrite(value, deadline);
                        Some((previous, None, deadline))
                    } else if let Some(mut new) = new.take() {
                        let previous = live.map(&see);
                        new.deadline = deadline;
                        Some((previous, Some(mem::replace(slot, new)), deadline))
                    } else {
                        None
                    }
                }
                // Asked under the lock: `close` either finds the new entry, or is seen here.
                Entry::Vacant(_) if self.is_closed() => return Err(Error::closed()),
                Entry::Vacant(_) if !holds(condition, None)? => return Ok(Written::NOT),
                Entry::Vacant(place) => new.take().map(|mut new| {
                    new.deadline = given();
                    (None, None, place.insert(new).get().deadline)
                }),
            };
            drop(table);
            // Slots are made and freed while the stripe is not locked: an allocator may take long.
            let Some((previous, garbage, deadline)) = written else {
                new = Some(Slot::new(key, value, None));
                continue;
            };
            drop(garbage);
            self.note(stripe, ttl.and(deadline));
            return Ok(Written {
                done: true,
                previous,
            });
        }
    }

    pub(crate) fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        let now = self.clock.lazy();
        let (hash, stripe) = self.place(key);
        let mut table = stripe.write();
        let created = || {
            let deadline = initial_ttl.map(|ttl| Deadline::after(now.get(), ttl));
            (Slot::counter(key, delta, deadline), deadline)
        };
        let (dead, deadline) = match table.entry(hash, key, self.rehash()) {
            Entry::Occupied(mut slot) if slot.get().is_live(&now) => {
                return slot.get_mut().increment(delta);
            }
            Entry::Occupied(mut slot) => {
                let (new, deadline) = created();
                (Some(mem::replace(slot.get_mut(), new)), deadline)
            }
            Entry::Vacant(_) if self.is_closed() => return Err(Error::closed()),
            Entry::Vacant(place) => {
                let (new, deadline) = created();
                place.insert(new);
                (None, deadline)
            }
        };
        drop(table);
        drop(dead);
        self.note(stripe, deadline);
        Ok(delta)
    }

    pub(crate) fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        let deadline = self.change(key, |slot, now| {
            slot.deadline = Some(Deadline::after(now.get(), ttl));
            slot.deadline
        })?;
        if let Some(deadline) = deadline {
            self.note(self.place(key).1, deadline);
        }
        Ok(deadline.is_some())
    }

    pub(crate) fn persist(&self, key: &str) -> Result<bool> {
        let persisted = self.change(key, |slot, _| slot.deadline.take().is_some());
        Ok(persisted?.unwrap_or(false))
    }

    /// Removes `key` if it is live and `condition` holds for it; answers what it was.
    pub(crate) fn remove_if(
        &self,
        key: &str,
        condition: impl FnOnce(&Slot) -> bool,
    ) -> Result<Option<Slot>> {
        let now = self.clock.lazy();
        let (hash, stripe) = self.place(key);
        let mut table = stripe.write();
        let Some(slot) = table.find_entry(hash, key) else {
            return self.nothing();
        };
        let was_live = slot.get().is_live(&now);
        // A dead one may go on this occasion.
        if was_live && !condition(slot.get()) {
            return Ok(None);
        }
        let (removed, _) = slot.remove();
        drop(table);
        Ok(Some(removed).filter(|_| was_live))
    }

    /// One page of a scan. A cursor is the number of the stripe where the page begins.
    ///
    /// A key never moves to another stripe, and of one stripe a page has all or none. So
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
        for (index, stripe) in self.stripes.iter().enumerate().skip(start) {
            if page.keys.len() >= page_size.max(1) || visited >= VISITED_PER_PAGE.max(page_size) {
                page.cursor = Some(index.to_string());
                break;
            }
            let table = stripe.read();
            visited += table.len();
            for slot in table.iter() {
                if slot.key().starts_with(prefix.as_bytes()) && slot.is_live(&now) {
                    page.keys
                        .extend(str::from_utf8(slot.key()).map(str::to_owned));
                }
            }
        }
        // What `close` has emptied meanwhile would be missing.
        match self.is_closed() {
            true => Err(Error::closed()),
            false => Ok(page),
        }
    }

    /// How many entries take memory, those that have expired and were not swept included.
    pub(crate) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.read().len()).sum()
    }

    /// Removes what has expired. Answers early if nothing else holds the entries any more.
    pub(crate) fn sweep(self: &Arc<Self>) -> Swept {
        let mut sum = Swept::default();
        let moment = self.clock.moment();
        for stripe in &self.stripes {
            if !stripe.is_due(moment) {
                continue;
            }
            let swept = stripe.sweep(moment, self.rehash());
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
        self.stripes.iter().any(Stripe::has_deadlines)
    }

    #[cfg(test)]
    pub(crate) fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    /// The hash of `key`, and the stripe it belongs to.
    fn place(&self, key: &str) -> (u64, &Stripe) {
        let hash = self.hasher.hash_one(key.as_bytes());
        (
            hash,
            &self.stripes[(hash >> STRIPE_SHIFT) as usize % STRIPES],
        )
    }

    /// What a table that grows or shrinks asks for.
    fn rehash(&self) -> impl Fn(&Slot) -> u64 {
        |slot| self.hasher.hash_one(slot.key())
    }

    /// Runs `read` on the slot of `key` if it is live.
    fn read<T>(&self, key: &str, read: impl FnOnce(&Slot, &Now<'_>) -> T) -> Result<Option<T>> {
        let now = self.clock.lazy();
        let (hash, stripe) = self.place(key);
        let table = stripe.read();
        let Some(slot) = table.find(hash, key) else {
            return self.nothing();
        };
        Ok(slot.is_live(&now).then(|| read(slot, &now)))
    }

    /// Runs `change` on the slot of `key` if it is live.
    fn change<T>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Slot, &Now<'_>) -> T,
    ) -> Result<Option<T>> {
        let now = self.clock.lazy();
        let (hash, stripe) = self.place(key);
        let mut table = stripe.write();
        let Some(slot) = table.find_mut(hash, key) else {
            return self.nothing();
        };
        Ok(slot.is_live(&now).then(|| change(slot, &now)))
    }

    /// That a table, which is locked, has no slot of a key: it is absent, unless `close` has emptied
    /// the table.
    fn nothing<T>(&self) -> Result<Option<T>> {
        match self.is_closed() {
            true => Err(Error::closed()),
            false => Ok(None),
        }
    }

    /// Lets the sweeper know of a deadline that was just written.
    fn note(&self, stripe: &Stripe, deadline: Option<Deadline>) {
        if deadline.is_some_and(|deadline| stripe.note(deadline)) {
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

/// Whether `condition` holds for a live slot, or for none.
fn holds(condition: Condition<'_>, live: Option<&Slot>) -> Result<bool> {
    Ok(match condition {
        Condition::Always => true,
        Condition::IfAbsent => live.is_none(),
        Condition::IfPresent => live.is_some(),
        Condition::IfEquals(expected) => live.is_some_and(|slot| slot.equals(expected)),
        _ => return Err(Error::unsupported("memory", "such a condition")),
    })
}

fn parse_cursor(cursor: &str) -> Result<usize> {
    // Exactly what `scan_page` writes: no sign, no leading zero, no number of no stripe.
    cursor
        .parse()
        .ok()
        .filter(|index| (1..STRIPES).contains(index) && index.to_string() == cursor)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "the cursor is none that this driver gave out",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_close_has_emptied_is_not_absent() {
        let entries = Entries::new(Duration::from_secs(60));
        let write = |condition| {
            let written = entries.write("k", b"v", Expiry::Never, condition, |_| ());
            written.map(|written| written.done)
        };
        assert!(write(Condition::Always).unwrap());
        entries.close();
        let ttl = TtlMillis::new(Duration::from_secs(1)).unwrap();
        for answer in [
            entries.get("k").map(drop),
            entries.glance("k").map(drop),
            entries.has("k").map(drop),
            entries.ttl("k").map(drop),
            entries.expire("k", ttl).map(drop),
            entries.persist("k").map(drop),
            entries.remove_if("k", |_| true).map(drop),
            entries.increment("k", 1, None).map(drop),
            entries.scan_page("", None, 10).map(drop),
            write(Condition::Always).map(drop),
            write(Condition::IfAbsent).map(drop),
            write(Condition::IfPresent).map(drop),
            write(Condition::IfEquals(b"v")).map(drop),
        ] {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
        }
    }
}
