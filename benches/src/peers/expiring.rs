//! Stores whose entries have deadlines, and how each of them gets rid of what has expired.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use cached::{Expires, ShardedExpiringCache};
use dashmap::DashMap;
use futures_util::FutureExt;
use igniter_store::{Condition, Expiry, MemoryDriver, StoreAdapter, TtlMillis};

/// How often those are swept that do not do so themselves: the interval that ours has.
const INTERVAL: Duration = Duration::from_millis(250);

/// The value of every entry.
const VALUE: &[u8] = &[b'x'; 100];

/// A store with deadlines. Not asynchronous: there is one reader, and nothing ever waits.
pub trait Expiring: Send + Sync {
    fn name(&self) -> &'static str;

    /// Writes an entry that lives for `ttl`, or stays.
    fn set(&self, key: &str, ttl: Option<Duration>) -> Result<()>;

    /// Reads an entry, and answers whether it is there.
    fn get(&self, key: &str) -> Result<bool>;

    /// Ends what is still to be done for the writes so far, on which the count may wait.
    fn settle(&self) {}

    /// How many entries take memory.
    fn entries(&self) -> u64;
}

/// Makes an empty store.
pub type Make = fn() -> Arc<dyn Expiring>;

/// All of them.
pub const CONTENDERS: &[Make] = &[
    || Arc::new(Ours::default()),
    || {
        Arc::new(ByHand::with(
            "DashMap by hand, retain every 250 ms",
            DashMap::new(),
        ))
    },
    || {
        let map = DashMap::with_shard_amount(1024);
        Arc::new(ByHand::with(
            "DashMap of 1,024 shards by hand, retain every 250 ms",
            map,
        ))
    },
    || Arc::new(Moka::default()),
    || Arc::new(Cached::default()),
];

/// Our driver with its default options.
#[derive(Default)]
struct Ours(MemoryDriver);

impl Expiring for Ours {
    fn name(&self) -> &'static str {
        "igniter-store"
    }

    fn set(&self, key: &str, ttl: Option<Duration>) -> Result<()> {
        let expiry = match ttl {
            Some(ttl) => Expiry::After(TtlMillis::new(ttl)?),
            None => Expiry::Never,
        };
        let set = self.0.set(key, VALUE, expiry, Condition::Always);
        set.now_or_never().context("a set in memory has waited")??;
        Ok(())
    }

    fn get(&self, key: &str) -> Result<bool> {
        let get = self.0.get(key).now_or_never();
        let value = get.context("a get in memory has waited")??;
        Ok(black_box(value).is_some())
    }

    fn entries(&self) -> u64 {
        self.0.live_entries() as u64
    }
}

type Deadlines = DashMap<String, (Bytes, Option<Instant>)>;

/// `DashMap` and a thread that calls `retain` now and then.
struct ByHand {
    name: &'static str,
    entries: Arc<Deadlines>,
    _sweeper: Sweeper,
}

impl ByHand {
    fn with(name: &'static str, entries: Deadlines) -> Self {
        let entries = Arc::new(entries);
        let swept = Arc::clone(&entries);
        let sweeper = Sweeper::start(move || {
            let now = Instant::now();
            swept.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        });
        Self {
            name,
            entries,
            _sweeper: sweeper,
        }
    }
}

impl Expiring for ByHand {
    fn name(&self) -> &'static str {
        self.name
    }

    fn set(&self, key: &str, ttl: Option<Duration>) -> Result<()> {
        let deadline = ttl.map(|ttl| Instant::now() + ttl);
        let value = Bytes::copy_from_slice(VALUE);
        self.entries.insert(key.to_owned(), (value, deadline));
        Ok(())
    }

    fn get(&self, key: &str) -> Result<bool> {
        let found = self.entries.get(key).map(|entry| entry.value().clone());
        let live =
            found.filter(|(_, deadline)| deadline.is_none_or(|deadline| deadline > Instant::now()));
        Ok(black_box(live).is_some())
    }

    fn entries(&self) -> u64 {
        self.entries.len() as u64
    }
}

/// moka, which expires while it is used: its `get` does some of the housekeeping now and then.
struct Moka(moka::sync::Cache<String, (Bytes, Option<Duration>)>);

/// The ttl that an entry was written with.
struct PerEntry;

impl moka::Expiry<String, (Bytes, Option<Duration>)> for PerEntry {
    fn expire_after_create(
        &self,
        _: &String,
        value: &(Bytes, Option<Duration>),
        _: Instant,
    ) -> Option<Duration> {
        value.1
    }
}

impl Default for Moka {
    fn default() -> Self {
        let builder = moka::sync::Cache::builder();
        // Room for more than there is, so that nothing is evicted.
        Self(
            builder
                .max_capacity(4_000_000)
                .expire_after(PerEntry)
                .build(),
        )
    }
}

impl Expiring for Moka {
    fn name(&self) -> &'static str {
        "moka::sync, ttl of each entry"
    }

    fn set(&self, key: &str, ttl: Option<Duration>) -> Result<()> {
        self.0
            .insert(key.to_owned(), (Bytes::copy_from_slice(VALUE), ttl));
        Ok(())
    }

    fn get(&self, key: &str) -> Result<bool> {
        Ok(black_box(self.0.get(key)).is_some())
    }

    fn settle(&self) {
        self.0.run_pending_tasks();
    }

    fn entries(&self) -> u64 {
        self.0.entry_count()
    }
}

/// A value of cached that has a deadline.
#[derive(Clone)]
struct Perishable(Bytes, Option<Instant>);

impl Expires for Perishable {
    fn is_expired(&self) -> bool {
        self.1.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// cached with a deadline for each entry, and a thread that calls `evict` now and then, as its
/// docs advise.
struct Cached {
    cache: Arc<ShardedExpiringCache<String, Perishable>>,
    _sweeper: Sweeper,
}

impl Default for Cached {
    fn default() -> Self {
        let cache = Arc::new(ShardedExpiringCache::new());
        let swept = Arc::clone(&cache);
        let sweeper = Sweeper::start(move || {
            black_box(swept.evict());
        });
        Self {
            cache,
            _sweeper: sweeper,
        }
    }
}

impl Expiring for Cached {
    fn name(&self) -> &'static str {
        "cached, evict every 250 ms"
    }

    fn set(&self, key: &str, ttl: Option<Duration>) -> Result<()> {
        let deadline = ttl.map(|ttl| Instant::now() + ttl);
        let value = Perishable(Bytes::copy_from_slice(VALUE), deadline);
        self.cache.set(key.to_owned(), value);
        Ok(())
    }

    fn get(&self, key: &str) -> Result<bool> {
        let value = self.cache.get(key).map(|value| value.0);
        Ok(black_box(value).is_some())
    }

    fn entries(&self) -> u64 {
        self.cache.len() as u64
    }
}

/// A thread that sweeps until this is dropped.
struct Sweeper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    fn start(sweep: impl Fn() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                thread::park_timeout(INTERVAL);
                sweep();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A sweep that has panicked has shown itself: its entries were not gone.
            let _ended = thread.join();
        }
    }
}
