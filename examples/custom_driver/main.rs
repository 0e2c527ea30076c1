//! A complete driver over a plain structure, a `BTreeMap`, with its messages through the driver
//! that is there already. `conformance.rs` runs the suite on it.
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

#[cfg(test)]
mod conformance;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use igniter_store::*;
use tokio::time::Instant;

#[derive(Debug)]
struct TreeDriver {
    /// `None` once the driver is closed.
    tree: Mutex<Option<BTreeMap<String, Entry>>>,
    messages: MemoryDriver,
}

/// A value and its deadline, if it has one.
type Entry = (Bytes, Option<Instant>);

fn is_live(entry: &Entry) -> bool {
    entry.1.is_none_or(|deadline| Instant::now() < deadline)
}

impl TreeDriver {
    fn new() -> Self {
        let (tree, messages) = (Mutex::new(Some(BTreeMap::new())), MemoryDriver::new());
        Self { tree, messages }
    }

    fn tree<T>(&self, step: impl FnOnce(&mut BTreeMap<String, Entry>) -> T) -> Result<T> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        tree.as_mut().map(step).ok_or_else(Error::closed)
    }

    /// Takes one atomic step on the live entry of `key`, which it may fill, change or empty.
    fn entry<T>(&self, key: &str, step: impl FnOnce(&mut Option<Entry>) -> T) -> Result<T> {
        self.tree(|tree| {
            let mut entry = tree.remove(key).filter(is_live);
            let answer = step(&mut entry);
            tree.extend(entry.map(|entry| (key.to_owned(), entry)));
            answer
        })
    }
}

/// Writes the entry and answers the value that was there.
fn write(entry: &mut Option<Entry>, value: &[u8], expiry: Expiry) -> Option<Bytes> {
    let current = entry.as_ref().and_then(|entry| entry.1);
    let deadline = expiry.deadline(current, |ttl| Instant::now() + ttl.as_duration());
    let new = (Bytes::copy_from_slice(value), deadline);
    entry.replace(new).map(|old| old.0)
}

fn value(entry: &mut Option<Entry>) -> Option<Bytes> {
    entry.as_ref().map(|entry| entry.0.clone())
}

#[async_trait]
#[rustfmt::skip] // A signature stays on one line, so that the operations stand out.
impl StoreAdapter for TreeDriver {
    fn name(&self) -> &'static str { "tree" }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> { self.entry(key, value) }
    async fn set(&self, key: &str, new: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
        self.entry(key, |entry| {
            let holds = condition.holds(value(entry).as_deref());
            if holds { write(entry, new, expiry); }
            holds
        })
    }
    async fn delete(&self, key: &str) -> Result<bool> { self.entry(key, |entry| entry.take().is_some()) }
    async fn has(&self, key: &str) -> Result<bool> { self.entry(key, |entry| entry.is_some()) }
    async fn increment(&self, key: &str, delta: i64, ttl: Option<TtlMillis>) -> Result<i64> {
        self.entry(key, |entry| {
            let sum = counter::add(value(entry).as_deref(), delta)?;
            let created = ttl.map_or(Expiry::Never, Expiry::After);
            let expiry = if entry.is_some() { Expiry::Keep } else { created };
            write(entry, sum.to_string().as_bytes(), expiry);
            Ok(sum)
        })?
    }
    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        let deadline = Instant::now() + ttl.as_duration();
        self.entry(key, |entry| entry.as_mut().map(|entry| entry.1 = Some(deadline)).is_some())
    }
    async fn persist(&self, key: &str) -> Result<bool> {
        self.entry(key, |entry| entry.as_mut().and_then(|entry| entry.1.take()).is_some())
    }
    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.entry(key, |entry| match entry {
            None => Ttl::Missing,
            Some((_, None)) => Ttl::Forever,
            Some((_, Some(deadline))) => Ttl::rounded_up(*deadline - Instant::now()),
        })
    }
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        keys.iter().map(|key| self.entry(key, value)).collect()
    }
    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        let expiry = ttl.map_or(Expiry::Never, Expiry::After);
        entries.iter().try_for_each(|(key, new)| self.entry(key, |entry| drop(write(entry, new, expiry))))
    }
    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        keys.iter().map(|key| self.entry(key, |entry| entry.take().map_or(0, |_| 1))).sum()
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> { self.entry(key, |entry| entry.take().map(|old| old.0)) }
    async fn replace(&self, key: &str, new: &[u8], expiry: Expiry) -> Result<Option<Bytes>> { self.entry(key, |entry| write(entry, new, expiry)) }
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> { self.entry(key, |entry| entry.take_if(|entry| entry.0 == expected).is_some()) }
    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> { self.messages.publish(channel, message).await }
    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> { self.messages.subscribe(channel).await }
    async fn health(&self) -> Health { self.messages.health().await }
    async fn close(&self) -> Result<()> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.messages.close().await
    }
    fn as_scan(&self) -> Option<&dyn Scan> { Some(self) }
    fn as_patterns(&self) -> Option<&dyn Patterns> { self.messages.as_patterns() }
}

#[async_trait]
#[rustfmt::skip]
impl Scan for TreeDriver {
    /// Keys are in order, so the last key of a page is the cursor of the next one.
    async fn scan_page(&self, prefix: &str, cursor: Option<&str>, page_size: usize) -> Result<ScanPage> {
        let from = cursor.map_or(Bound::Included(prefix), Bound::Excluded);
        self.tree(|tree| {
            tree.retain(|_, entry| is_live(entry));
            let keys = tree.range::<str, _>((from, Bound::Unbounded)).map(|(key, _)| key.clone());
            let keys: Vec<_> = keys.take_while(|key| key.starts_with(prefix)).take(page_size.max(1)).collect();
            ScanPage { cursor: keys.last().cloned(), keys }
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::new(TreeDriver::new());
    let mut news = store.subscribe::<String>("news").await?;
    store.set("greeting", "hello").await?;
    store.publish("news", "it works").await?;
    let greeting: Option<String> = store.get("greeting").await?;
    println!("{greeting:?}, and {:?}", news.next().await);
    store.close().await
}
