//! The driver: one command a method, one round trip a call.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use store_core::{
    Condition, Error, ErrorKind, Expiry, Health, HealthState, Patterns, RawSubscription, Result,
    Scan, StoreAdapter, Ttl, TtlMillis,
};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::hub::Hub;
use crate::lane::Purpose;
use crate::link::Link;
use crate::options::RedisOptions;
use crate::readers::Readers;
use crate::registry::Kind;
use crate::transport::Transport;
use crate::{command, error, reply};

/// The longest value that Redis accepts in its default configuration (`proto-max-bulk-len`).
const MAX_VALUE_LEN: usize = 512 << 20;

/// The most keys of a batch: Redis accepts 1,048,576 words in a command, and `MSET` takes two for
/// each.
const MAX_BATCH: usize = 500_000;

/// A store in a Redis server.
///
/// Commands share one connection, subscriptions another one, which is opened for the first of
/// them. Both are replaced when they are lost, for as long as the driver lives; closing or dropping
/// it ends them and their tasks. So does the end of the runtime that the driver was connected on:
/// calls from another one are then [`ErrorKind::Closed`]. Where that runtime is not run at the moment,
/// closing is [`ErrorKind::Indeterminate`] after 500 ms, or the call timeout if that is longer: the driver
/// is closed, and its connections end when that runtime is run again. Who closes it outside of any runtime, where there
/// is no timer, waits for that. Cancelling a call does not disturb the
/// others: it may still be applied. Calls set timers, so they panic outside of a tokio runtime that has
/// them.
#[derive(Debug)]
pub struct RedisDriver {
    pub(crate) link: Link,
    hub: Hub,
    pub(crate) readers: Readers,
}

impl RedisDriver {
    /// Connects to the server at `url`; see [`RedisOptions::from_url`].
    ///
    /// # Errors
    ///
    /// As [`connect_with`](Self::connect_with), and those of [`RedisOptions::from_url`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run() -> store_core::Result<()> {
    /// let driver = store_redis::RedisDriver::connect("redis://127.0.0.1:6379").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(RedisOptions::from_url(url)?).await
    }

    /// Connects, and checks that the server answers and accepts the credentials.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the options contradict themselves, or name a file that cannot
    /// be used or a database that the server does not have, [`ErrorKind::Unavailable`] if the server cannot be reached,
    /// [`ErrorKind::PermissionDenied`] if it refuses the credentials or asks for some,
    /// [`ErrorKind::Unsupported`] if it does not speak the protocol. Outside of a tokio runtime it is
    /// `InvalidInput` too.
    ///
    /// # Panics
    ///
    /// If that runtime has no I/O or no timers (`enable_all` of its builder).
    pub async fn connect_with(options: RedisOptions) -> Result<Self> {
        if Handle::try_current().is_err() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the Redis driver needs a tokio runtime; connect inside of one, as under \
                 #[tokio::main]",
            ));
        }
        let transport = Arc::new(Transport::new(options)?);
        let link = Link::connect(Arc::clone(&transport), Purpose::Commands).await?;
        let hub = Hub::new(Arc::clone(&transport));
        let readers = Readers::new(transport);
        Ok(Self { link, hub, readers })
    }
}

#[async_trait]
impl StoreAdapter for RedisDriver {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.link.call(|| command::get(key), reply::bytes).await
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let request = || command::set(key, value, expiry, condition);
        match condition {
            Condition::IfEquals(_) => self.link.call(request, reply::flag).await,
            _ => self.link.call(request, reply::written).await,
        }
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.link.call(|| command::delete(key), reply::flag).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.link.call(|| command::has(key), reply::flag).await
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        match initial_ttl {
            None => {
                let request = || command::increment(key, delta);
                self.link.call(request, reply::counter).await
            }
            Some(ttl) => {
                let request = || command::increment_with_ttl(key, delta, ttl);
                self.link.call(request, reply::counter_text).await
            }
        }
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.link
            .call(|| command::expire(key, ttl), reply::flag)
            .await
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        self.link.call(|| command::persist(key), reply::flag).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.link.call(|| command::ttl(key), reply::ttl).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return self.link.check_open().map(|()| Vec::new());
        }
        check_batch(keys.len())?;
        self.link
            .call(
                || command::get_many(keys),
                |frame| reply::values(frame, keys.len()),
            )
            .await
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        if entries.is_empty() {
            return self.link.check_open();
        }
        check_batch(entries.len())?;
        let request = || command::set_many(entries, ttl);
        if ttl.is_none() {
            return self.link.call(request, reply::done).await;
        }
        self.link
            .call(request, |frame| reply::all_done(frame, entries.len()))
            .await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        if keys.is_empty() {
            return self.link.check_open().map(|()| 0);
        }
        check_batch(keys.len())?;
        self.link
            .call(|| command::delete_many(keys), reply::count)
            .await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.link.call(|| command::take(key), reply::bytes).await
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        let request = || command::replace(key, value, expiry);
        self.link.call(request, reply::bytes).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let request = || command::compare_and_delete(key, expected);
        self.link.call(request, reply::flag).await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        let request = || command::publish(channel, message);
        self.link.call(request, reply::count).await.map(drop)
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        self.hub.subscribe(Kind::Channel, channel).await
    }

    async fn health(&self) -> Health {
        let health = self.link.health().await;
        match self.hub.trouble() {
            Some(trouble) if health.state == HealthState::Up => {
                Health::down(trouble).with_connection(health.generation, health.reconnects)
            }
            _ => health,
        }
    }

    async fn close(&self) -> Result<()> {
        let mut closed =
            pin!(async { tokio::join!(self.hub.close(), self.link.close(), self.readers.close()) });
        // With this everything is closed; what follows waits for its end. The tasks end where they run,
        // which may be a runtime that nobody drives at the moment.
        let has_ended = poll_fn(|context| Poll::Ready(closed.as_mut().poll(context).is_ready()));
        if has_ended.await {
            return Ok(());
        }
        if Handle::try_current().is_err() {
            // No timer to be had.
            closed.await;
            return Ok(());
        }
        let patience = self.link.patience();
        let in_time = timeout(patience, closed).await;
        in_time
            .map(drop)
            .map_err(|_elapsed| error::not_closed(patience))
    }

    fn max_value_len(&self) -> Option<usize> {
        Some(MAX_VALUE_LEN)
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        Some(self)
    }
}

#[async_trait]
impl Patterns for RedisDriver {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        self.hub.subscribe(Kind::Pattern, pattern).await
    }
}

fn check_batch(len: usize) -> Result<()> {
    if len <= MAX_BATCH {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("a batch of {len} keys; Redis takes at most {MAX_BATCH}, so split it"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_can_be_shared_between_threads() {
        fn check<T: std::fmt::Debug + Send + Sync + 'static>() {}
        check::<RedisDriver>();
        check::<RedisOptions>();
    }

    #[test]
    fn a_batch_has_a_limit() {
        assert!(check_batch(MAX_BATCH).is_ok());
        let error = check_batch(MAX_BATCH + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
