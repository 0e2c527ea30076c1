//! Handles that do not see the same store, and ends that are none.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Result, Scan, StoreAdapter, TtlMillis,
};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    handles_are_apart: "each handle has data of its own",
        ["driver::two_handles_one_store"], Apart::default();
    handles_cache_reads: "a handle remembers what it has read, whatever others write",
        ["driver::two_handles_one_store"], CachesReads::default();
    handles_remember_misses: "a handle remembers what was missing until it writes itself",
        ["driver::two_handles_one_store"], CachesMisses::default();
    handles_leak: "what a handle holds in the backend stays when it is dropped",
        ["driver::drop_releases"], Leaks::default();
    scopes_outlive_their_end: "what was deleted with a scope is there again in the next of its name",
        ["driver::scope_is_empty"], Outlives::default();
    close_does_nothing: "a closed handle works on",
        ["driver::closed_store_refuses", "pubsub::close_is_an_event"], ClosesNothing::default();
    close_is_unavailable: "a closed handle answers Unavailable",
        ["driver::closed_store_refuses"], ClosedIsUnavailable::default();
    close_deletes: "closing a handle deletes what it can see",
        ["driver::closed_store_refuses"], CloseDeletes::default();
    closing_twice_fails: "the second close is an error",
        ["driver::closed_store_refuses", "pubsub::close_is_an_event"], ClosesOnce::default();
    closed_calls_hang: "a get on a closed handle waits for ever",
        ["driver::closed_store_refuses", "driver::no_op_hangs"], ClosedHangs::default();
    persist_hangs_on_missing: "persist of a missing key waits for ever",
        ["ttl::persist_rule"], PersistHangs::default();
    own_writes_come_late: "a get after a set of the same handle answers the value before it",
        ["kv::read_your_writes"], LateWrites::default();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which handle this is.
fn id(inner: &ReferenceDriver) -> usize {
    std::ptr::from_ref(inner).addr()
}

type Cache<T> = Mutex<HashMap<(usize, String), T>>;

twists! {
    Apart => {
        fn open(&self, _: ReferenceDriver) -> ReferenceDriver {
            ReferenceDriver::new()
        }
    }
    CachesReads { read: Cache<Bytes> } => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let place = (id(inner), key.to_owned());
            let cached = lock(&self.read).get(&place).cloned();
            if cached.is_some() && inner.has(key).await? {
                return Ok(cached);
            }
            let value = inner.get(key).await?;
            if let Some(value) = &value {
                lock(&self.read).insert(place, value.clone());
            }
            Ok(value)
        }
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            lock(&self.read).remove(&(id(inner), key.to_owned()));
            inner.set(key, value, expiry, condition).await
        }
    }
    CachesMisses { missing: Cache<()> } => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let place = (id(inner), key.to_owned());
            if lock(&self.missing).contains_key(&place) {
                return Ok(None);
            }
            let value = inner.get(key).await?;
            if value.is_none() {
                lock(&self.missing).insert(place, ());
            }
            Ok(value)
        }
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            lock(&self.missing).remove(&(id(inner), key.to_owned()));
            inner.set(key, value, expiry, condition).await
        }
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            lock(&self.missing).remove(&(id(inner), key.to_owned()));
            inner.increment(key, delta, initial).await
        }
    }
    Leaks { kept: Mutex<Vec<ReferenceDriver>> } => {
        fn open(&self, handle: ReferenceDriver) -> ReferenceDriver {
            lock(&self.kept).push(handle.another());
            handle
        }
    }
    Outlives { stores: Mutex<Option<ReferenceDriver>> } => {
        fn open(&self, handle: ReferenceDriver) -> ReferenceDriver {
            lock(&self.stores).get_or_insert(handle).another()
        }
    }
    ClosesNothing => {
        async fn close(&self, _: &ReferenceDriver) -> Result<()> {
            Ok(())
        }
    }
    ClosedIsUnavailable => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            inner.get(key).await.map_err(|_| Error::new(ErrorKind::Unavailable, "not connected"))
        }
    }
    CloseDeletes => {
        async fn close(&self, inner: &ReferenceDriver) -> Result<()> {
            if let Ok(page) = inner.scan_page("", None, usize::MAX).await {
                for key in page.keys {
                    inner.delete(&key).await?;
                }
            }
            inner.close().await
        }
    }
    ClosesOnce => {
        async fn close(&self, inner: &ReferenceDriver) -> Result<()> {
            if inner.has("any").await.is_err() {
                return Err(Error::closed());
            }
            inner.close().await
        }
    }
    ClosedHangs => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let result = inner.get(key).await;
            if result.is_err() {
                pending::<()>().await;
            }
            result
        }
    }
    PersistHangs => {
        async fn persist(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            if !inner.has(key).await? {
                pending::<()>().await;
            }
            inner.persist(key).await
        }
    }
    LateWrites { late: Cache<Option<Bytes>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let old = inner.get(key).await?;
            let written = inner.set(key, value, expiry, condition).await?;
            if written && old.is_some() {
                lock(&self.late).insert((id(inner), key.to_owned()), old);
            }
            Ok(written)
        }
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let late = lock(&self.late).remove(&(id(inner), key.to_owned()));
            match late {
                Some(old) => Ok(old),
                None => inner.get(key).await,
            }
        }
    }
}
