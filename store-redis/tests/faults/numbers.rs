//! Publishers of numbered messages, and listeners that account for each of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use store_core::{RawSubscription, StoreAdapter};
use store_redis::RedisDriver;
use tokio::task::JoinHandle;

use crate::follower::{Follower, Ledger};
use crate::support::until;

/// Publishes the numbers from 0 on, until it is stopped.
pub(crate) struct Publisher {
    pub(crate) ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn start(driver: &Arc<RedisDriver>, channel: &'static str) -> Self {
        let ledger = Arc::new(Ledger::default());
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn({
            let (driver, ledger, stop) =
                (Arc::clone(driver), Arc::clone(&ledger), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    publish_next(&driver, channel, &ledger).await;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        Self { ledger, stop, task }
    }

    pub(crate) async fn stop(self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.ledger
    }
}

/// Publishes the next number of `ledger`.
pub(crate) async fn publish_next(driver: &RedisDriver, channel: &str, ledger: &Ledger) {
    let text = ledger.next().to_string();
    let outcome = driver.publish(channel, text.as_bytes()).await;
    ledger.record(&outcome).unwrap();
}

/// Reads a subscription as fast as it can.
pub(crate) struct Listener {
    follower: Arc<Mutex<Follower>>,
    ledger: Arc<Ledger>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(crate) fn start(mut subscription: RawSubscription, ledger: &Arc<Ledger>) -> Self {
        let follower = Arc::new(Mutex::new(Follower::default()));
        let task = tokio::spawn({
            let (follower, ledger) = (Arc::clone(&follower), Arc::clone(ledger));
            async move {
                while let Some(event) = subscription.next().await {
                    follower.lock().unwrap().take(&event, &ledger);
                }
            }
        });
        Self {
            follower,
            ledger: Arc::clone(ledger),
            task,
        }
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.follower.lock().unwrap().gaps_seen
    }

    pub(crate) fn next(&self) -> u64 {
        self.follower.lock().unwrap().next()
    }

    /// Waits until a message has come that was published later than now.
    pub(crate) async fn hears(&self) {
        let next = self.ledger.next();
        until("a later message", || self.next() > next).await;
    }

    /// Waits for the last message, which must not be in doubt, and ends.
    pub(crate) async fn finish(self) -> Follower {
        until("the last message", || self.next() == self.ledger.next()).await;
        self.task.abort();
        let _ = self.task.await;
        std::mem::take(&mut *self.follower.lock().unwrap())
    }
}

/// Checks that nothing is missing in silence, nothing came twice, and the order is kept.
pub(crate) fn check(fault: &str, follower: &Follower) {
    println!(
        "{fault}: {} seen, {} gaps, {} holes, {} silent, {} twice, {} out of order",
        follower.seen,
        follower.gaps_seen,
        follower.holes,
        follower.silent_holes,
        follower.duplicates,
        follower.disorders
    );
    assert_eq!(follower.violations, [""; 0]);
}
