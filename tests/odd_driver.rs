//! What the handle does where a driver answers late or says a thing twice, as a driver may.
#![cfg(all(feature = "memory", feature = "json"))]

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use igniter_store::{
    Bytes, Condition, Error, ErrorKind, Expiry, Health, MemoryDriver, RawSubscription, Result,
    Scan, ScanPage, Store, StoreAdapter, Ttl, TtlMillis, async_trait,
};
use tokio::sync::oneshot;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn who_is_told_of_an_absence_after_the_load_has_landed_does_not_load() -> Result<()> {
    let (store, driver) = odd_store();
    let answer_late = driver.hold_next_get();
    let mut late =
        Box::pin(store.get_or_load("k", MINUTE, || async { Ok::<_, Error>("late".to_owned()) }));
    assert!((&mut late).now_or_never().is_none());
    let load = || async { Ok::<_, Error>("first".to_owned()) };
    assert_eq!(store.get_or_load("k", MINUTE, load).await?, "first");
    assert!(answer_late.send(()).is_ok());
    assert_eq!(late.await?, "first");
    Ok(())
}

#[tokio::test]
async fn what_has_landed_and_is_gone_again_is_loaded() -> Result<()> {
    let (store, driver) = odd_store();
    let answer_late = driver.hold_next_get();
    let mut late = Box::pin(store.get_or_load("k", MINUTE, || async { Ok::<_, Error>(2) }));
    assert!((&mut late).now_or_never().is_none());
    let load = || async { Ok::<_, Error>(1) };
    assert_eq!(store.get_or_load("k", MINUTE, load).await?, 1);
    assert!(store.delete("k").await?);
    assert!(answer_late.send(()).is_ok());
    assert_eq!(late.await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_cold_caller_reads_once_whatever_other_keys_land_meanwhile() -> Result<()> {
    let (store, driver) = odd_store();
    let answer_late = driver.hold_next_get();
    let mut cold = Box::pin(store.get_or_load("k", MINUTE, || async { Ok::<_, Error>(1) }));
    assert!((&mut cold).now_or_never().is_none());
    let load = || async { Ok::<_, Error>(2) };
    assert_eq!(store.get_or_load("other", MINUTE, load).await?, 2);
    assert!(answer_late.send(()).is_ok());
    assert_eq!(cold.await?, 1);
    assert_eq!(driver.gets.load(Ordering::SeqCst), 2);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_load_gets_its_value_without_asking_again() -> Result<()> {
    let (store, driver) = odd_store();
    let (loaded, leader, follower) = load_and_wait(&store);
    assert!(loaded.send(1).is_ok());
    assert_eq!(leader.await?, 1);
    assert!(store.delete("k").await?);
    assert_eq!(follower.await?, 1);
    assert_eq!(driver.gets.load(Ordering::SeqCst), 2);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_load_that_cannot_be_stored_is_given_nothing() -> Result<()> {
    let (store, _driver) = odd_store();
    let (loaded, leader, follower) = load_and_wait(&store);
    store.close().await?;
    assert!(loaded.send(1).is_ok());
    for outcome in [leader.await, follower.await] {
        assert_eq!(
            outcome.map_err(|error| error.kind()),
            Err(ErrorKind::Closed)
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_the_driver_lists_twice_comes_once() -> Result<()> {
    let (store, _driver) = odd_store();
    store.set_many(&[("a", 1), ("b", 2)]).await?;
    let mut keys: Vec<String> = store.scan("").try_collect().await?;
    keys.sort();
    assert_eq!(keys, ["a", "b"]);
    Ok(())
}

#[tokio::test]
async fn a_scan_ends_after_its_error() -> Result<()> {
    let (store, _driver) = odd_store();
    let mut keys = store.scan("");
    store.close().await?;
    let kind = |item: Option<Result<String>>| item.map(|item| item.map_err(|error| error.kind()));
    assert_eq!(kind(keys.next().await), Some(Err(ErrorKind::Closed)));
    // However often it is asked.
    assert_eq!(kind(keys.next().await), None);
    assert_eq!(kind(keys.next().await), None);
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_ends_the_scan() -> Result<()> {
    let (store, driver) = odd_store();
    store.set("a", &1).await?;
    driver.is_stuck.store(true, Ordering::SeqCst);
    let listed: Result<Vec<String>> = store.scan("").try_collect().await;
    for error in [listed.unwrap_err(), store.clear().await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Backend, "{error}");
        assert!(error.to_string().contains("never end"), "{error}");
    }
    Ok(())
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<i32>> + 'a>>;

/// A call that loads what it is sent, and one for the same key that waits for it.
fn load_and_wait(store: &Store) -> (oneshot::Sender<i32>, Call<'_>, Call<'_>) {
    let (loaded, value) = oneshot::channel();
    let load = || async { Ok(value.await.unwrap_or(0)) };
    let mut leader: Call<'_> = Box::pin(store.get_or_load("k", MINUTE, load));
    let other_load = || async { Ok(2) };
    let mut follower: Call<'_> = Box::pin(store.get_or_load("k", MINUTE, other_load));
    let are_waiting = [&mut leader, &mut follower].map(|call| call.now_or_never().is_none());
    assert_eq!(are_waiting, [true; 2]);
    (loaded, leader, follower)
}

fn odd_store() -> (Store, Arc<OddDriver>) {
    let driver = Arc::new(OddDriver::default());
    let adapter: Arc<dyn StoreAdapter> = driver.clone();
    (Store::from_adapter(adapter), driver)
}

/// The memory driver, with a `get` that can be held back, and keys that are listed twice, in a page
/// and in another one.
#[derive(Debug, Default)]
struct OddDriver {
    memory: MemoryDriver,
    gets: AtomicUsize,
    held: Mutex<Option<oneshot::Receiver<()>>>,
    /// Whether the page that repeats others is never the last.
    is_stuck: AtomicBool,
}

impl OddDriver {
    /// Lets the next `get` look, and answer only when it is told.
    fn hold_next_get(&self) -> oneshot::Sender<()> {
        let (answer, told) = oneshot::channel();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        answer
    }

    fn take_held(&self) -> Option<oneshot::Receiver<()>> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[async_trait]
impl StoreAdapter for OddDriver {
    fn name(&self) -> &'static str {
        "odd"
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        let answer = self.memory.get(key).await;
        if let Some(told) = self.take_held() {
            // Whoever holds it back tells it, or has failed.
            let _ = told.await;
        }
        answer
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.memory.set(key, value, expiry, condition).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.memory.delete(key).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.memory.has(key).await
    }

    async fn increment(&self, key: &str, delta: i64, ttl: Option<TtlMillis>) -> Result<i64> {
        self.memory.increment(key, delta, ttl).await
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.memory.expire(key, ttl).await
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        self.memory.persist(key).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.memory.ttl(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.memory.get_many(keys).await
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        self.memory.set_many(entries, ttl).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        self.memory.delete_many(keys).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.memory.take(key).await
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        self.memory.replace(key, value, expiry).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.memory.compare_and_delete(key, expected).await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        self.memory.publish(channel, message).await
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        self.memory.subscribe(channel).await
    }

    async fn health(&self) -> Health {
        self.memory.health().await
    }

    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }
}

/// The cursor of a page that lists what was listed already.
const AGAIN: &str = "again";

#[async_trait]
impl Scan for OddDriver {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let Some(memory) = self.memory.as_scan() else {
            return Err(Error::unsupported("memory", "scan"));
        };
        let is_again = cursor == Some(AGAIN);
        let from = cursor.filter(|_| !is_again);
        let mut page = memory.scan_page(prefix, from, page_size).await?;
        page.keys.extend_from_within(..);
        let is_stuck = self.is_stuck.load(Ordering::SeqCst);
        if page.cursor.is_none() && (is_stuck || !is_again) {
            page.cursor = Some(AGAIN.to_owned());
        }
        Ok(page)
    }
}
