//! Stores in memory: what an area asks of them, ours, and what a person writes by hand on DashMap.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use bytes::Bytes;
use dashmap::DashMap;
use igniter_store::{Codec, MemoryDriver, Store};

use crate::work::{TTL, User};

pub mod opendal;
pub mod typed;

/// What the areas ask of a store in memory.
///
/// A generic trait and not an object: the peers that are not asynchronous must not pay for a box.
pub trait MemoryPeer: Clone + Send + Sync + 'static {
    /// Reads a value as somebody would who then uses it, and answers whether it was there.
    fn get(&self, key: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Writes a value that stays.
    fn set(&self, key: &str, user: &User) -> impl Future<Output = Result<()>> + Send;

    /// Writes a value that lives for [`TTL`].
    fn set_with_ttl(&self, key: &str, user: &User) -> impl Future<Output = Result<()>> + Send {
        let _unused = (key, user);
        async { bail!("has no ttl for an entry") }
    }

    /// Adds one to a counter.
    fn increment(&self, key: &str) -> impl Future<Output = Result<i64>> + Send {
        let _unused = key;
        async { bail!("has no counters") }
    }
}

impl<C: Codec> MemoryPeer for Store<C> {
    async fn get(&self, key: &str) -> Result<bool> {
        let user: Option<User> = Store::get(self, key).await?;
        Ok(black_box(user).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        Ok(Store::set(self, key, user).await?)
    }

    async fn set_with_ttl(&self, key: &str, user: &User) -> Result<()> {
        self.set_with(key, user, TTL).await?;
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(Store::increment(self, key).await?)
    }
}

/// Our store over a new driver with its default options.
pub fn ours<C: Codec>(codec: C) -> Store<C> {
    Store::from_parts(Arc::new(MemoryDriver::new()), codec)
}

/// The reference: a `DashMap` of bytes with its default hasher, the value cloned out (a count) and
/// then decoded, as is first written by hand.
#[derive(Clone, Default)]
pub struct ByHand {
    values: Arc<DashMap<String, Bytes>>,
    /// The usual way to have counters too: a map of their own, with native numbers.
    counters: Arc<DashMap<String, i64>>,
}

impl MemoryPeer for ByHand {
    async fn get(&self, key: &str) -> Result<bool> {
        let Some(bytes) = self.values.get(key).map(|entry| entry.value().clone()) else {
            return Ok(false);
        };
        let user: User = serde_json::from_slice(&bytes)?;
        black_box(user);
        Ok(true)
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        let bytes = Bytes::from(serde_json::to_vec(user)?);
        self.values.insert(key.to_owned(), bytes);
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        if let Some(mut counter) = self.counters.get_mut(key) {
            *counter += 1;
            return Ok(*counter);
        }
        let mut counter = self.counters.entry(key.to_owned()).or_default();
        *counter += 1;
        Ok(*counter)
    }
}

/// By hand with deadlines: checked when a value is read, as a person does who needs a ttl.
#[derive(Clone, Default)]
pub struct ByHandWithTtl {
    values: Arc<DashMap<String, (Bytes, Option<Instant>)>>,
}

impl ByHandWithTtl {
    fn insert(&self, key: &str, user: &User, deadline: Option<Instant>) -> Result<()> {
        let bytes = Bytes::from(serde_json::to_vec(user)?);
        self.values.insert(key.to_owned(), (bytes, deadline));
        Ok(())
    }
}

impl MemoryPeer for ByHandWithTtl {
    async fn get(&self, key: &str) -> Result<bool> {
        let Some((bytes, deadline)) = self.values.get(key).map(|entry| entry.value().clone())
        else {
            return Ok(false);
        };
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(false);
        }
        let user: User = serde_json::from_slice(&bytes)?;
        black_box(user);
        Ok(true)
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.insert(key, user, None)
    }

    async fn set_with_ttl(&self, key: &str, user: &User) -> Result<()> {
        self.insert(key, user, Some(Instant::now() + TTL))
    }
}

/// By hand as somebody does who measures: another hasher, decoded under the guard, without a copy
/// of the key where there is an entry already.
#[derive(Clone, Default)]
pub struct ByHandTuned {
    values: Arc<DashMap<String, Box<[u8]>, foldhash::fast::RandomState>>,
}

impl MemoryPeer for ByHandTuned {
    async fn get(&self, key: &str) -> Result<bool> {
        let Some(entry) = self.values.get(key) else {
            return Ok(false);
        };
        let user: User = serde_json::from_slice(entry.value())?;
        black_box(user);
        Ok(true)
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        let bytes = serde_json::to_vec(user)?.into_boxed_slice();
        if let Some(mut entry) = self.values.get_mut(key) {
            *entry = bytes;
            return Ok(());
        }
        self.values.insert(key.to_owned(), bytes);
        Ok(())
    }
}
