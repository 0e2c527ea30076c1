//! The driver: checks what every operation checks, and hands over to entries and channels.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use store_core::{
    Condition, Error, ErrorKind, Expiry, Health, Patterns, RawSubscription, Result, Scan, ScanPage,
    StoreAdapter, Ttl, TtlMillis, async_trait,
};

use crate::channels::Channels;
use crate::entries::Entries;
use crate::options::MemoryOptions;
use crate::slot::Slot;
use crate::turn::{self, ONE_KEY, Turn};

/// A store in the memory of this process.
///
/// Clones are handles to the same entries and channels; the last one that drops frees them and
/// ends every subscription.
///
/// Time is tokio's clock, of the runtime that calls: with `tokio::time::pause`, `advance` expires
/// entries. The driver never makes a paused clock jump. It may be made and used outside of a
/// runtime, and may outlive one; but runtimes whose clocks differ should not share one driver.
///
/// A thread frees the memory of expired entries. It starts with the first deadline that is set, and
/// ends soon after the last handle drops or the driver is closed.
///
/// No operation waits for anything. As tokio's own resources do, they yield to other tasks now and
/// then, before an operation begins or after a message was sent; so a call that is dropped has
/// happened wholly or not at all, and a loop of calls starves nobody. It yields after about 8,000
/// keys or messages. A publisher also yields where half of a ring (`channel_capacity`) is unread, and
/// a subscriber after half of a ring or 128 messages, if that is more, so that subscribers on the
/// same thread keep up.
///
/// `get` may look when it is called, and not only when it is polled; whether an entry has died is told
/// by the time at which it is polled.
///
/// ```
/// use store_core::{Condition, Expiry, StoreAdapter};
/// use store_memory::MemoryDriver;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> store_core::Result<()> {
/// let driver = MemoryDriver::new();
/// driver.set("greeting", b"hello", Expiry::Never, Condition::Always).await?;
/// assert_eq!(driver.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryDriver {
    entries: Arc<Entries>,
    channels: Arc<Channels>,
    max_value_len: Option<usize>,
}

impl MemoryDriver {
    /// Makes an empty store with the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(MemoryOptions::new())
    }

    /// Makes an empty store.
    #[must_use]
    pub fn with_options(options: MemoryOptions) -> Self {
        Self {
            entries: Entries::new(options.sweep_interval),
            channels: Channels::new(options.channel_capacity),
            max_value_len: options.max_value_len,
        }
    }

    /// How many entries take memory, those that have expired and were not swept yet included.
    #[must_use]
    pub fn live_entries(&self) -> usize {
        self.entries.len()
    }

    /// How many channels and patterns take memory: those that have a subscription.
    #[must_use]
    pub fn live_channels(&self) -> usize {
        self.channels.len()
    }

    /// How many subscriptions there are, to channels and to patterns.
    #[must_use]
    pub fn live_subscriptions(&self) -> usize {
        self.channels.subscriptions()
    }

    /// Begins an operation that is so much work, and refuses if it is too late.
    #[inline]
    fn begin(&self, work: usize) -> Beginning<'_> {
        Beginning {
            turn: turn::take(work),
            entries: &self.entries,
        }
    }

    fn check_len(&self, bytes: &[u8]) -> Result<()> {
        match self.max_value_len {
            Some(max) if bytes.len() > max => Err(Error::new(
                ErrorKind::TooLarge,
                format!("{} bytes are more than the {max} allowed", bytes.len()),
            )),
            _ => Ok(()),
        }
    }
}

/// The beginning of an operation. Not an `async fn`, which would not be inlined.
struct Beginning<'a> {
    turn: Turn,
    entries: &'a Entries,
}

impl Future for Beginning<'_> {
    type Output = Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.turn).poll(cx));
        if self.entries.is_closed() {
            return Poll::Ready(Err(Error::closed()));
        }
        Poll::Ready(Ok(()))
    }
}

impl Beginning<'_> {
    /// Whether there is nothing to wait for, and no refusal.
    #[inline]
    fn is_now(&self) -> bool {
        self.turn.is_free() && !self.entries.is_closed()
    }
}

/// The answer that there is no value, without a size.
struct Absent;

impl Future for Absent {
    type Output = Result<Option<Bytes>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(None))
    }
}

impl Default for MemoryDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDriver")
            .field("entries", &self.live_entries())
            .field("channels", &self.live_channels())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl StoreAdapter for MemoryDriver {
    fn name(&self) -> &'static str {
        "memory"
    }

    // Written out, since an `async fn` puts even the answer that there is nothing into a box. What
    // `Absent` needs, nobody has to allocate.
    fn get<'a, 'b, 'f>(
        &'a self,
        key: &'b str,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>>> + Send + 'f>>
    where
        'a: 'f,
        'b: 'f,
    {
        let beginning = self.begin(ONE_KEY);
        if !beginning.is_now() {
            return Box::pin(async move {
                beginning.await?;
                self.entries.get(key)
            });
        }
        match self.entries.glance(key) {
            Ok(Some(seen)) => Box::pin(async move { self.entries.look(key, seen) }),
            Ok(None) => Box::pin(Absent),
            Err(closed) => Box::pin(async move { Err(closed) }),
        }
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.begin(ONE_KEY).await?;
        self.check_len(value)?;
        let written = self.entries.write(key, value, expiry, condition, |_| ())?;
        Ok(written.done)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.begin(ONE_KEY).await?;
        Ok(self.entries.remove_if(key, |_| true)?.is_some())
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.begin(ONE_KEY).await?;
        self.entries.has(key)
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        self.begin(ONE_KEY).await?;
        self.entries.increment(key, delta, initial_ttl)
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.begin(ONE_KEY).await?;
        self.entries.expire(key, ttl)
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        self.begin(ONE_KEY).await?;
        self.entries.persist(key)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.begin(ONE_KEY).await?;
        self.entries.ttl(key)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.begin(keys.len()).await?;
        keys.iter().map(|key| self.entries.get(key)).collect()
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        self.begin(entries.len()).await?;
        for (_, value) in entries {
            self.check_len(value)?;
        }
        let expiry = ttl.map_or(Expiry::Never, Expiry::After);
        for (key, value) in entries {
            self.entries
                .write(key, value, expiry, Condition::Always, |_| ())?;
        }
        Ok(())
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        self.begin(keys.len()).await?;
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.entries.remove_if(key, |_| true)?.is_some());
        }
        Ok(removed)
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.begin(ONE_KEY).await?;
        let taken = self.entries.remove_if(key, |_| true)?;
        Ok(taken.as_ref().map(Slot::value))
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        self.begin(ONE_KEY).await?;
        self.check_len(value)?;
        let written = self
            .entries
            .write(key, value, expiry, Condition::Always, Slot::value)?;
        Ok(written.previous)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.begin(ONE_KEY).await?;
        let removed = self.entries.remove_if(key, |slot| slot.equals(expected))?;
        Ok(removed.is_some())
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        self.begin(ONE_KEY).await?;
        self.check_len(message)?;
        if self.channels.publish(channel, message) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        self.begin(ONE_KEY).await?;
        self.channels.subscribe(channel)
    }

    async fn health(&self) -> Health {
        if self.entries.is_closed() {
            return Health::closed();
        }
        Health::up(Duration::ZERO)
    }

    async fn close(&self) -> Result<()> {
        self.entries.close();
        self.channels.close();
        Ok(())
    }

    fn max_value_len(&self) -> Option<usize> {
        self.max_value_len
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        Some(self)
    }
}

#[async_trait]
impl Scan for MemoryDriver {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        self.begin(page_size).await?;
        self.entries.scan_page(prefix, cursor, page_size)
    }
}

#[async_trait]
impl Patterns for MemoryDriver {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        self.begin(ONE_KEY).await?;
        self.channels.subscribe_pattern(pattern)
    }
}
