//! Keys, channels and the driver's own state that get into each other's way.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Health, RawSubscription, Result, StoreAdapter,
    TtlMillis,
};
use tokio::task::yield_now;

use super::subscriptions::{Cuts, cut, until_cut};
use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    delete_ends_the_channel: "deleting a key ends the subscriptions of the channel with its name",
        ["pubsub::channel_isolation"], DeleteEndsChannel::default();
    delete_many_ends_the_channel: "delete_many, and so clear, ends the subscriptions of channels with the names of its keys",
        ["pubsub::channel_isolation"], DeleteManyEndsChannels::default();
    publish_writes_the_key: "the last message of a channel is the value of the key with its name",
        ["pubsub::channel_isolation"], PublishWrites::default();
    set_is_published: "a set is published on the channel with the name of its key",
        ["pubsub::channel_isolation"], SetPublishes::default();
    health_is_up_after_close: "the health of a closed handle is that of the backend",
        ["driver::closed_store_refuses"], UpAfterClose::default();
    health_is_down_under_load: "the health of a driver that works is down at every third call",
        ["driver::no_op_hangs"], DownNowAndThen::default();
    health_hangs_after_close: "health of a closed handle waits for ever",
        ["driver::no_op_hangs", "driver::closed_store_refuses"], HealthHangs::default();
    replies_of_increments_shift: "the reply to a dropped increment is the reply to the next one",
        ["concurrency::cancelled_call_is_all_or_nothing"], IncrementsShift::default();
    replies_of_batches_shift: "the reply to a dropped get_many is the reply to the next one",
        ["concurrency::cancelled_call_is_all_or_nothing"], BatchesShift::default();
    values_of_64_kib_are_empty: "a length of 65,536 is read as 0",
        ["kv::edge_values_roundtrip"], SixtyFourKib::default();
    overflow_answers_zero: "an increment that would overflow answers 0 and leaves the value",
        ["counter::incr_overflow_changes_nothing"], OverflowIsZero::default();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The replies that a handle still has to hand out.
type Replies<T> = Mutex<HashMap<usize, VecDeque<T>>>;

/// Hands out the oldest reply, after others had their turn: one of a dropped call stays.
async fn in_turn<T: Send>(replies: &Replies<T>, inner: &ReferenceDriver, reply: T) -> Result<T> {
    let handle = std::ptr::from_ref(inner).addr();
    lock(replies).entry(handle).or_default().push_back(reply);
    yield_now().await;
    let oldest = lock(replies).entry(handle).or_default().pop_front();
    oldest.ok_or_else(|| Error::new(ErrorKind::Backend, "no reply"))
}

twists! {
    DeleteEndsChannel { cuts: Cuts } => {
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            cut(&self.cuts, key);
            inner.delete(key).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            Ok(until_cut(inner.subscribe(channel).await?, &self.cuts, channel))
        }
    }
    DeleteManyEndsChannels { cuts: Cuts } => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            keys.iter().for_each(|key| cut(&self.cuts, key));
            inner.delete_many(keys).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            Ok(until_cut(inner.subscribe(channel).await?, &self.cuts, channel))
        }
    }
    PublishWrites => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            inner.set(channel, message, Expiry::Never, Condition::Always).await?;
            inner.publish(channel, message).await
        }
    }
    SetPublishes => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            inner.publish(key, value).await?;
            inner.set(key, value, expiry, condition).await
        }
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            for (key, value) in entries {
                inner.publish(key, value).await?;
            }
            inner.set_many(entries, ttl).await
        }
    }
    UpAfterClose => {
        async fn health(&self, _: &ReferenceDriver) -> Health {
            Health::up(Duration::ZERO)
        }
    }
    DownNowAndThen { asked: AtomicUsize } => {
        async fn health(&self, inner: &ReferenceDriver) -> Health {
            if self.asked.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
                return Health::down("busy");
            }
            inner.health().await
        }
    }
    HealthHangs => {
        async fn health(&self, inner: &ReferenceDriver) -> Health {
            if inner.has("any").await.is_err() {
                std::future::pending::<()>().await;
            }
            inner.health().await
        }
    }
    IncrementsShift { replies: Replies<Result<i64>> } => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let reply = inner.increment(key, delta, initial).await;
            in_turn(&self.replies, inner, reply).await?
        }
    }
    BatchesShift { replies: Replies<Vec<Option<Bytes>>> } => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let reply = inner.get_many(keys).await?;
            in_turn(&self.replies, inner, reply).await
        }
    }
    SixtyFourKib => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let value = inner.get(key).await?;
            Ok(value.map(|value| if value.len() == 1 << 16 { Bytes::new() } else { value }))
        }
    }
    OverflowIsZero => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            match inner.increment(key, delta, initial).await {
                Err(error) if error.kind() == ErrorKind::Overflow => Ok(0),
                answer => answer,
            }
        }
    }
}
