//! A healthy driver without any cleverness: one map under one mutex, on the tokio clock.
//!
//! It shows that the laws can be kept, and it is what the broken drivers wrap: whatever a law says
//! of one of them comes from the one change that the broken driver makes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream;
use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Gap, GapReason, Health, Patterns, RawEvent,
    RawSubscription, Result, Scan, ScanPage, StoreAdapter, Ttl, TtlMillis, async_trait, pattern,
};
use tokio::sync::broadcast;
use tokio::time::Instant;

mod harness;

pub use harness::ReferenceHarness;

/// How many messages a subscription holds for a reader that does not read.
pub const SUBSCRIPTION_CAPACITY: usize = 1024;

/// One handle on a set of entries and channels.
///
/// [`another`](Self::another) makes further handles on the same data, as a second connection to
/// the same server would be. Closing a handle ends its own subscriptions alone.
#[derive(Debug)]
pub struct ReferenceDriver {
    data: Arc<Mutex<Data>>,
    id: u64,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Data {
    entries: BTreeMap<String, Entry>,
    subscribers: BTreeMap<u64, Subscriber>,
    next_id: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Subscriber {
    handle: u64,
    topic: Topic,
    queue: broadcast::Sender<RawEvent>,
}

#[derive(Debug)]
enum Topic {
    Channel(String),
    Pattern(String),
}

impl ReferenceDriver {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            data: Arc::default(),
            id: 0,
            closed: AtomicBool::new(false),
        }
    }

    /// Makes a further handle on the same entries and channels.
    #[must_use]
    pub fn another(&self) -> Self {
        let id = lock(&self.data).fresh_id();
        Self {
            data: Arc::clone(&self.data),
            id,
            closed: AtomicBool::new(false),
        }
    }

    /// How many subscriptions there are, over all handles.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        lock(&self.data).subscribers.len()
    }

    /// How many handles there are on this data.
    #[must_use]
    pub fn handles(&self) -> usize {
        Arc::strong_count(&self.data)
    }

    fn data(&self) -> Result<MutexGuard<'_, Data>> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::closed());
        }
        Ok(lock(&self.data))
    }

    fn add_subscriber(&self, topic: Topic) -> Result<RawSubscription> {
        let mut data = self.data()?;
        let (queue, receiver) = broadcast::channel(SUBSCRIPTION_CAPACITY);
        let id = data.fresh_id();
        data.subscribers.insert(
            id,
            Subscriber {
                handle: self.id,
                topic,
                queue,
            },
        );
        let registration = Registration {
            data: Arc::downgrade(&self.data),
            id,
        };
        let events = stream::unfold(
            (receiver, registration),
            |(mut receiver, registration)| async move {
                let event = match receiver.recv().await {
                    Ok(event) => event,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        RawEvent::Gap(Gap::counted(GapReason::Lagged, missed))
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                };
                Some((event, (receiver, registration)))
            },
        );
        Ok(RawSubscription::new(events))
    }
}

impl Default for ReferenceDriver {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends its subscription when it drops.
struct Registration {
    data: Weak<Mutex<Data>>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(data) = self.data.upgrade() {
            lock(&data).subscribers.remove(&self.id);
        }
    }
}

fn lock(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Data {
    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The live entry of `key`; removes an expired one.
    fn live(&mut self, key: &str) -> Option<&mut Entry> {
        if self.entries.get(key).is_some_and(Entry::is_expired) {
            self.entries.remove(key);
        }
        self.entries.get_mut(key)
    }

    fn value(&mut self, key: &str) -> Option<Bytes> {
        self.live(key).map(|entry| entry.value.clone())
    }

    fn write(&mut self, key: &str, value: &[u8], expiry: Expiry) -> Result<()> {
        let deadline = match expiry {
            Expiry::After(ttl) => Some(deadline_after(ttl)?),
            Expiry::Keep => self.live(key).and_then(|entry| entry.deadline),
            _ => None,
        };
        let value = Bytes::copy_from_slice(value);
        self.entries
            .insert(key.to_owned(), Entry { value, deadline });
        Ok(())
    }

    fn remove(&mut self, key: &str) -> Option<Bytes> {
        self.live(key)?;
        self.entries.remove(key).map(|entry| entry.value)
    }
}

impl Entry {
    fn is_expired(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

fn deadline_after(ttl: TtlMillis) -> Result<Instant> {
    Instant::now()
        .checked_add(ttl.as_duration())
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the ttl is too long"))
}

/// Reads a counter as the contract writes it: canonical decimal ASCII.
fn parse_counter(value: &[u8]) -> Result<i64> {
    let not_an_integer = || Error::new(ErrorKind::WrongType, "the value is not an integer");
    let text = std::str::from_utf8(value).map_err(|_| not_an_integer())?;
    let count: i64 = text.parse().map_err(|_| not_an_integer())?;
    // `parse` takes `+5` and `05` as well; what it would not write itself is no counter.
    if count.to_string() == text {
        Ok(count)
    } else {
        Err(not_an_integer())
    }
}

#[async_trait]
impl StoreAdapter for ReferenceDriver {
    fn name(&self) -> &'static str {
        "reference"
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.data()?.value(key))
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let mut data = self.data()?;
        let old = data.live(key).map(|entry| &entry.value);
        let holds = match condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
            Condition::IfEquals(expected) => old.is_some_and(|old| old == expected),
            _ => return Err(Error::unsupported(self.name(), "such condition")),
        };
        if holds {
            data.write(key, value, expiry)?;
        }
        Ok(holds)
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.data()?.remove(key).is_some())
    }

    async fn has(&self, key: &str) -> Result<bool> {
        Ok(self.data()?.live(key).is_some())
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        let mut data = self.data()?;
        let Some(entry) = data.live(key) else {
            let expiry = initial_ttl.map_or(Expiry::Never, Expiry::After);
            data.write(key, delta.to_string().as_bytes(), expiry)?;
            return Ok(delta);
        };
        let sum = parse_counter(&entry.value)?
            .checked_add(delta)
            .ok_or_else(|| Error::new(ErrorKind::Overflow, "the counter would leave i64"))?;
        entry.value = Bytes::from(sum.to_string());
        Ok(sum)
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        let deadline = deadline_after(ttl)?;
        let mut data = self.data()?;
        let entry = data.live(key);
        Ok(entry.map(|entry| entry.deadline = Some(deadline)).is_some())
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        let mut data = self.data()?;
        let entry = data.live(key);
        Ok(entry.is_some_and(|entry| entry.deadline.take().is_some()))
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let mut data = self.data()?;
        let Some(entry) = data.live(key) else {
            return Ok(Ttl::Missing);
        };
        Ok(entry.deadline.map_or(Ttl::Forever, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            let millis = left.as_nanos().div_ceil(1_000_000);
            Ttl::Left(Duration::from_millis(
                u64::try_from(millis).unwrap_or(u64::MAX),
            ))
        }))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let mut data = self.data()?;
        Ok(keys.iter().map(|key| data.value(key)).collect())
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        let mut data = self.data()?;
        let expiry = ttl.map_or(Expiry::Never, Expiry::After);
        for (key, value) in entries {
            data.write(key, value, expiry)?;
        }
        Ok(())
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        let mut data = self.data()?;
        let removed = keys.iter().filter(|key| data.remove(key).is_some());
        Ok(removed.count() as u64)
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.data()?.remove(key))
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        let mut data = self.data()?;
        let old = data.value(key);
        data.write(key, value, expiry)?;
        Ok(old)
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let mut data = self.data()?;
        let equal = data.value(key).is_some_and(|value| value == expected);
        if equal {
            data.remove(key);
        }
        Ok(equal)
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        let data = self.data()?;
        let event = RawEvent::Message {
            channel: channel.into(),
            message: Bytes::copy_from_slice(message),
        };
        for subscriber in data.subscribers.values() {
            let wanted = match &subscriber.topic {
                Topic::Channel(name) => name == channel,
                Topic::Pattern(glob) => pattern::matches(glob.as_bytes(), channel.as_bytes()),
            };
            if wanted {
                // Fails without a receiver only: a subscription that is just being dropped.
                let _ = subscriber.queue.send(event.clone());
            }
        }
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        self.add_subscriber(Topic::Channel(channel.to_owned()))
    }

    async fn health(&self) -> Health {
        if self.closed.load(Ordering::SeqCst) {
            Health::closed()
        } else {
            Health::up(Duration::ZERO)
        }
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let id = self.id;
        lock(&self.data)
            .subscribers
            .retain(|_, subscriber| subscriber.handle != id);
        Ok(())
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        Some(self)
    }
}

#[async_trait]
impl Scan for ReferenceDriver {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let data = self.data()?;
        let from = match cursor {
            Some(last) => Bound::Excluded(last),
            None => Bound::Included(prefix),
        };
        let size = page_size.max(1);
        let keys: Vec<String> = data
            .entries
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, entry)| !entry.is_expired())
            .map(|(key, _)| key.clone())
            .take(size)
            .collect();
        let cursor = keys.last().filter(|_| keys.len() == size).cloned();
        Ok(ScanPage { keys, cursor })
    }
}

#[async_trait]
impl Patterns for ReferenceDriver {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        self.add_subscriber(Topic::Pattern(pattern.to_owned()))
    }
}
