//! Operations of several steps, between which others run.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use store_core::{Bytes, Condition, Error, ErrorKind, Expiry, Result, StoreAdapter, TtlMillis};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    set_is_delete_and_insert: "set deletes first, so a reader can find nothing",
        ["concurrency::single_key_linearizable"], SetDeletesFirst::default();
    increment_is_get_and_set: "increment reads, computes and writes",
        ["concurrency::incr_no_lost_updates", "concurrency::single_key_linearizable"], IncrementInSteps::default();
    expire_writes_the_entry: "expire writes back the value that it has read",
        ["concurrency::incr_no_lost_updates"], ExpireInSteps::default();
    if_absent_is_has_and_set: "set-if-absent looks first and then writes",
        ["conditional::if_absent_one_winner"], IfAbsentInSteps::default();
    compare_and_set_in_steps: "compare-and-set reads, compares and writes",
        ["conditional::compare_and_set_loses_no_update"], CompareInSteps::default();
    compare_and_delete_in_steps: "compare-and-delete reads, compares and removes",
        ["concurrency::single_key_linearizable"], DeleteInSteps::default();
    replace_is_get_and_set: "replace reads and then writes",
        ["conditional::replace_and_take_are_atomic"], ReplaceInSteps::default();
    take_is_get_and_delete: "take reads and then removes",
        ["conditional::replace_and_take_are_atomic"], TakeInSteps::default();
    set_writes_in_two_parts: "a large value is written in two parts",
        ["concurrency::no_torn_values"], TwoParts::default();
    stale_reads: "get may answer the value before the last one",
        ["concurrency::single_key_linearizable"], StaleReads::default();
    replies_shift: "the reply to a dropped get is the reply to the next one",
        ["concurrency::cancelled_call_is_all_or_nothing"], RepliesShift::default();
    dropped_calls_keep_their_permit: "a call that is dropped never gives its permit back",
        ["concurrency::cancelled_call_is_all_or_nothing"], PermitsLeak::default();
    dropped_replace_loses_the_value: "replace takes the old value out before it puts the new one in",
        ["concurrency::cancelled_call_is_all_or_nothing", "concurrency::single_key_linearizable"], ReplaceTakesFirst::default();
    batch_blocks_on_subscribers: "get_many waits while somebody is subscribed",
        ["concurrency::concurrent_handles_progress"], BlocksOnSubscribers::default();
    busy_calls_are_refused: "with more than eight increments at once the ninth is refused",
        ["concurrency::concurrent_handles_progress"], RefusesBusy::default();
    answers_are_exchanged: "two increments at once are answered each other's sum",
        ["concurrency::concurrent_handles_progress", "concurrency::single_key_linearizable"], Exchanged::default();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which handle this is.
fn id(inner: &ReferenceDriver) -> usize {
    std::ptr::from_ref(inner).addr()
}

twists! {
    SetDeletesFirst => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if condition == Condition::Always && expiry == Expiry::Never {
                inner.delete(key).await?;
                yield_now().await;
            }
            inner.set(key, value, expiry, condition).await
        }
    }
    IncrementInSteps => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let before = inner.get(key).await?;
            let sum = inner.increment(key, delta, initial).await?;
            match &before {
                Some(before) => inner.set(key, before, Expiry::Keep, Condition::Always).await?,
                None => inner.delete(key).await?,
            };
            yield_now().await;
            let expiry = match (before, initial) {
                (None, Some(ttl)) => Expiry::After(ttl),
                _ => Expiry::Keep,
            };
            inner.set(key, sum.to_string().as_bytes(), expiry, Condition::Always).await?;
            Ok(sum)
        }
    }
    ExpireInSteps => {
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            let Some(value) = inner.get(key).await? else {
                return Ok(false);
            };
            yield_now().await;
            inner.set(key, &value, Expiry::After(ttl), Condition::IfPresent).await
        }
    }
    IfAbsentInSteps => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if condition != Condition::IfAbsent {
                return inner.set(key, value, expiry, condition).await;
            }
            if inner.has(key).await? {
                return Ok(false);
            }
            yield_now().await;
            inner.set(key, value, expiry, Condition::Always).await
        }
    }
    CompareInSteps => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let Condition::IfEquals(expected) = condition else {
                return inner.set(key, value, expiry, condition).await;
            };
            if inner.get(key).await?.is_none_or(|old| old != expected) {
                return Ok(false);
            }
            yield_now().await;
            inner.set(key, value, expiry, Condition::Always).await
        }
    }
    DeleteInSteps => {
        async fn compare_and_delete(&self, inner: &ReferenceDriver, key: &str, expected: &[u8]) -> Result<bool> {
            if inner.get(key).await?.is_none_or(|old| old != expected) {
                return Ok(false);
            }
            yield_now().await;
            inner.delete(key).await.map(|_| true)
        }
    }
    ReplaceInSteps => {
        async fn replace(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
            let old = inner.get(key).await?;
            yield_now().await;
            inner.set(key, value, expiry, Condition::Always).await?;
            Ok(old)
        }
    }
    TakeInSteps => {
        async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let old = inner.get(key).await?;
            yield_now().await;
            inner.delete(key).await?;
            Ok(old)
        }
    }
    TwoParts => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if value.len() > 100_000 && condition == Condition::Always {
                let old = inner.get(key).await?.unwrap_or_default();
                let half = value.len() / 2;
                let mut mixed = value[..half].to_vec();
                mixed.extend_from_slice(old.get(half..).unwrap_or_default());
                inner.set(key, &mixed, Expiry::Keep, condition).await?;
                yield_now().await;
            }
            inner.set(key, value, expiry, condition).await
        }
    }
    StaleReads { before: Mutex<HashMap<String, Option<Bytes>>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let old = inner.get(key).await?;
            let written = inner.set(key, value, expiry, condition).await?;
            if written {
                lock(&self.before).insert(key.to_owned(), old);
                yield_now().await;
                lock(&self.before).remove(key);
            }
            Ok(written)
        }
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            // Only the first of two reads in a row: the second sees what the first did not.
            let stale = lock(&self.before).get(key).cloned();
            let now = inner.get(key).await?;
            yield_now().await;
            Ok(stale.unwrap_or(now))
        }
        async fn has(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            Ok(inner.get(key).await?.is_some())
        }
        async fn replace(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
            let old = inner.replace(key, value, expiry).await?;
            yield_now().await;
            // The read before this one is what a cache that nobody told would still have.
            let cached = lock(&self.before).get(key).cloned();
            Ok(cached.unwrap_or(old))
        }
    }
    RepliesShift { replies: Mutex<HashMap<usize, VecDeque<Option<Bytes>>>> } => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let reply = inner.get(key).await?;
            lock(&self.replies).entry(id(inner)).or_default().push_back(reply);
            yield_now().await;
            let first = lock(&self.replies).entry(id(inner)).or_default().pop_front();
            Ok(first.flatten())
        }
    }
    PermitsLeak { permits: Mutex<HashMap<usize, std::sync::Arc<Semaphore>>> } => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let permits = {
                let mut permits = lock(&self.permits);
                let own = permits.entry(id(inner));
                std::sync::Arc::clone(own.or_insert_with(|| std::sync::Arc::new(Semaphore::new(1))))
            };
            if let Ok(permit) = permits.acquire().await {
                permit.forget();
            }
            yield_now().await;
            let value = inner.get(key).await;
            permits.add_permits(1);
            value
        }
    }
    ReplaceTakesFirst => {
        async fn replace(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
            if expiry == Expiry::Keep {
                return inner.replace(key, value, expiry).await;
            }
            let old = inner.take(key).await?;
            yield_now().await;
            inner.set(key, value, expiry, Condition::Always).await?;
            Ok(old)
        }
    }
    BlocksOnSubscribers => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            if inner.subscriptions() > 0 {
                pending::<()>().await;
            }
            inner.get_many(keys).await
        }
    }
    RefusesBusy { running: AtomicUsize } => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            if self.running.fetch_add(1, Ordering::SeqCst) >= 8 {
                self.running.fetch_sub(1, Ordering::SeqCst);
                return Err(Error::new(ErrorKind::Unavailable, "busy"));
            }
            yield_now().await;
            let sum = inner.increment(key, delta, initial).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            sum
        }
    }
    Exchanged { waiting: Mutex<Vec<i64>> } => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let sum = inner.increment(key, delta, initial).await?;
            lock(&self.waiting).push(sum);
            yield_now().await;
            // The last one in is the first one out.
            Ok(lock(&self.waiting).pop().unwrap_or(sum))
        }
    }
}
