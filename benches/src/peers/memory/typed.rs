//! Caches that hold values as they are, and so neither encode nor decode: moka, quick_cache, foyer
//! and cached.
//!
//! They are bounded, so each has room for more than the work has, and evicts nothing.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use cached::{ShardedTtlCache, ShardedUnboundCache};

use super::MemoryPeer;
use crate::work::{KEYS, TTL, User};

/// Four times the keys: these caches divide their room among shards, which fill unevenly.
const ROOM: usize = 4 * KEYS;

/// What moka stores where entries have ttls of their own.
type Expiring = (User, Option<Duration>);

/// The deadline of an entry, which is how moka's docs give entries ttls of their own.
struct PerEntry;

impl moka::Expiry<String, Expiring> for PerEntry {
    fn expire_after_create(&self, _: &String, value: &Expiring, _: Instant) -> Option<Duration> {
        value.1
    }

    fn expire_after_update(
        &self,
        _: &String,
        value: &Expiring,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        value.1
    }
}

/// `moka::future`, whose `get` clones the value.
#[derive(Clone)]
pub struct MokaFuture(moka::future::Cache<String, User>);

impl Default for MokaFuture {
    fn default() -> Self {
        Self(moka::future::Cache::new(ROOM as u64))
    }
}

impl MemoryPeer for MokaFuture {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key).await).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.insert(key.to_owned(), user.clone()).await;
        Ok(())
    }
}

/// `moka::future` with a ttl for each entry.
#[derive(Clone)]
pub struct MokaFutureWithTtl(moka::future::Cache<String, Expiring>);

impl Default for MokaFutureWithTtl {
    fn default() -> Self {
        let builder = moka::future::Cache::builder();
        Self(
            builder
                .max_capacity(ROOM as u64)
                .expire_after(PerEntry)
                .build(),
        )
    }
}

impl MemoryPeer for MokaFutureWithTtl {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key).await).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.insert(key.to_owned(), (user.clone(), None)).await;
        Ok(())
    }

    async fn set_with_ttl(&self, key: &str, user: &User) -> Result<()> {
        self.0
            .insert(key.to_owned(), (user.clone(), Some(TTL)))
            .await;
        Ok(())
    }
}

/// `moka::sync`, whose `get` clones the value.
#[derive(Clone)]
pub struct MokaSync(moka::sync::Cache<String, User>);

impl Default for MokaSync {
    fn default() -> Self {
        Self(moka::sync::Cache::new(ROOM as u64))
    }
}

impl MemoryPeer for MokaSync {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key)).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.insert(key.to_owned(), user.clone());
        Ok(())
    }
}

/// `moka::sync` of `Arc`, as its docs advise for values that are dear to clone. The reader then
/// has a value that it shares and cannot change.
#[derive(Clone)]
pub struct MokaShared(moka::sync::Cache<String, Arc<User>>);

impl Default for MokaShared {
    fn default() -> Self {
        Self(moka::sync::Cache::new(ROOM as u64))
    }
}

impl MemoryPeer for MokaShared {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key)).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.insert(key.to_owned(), Arc::new(user.clone()));
        Ok(())
    }
}

/// quick_cache, whose `get` clones the value. It has no ttl.
#[derive(Clone)]
pub struct QuickCache(Arc<quick_cache::sync::Cache<String, User>>);

impl Default for QuickCache {
    fn default() -> Self {
        Self(Arc::new(quick_cache::sync::Cache::new(ROOM)))
    }
}

impl MemoryPeer for QuickCache {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key)).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.insert(key.to_owned(), user.clone());
        Ok(())
    }
}

/// foyer in memory. Its `get` answers a handle; cloned out of it, as the others' answers are owned.
#[derive(Clone)]
pub struct Foyer(foyer::Cache<String, User>);

impl Default for Foyer {
    fn default() -> Self {
        Self(foyer::Cache::builder(ROOM).build())
    }
}

impl MemoryPeer for Foyer {
    async fn get(&self, key: &str) -> Result<bool> {
        let user = self.0.get(key).map(|entry| entry.value().clone());
        Ok(black_box(user).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.insert(key.to_owned(), user.clone());
        Ok(())
    }
}

/// cached, its sharded map without limits.
#[derive(Clone)]
pub struct Cached(Arc<ShardedUnboundCache<String, User>>);

impl Default for Cached {
    fn default() -> Self {
        Self(Arc::new(ShardedUnboundCache::new()))
    }
}

impl MemoryPeer for Cached {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key)).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.set(key.to_owned(), user.clone());
        Ok(())
    }
}

/// cached with one ttl for all entries, which is the ttl it has.
#[derive(Clone)]
pub struct CachedWithTtl(Arc<ShardedTtlCache<String, User>>);

impl Default for CachedWithTtl {
    fn default() -> Self {
        Self(Arc::new(ShardedTtlCache::new(TTL)))
    }
}

impl MemoryPeer for CachedWithTtl {
    async fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key)).is_some())
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.set_with_ttl(key, user).await
    }

    async fn set_with_ttl(&self, key: &str, user: &User) -> Result<()> {
        self.0.set(key.to_owned(), user.clone());
        Ok(())
    }
}
