//! Deadlines that outlive their value, begin again by themselves, or reach a part of the entries.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_core::{Bytes, Condition, Expiry, Result, StoreAdapter, Ttl, TtlMillis};
use tokio::time::Instant;

use super::twist::{Twist, drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    take_leaves_the_deadline: "the deadline of a value that was taken is that of the next one",
        ["ttl::delete_then_set_has_no_old_deadline"], Leaves::after(Removal::Take);
    delete_many_leaves_the_deadline: "the deadline of a value that delete_many removed is that of the next one",
        ["ttl::delete_then_set_has_no_old_deadline"], Leaves::after(Removal::DeleteMany);
    compare_and_delete_leaves_the_deadline: "the deadline of a value that compare-and-delete removed is that of the next one",
        ["ttl::delete_then_set_has_no_old_deadline"], Leaves::after(Removal::CompareAndDelete);
    reads_begin_the_ttl_again: "a get gives the key its whole ttl again",
        ["ttl::expires_within_window"], Slides::at(Slide::Get);
    increments_begin_the_ttl_again: "an increment gives the key its whole ttl again",
        ["ttl::incr_keeps_ttl", "counter::incr_initial_ttl_sets_once"], Slides::at(Slide::Increment);
    keep_begins_the_ttl_again: "keep gives the key its whole ttl again",
        ["ttl::keep_ttl_keeps"], Slides::at(Slide::Keep);
    losing_begins_the_ttl_again: "a set that does not write gives the key its whole ttl again",
        ["ttl::failed_condition_keeps_ttl"], Slides::at(Slide::Loser);
    expire_adds: "expire adds to what is left",
        ["ttl::set_with_ttl_replaces_ttl"], Adds::default();
    left_is_rounded_down: "what is left is rounded down to milliseconds",
        ["ttl::ttl_reports"], RoundsDown::default();
    set_many_gives_the_first_its_ttl: "set_many gives its ttl to the first entry alone",
        ["ttl::set_many_clears_ttl"], Partly { has_ttl: |index, _| index == 0 };
    set_many_gives_the_last_its_ttl: "set_many gives its ttl to the last entry alone",
        ["ttl::set_many_clears_ttl"], Partly { has_ttl: |index, count| index + 1 == count };
    set_many_gives_a_thousand_the_ttl: "set_many gives its ttl to the first 1,000 entries alone",
        ["batch::batch_large"], Partly { has_ttl: |index, _| index < 1_000 };
    losing_keep_clears_the_deadline: "a set that keeps the deadline and does not write takes it away",
        ["ttl::failed_condition_keeps_ttl"], LosingKeepClears::default();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removal {
    Take,
    DeleteMany,
    CompareAndDelete,
}

/// A way to remove that leaves the deadline behind.
#[derive(Debug)]
struct Leaves {
    after: Removal,
    deadlines: Mutex<HashMap<String, Instant>>,
}

impl Leaves {
    fn after(after: Removal) -> Self {
        Self {
            after,
            deadlines: Mutex::default(),
        }
    }

    async fn removing(&self, by: Removal, inner: &ReferenceDriver, key: &str) -> Result<()> {
        if by == self.after
            && let Some(left) = inner.ttl(key).await?.left()
            && let Some(deadline) = Instant::now().checked_add(left)
        {
            lock(&self.deadlines).insert(key.to_owned(), deadline);
        }
        Ok(())
    }
}

#[store_core::async_trait]
impl Twist for Leaves {
    async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        self.removing(Removal::Take, inner, key).await?;
        inner.take(key).await
    }

    async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
        for key in keys {
            self.removing(Removal::DeleteMany, inner, key).await?;
        }
        inner.delete_many(keys).await
    }

    async fn compare_and_delete(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        expected: &[u8],
    ) -> Result<bool> {
        if inner.get(key).await?.is_some_and(|value| value == expected) {
            self.removing(Removal::CompareAndDelete, inner, key).await?;
        }
        inner.compare_and_delete(key, expected).await
    }

    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let written = inner.set(key, value, expiry, condition).await?;
        let old = lock(&self.deadlines).remove(key);
        if let Some(old) = old
            && written
            && expiry == Expiry::Never
        {
            // At least a moment, so that it is the deadline that ends the value.
            let left = old.saturating_duration_since(Instant::now());
            let left = TtlMillis::new(left.max(Duration::from_millis(1)))?;
            inner.expire(key, left).await?;
        }
        Ok(written)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slide {
    Get,
    Increment,
    Keep,
    Loser,
}

/// An operation that gives a mortal key the whole of its last ttl again.
#[derive(Debug)]
struct Slides {
    at: Slide,
    given: Mutex<HashMap<String, TtlMillis>>,
}

impl Slides {
    fn at(at: Slide) -> Self {
        Self {
            at,
            given: Mutex::default(),
        }
    }

    async fn slide(&self, at: Slide, inner: &ReferenceDriver, key: &str) -> Result<()> {
        let given = lock(&self.given).get(key).copied();
        if let Some(given) = given
            && at == self.at
            && inner.ttl(key).await?.left().is_some()
        {
            inner.expire(key, given).await?;
        }
        Ok(())
    }
}

#[store_core::async_trait]
impl Twist for Slides {
    async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        self.slide(Slide::Get, inner, key).await?;
        inner.get(key).await
    }

    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let written = inner.set(key, value, expiry, condition).await?;
        if !written {
            self.slide(Slide::Loser, inner, key).await?;
        } else if let Expiry::After(ttl) = expiry {
            lock(&self.given).insert(key.to_owned(), ttl);
        } else if expiry == Expiry::Keep {
            self.slide(Slide::Keep, inner, key).await?;
        }
        Ok(written)
    }

    async fn increment(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        delta: i64,
        initial: Option<TtlMillis>,
    ) -> Result<i64> {
        if let Some(initial) = initial
            && !inner.has(key).await?
        {
            lock(&self.given).insert(key.to_owned(), initial);
        }
        let sum = inner.increment(key, delta, initial).await;
        self.slide(Slide::Increment, inner, key).await?;
        sum
    }
}

/// A batch of which some entries get the ttl.
#[derive(Debug)]
struct Partly {
    has_ttl: fn(usize, usize) -> bool,
}

#[store_core::async_trait]
impl Twist for Partly {
    async fn set_many(
        &self,
        inner: &ReferenceDriver,
        entries: &[(&str, &[u8])],
        ttl: Option<TtlMillis>,
    ) -> Result<()> {
        for (index, entry) in entries.iter().enumerate() {
            let ttl = ttl.filter(|_| (self.has_ttl)(index, entries.len()));
            inner.set_many(&[*entry], ttl).await?;
        }
        Ok(())
    }
}

twists! {
    Adds => {
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            let left = inner.ttl(key).await?.left().unwrap_or_default();
            inner.expire(key, TtlMillis::new(ttl.as_duration() + left).unwrap_or(ttl)).await
        }
    }
    RoundsDown { deadlines: Mutex<HashMap<String, Instant>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if let Expiry::After(ttl) = expiry
                && let Some(deadline) = Instant::now().checked_add(ttl.as_duration())
            {
                lock(&self.deadlines).insert(key.to_owned(), deadline);
            }
            inner.set(key, value, expiry, condition).await
        }
        async fn ttl(&self, inner: &ReferenceDriver, key: &str) -> Result<Ttl> {
            let ttl = inner.ttl(key).await?;
            let deadline = lock(&self.deadlines).get(key).copied();
            let down = deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                Duration::from_millis(left.as_millis() as u64)
            });
            Ok(match (ttl, down) {
                // Farther apart, the deadline is not the one of the set.
                (Ttl::Left(up), Some(down)) if up - Duration::from_millis(1) == down => Ttl::Left(down),
                _ => ttl,
            })
        }
    }
    LosingKeepClears => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            if !written && expiry == Expiry::Keep {
                inner.persist(key).await?;
            }
            Ok(written)
        }
    }
}
