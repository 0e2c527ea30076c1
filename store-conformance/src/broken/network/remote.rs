//! The driver behind a connection.

use std::sync::Arc;
use std::time::Duration;

use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Health, Patterns, RawSubscription, Result, Scan,
    ScanPage, StoreAdapter, Ttl, TtlMillis, async_trait,
};
use tokio::sync::{oneshot, watch};

use super::listening::{Topic, listen};
use super::{Flaw, Link};
use crate::reference::ReferenceDriver;

/// How long a call waits for its answer.
const DEADLINE: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Remote {
    inner: Arc<ReferenceDriver>,
    link: watch::Receiver<Link>,
    flaw: Flaw,
}

impl Remote {
    pub(super) fn new(inner: ReferenceDriver, link: watch::Receiver<Link>, flaw: Flaw) -> Self {
        Self {
            inner: Arc::new(inner),
            link,
            flaw,
        }
    }

    fn listen(&self, events: RawSubscription, topic: Topic) -> RawSubscription {
        let driver = Arc::clone(&self.inner);
        listen(driver, self.link.clone(), self.flaw, events, topic)
    }

    /// Waits for the connection, for a call that is not sent while it is frozen.
    async fn reach(&self) -> Result<&ReferenceDriver> {
        let mut link = self.link.clone();
        let reached = tokio::time::timeout(DEADLINE, link.wait_for(|link| !link.stalled)).await;
        match reached {
            Ok(_) => Ok(&self.inner),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "not connected")),
        }
    }

    /// Sends a call, which happens when the connection lets it through, whoever still waits.
    async fn send<T: Send + 'static>(
        &self,
        call: impl AsyncCall<T>,
        success: impl FnOnce() -> Option<T>,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let (inner, mut link, flaw) = (Arc::clone(&self.inner), self.link.clone(), self.flaw);
        let sent = *link.borrow();
        tokio::spawn(async move {
            let way = link.wait_for(|link| !link.stalled || link.generation != sent.generation);
            // What was on the way when the connection was cut is lost.
            if way
                .await
                .is_ok_and(|link| link.generation == sent.generation)
            {
                let late = sent.stalled;
                if flaw == Flaw::HappensMuchLater && late {
                    tokio::time::sleep(Duration::from_millis(550)).await;
                }
                if flaw == Flaw::SendsAgain && late {
                    let _ = call.run(&inner).await;
                }
                let _ = answer.send(call.run(&inner).await);
            }
        });
        let unknown = |text| Err(Error::new(ErrorKind::Indeterminate, text));
        if flaw == Flaw::WaitsForEver {
            return answered
                .await
                .unwrap_or_else(|_| unknown("the connection was lost"));
        }
        match tokio::time::timeout(DEADLINE, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => unknown("the connection was lost"),
            Err(_) => match flaw {
                Flaw::TimeoutIsUnavailable => Err(Error::new(ErrorKind::Unavailable, "timeout")),
                Flaw::TimeoutIsOther => Err(Error::new(ErrorKind::Backend, "timeout")),
                Flaw::TimeoutIsSuccess => success().map_or_else(|| unknown("no answer"), Ok),
                _ => unknown("no answer"),
            },
        }
    }
}

/// A call that can be sent: it owns what it needs.
trait AsyncCall<T>: Send + 'static {
    fn run(&self, inner: &ReferenceDriver) -> impl Future<Output = Result<T>> + Send;
}

struct Increment(String, i64, Option<TtlMillis>);

impl AsyncCall<i64> for Increment {
    async fn run(&self, inner: &ReferenceDriver) -> Result<i64> {
        inner.increment(&self.0, self.1, self.2).await
    }
}

struct Publish(String, Vec<u8>);

impl AsyncCall<()> for Publish {
    async fn run(&self, inner: &ReferenceDriver) -> Result<()> {
        inner.publish(&self.0, &self.1).await
    }
}

#[async_trait]
impl StoreAdapter for Remote {
    fn name(&self) -> &'static str {
        "network"
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.reach().await?.get(key).await
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.reach().await?.set(key, value, expiry, condition).await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.reach().await?.delete(key).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.reach().await?.has(key).await
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        self.send(Increment(key.to_owned(), delta, initial_ttl), || {
            Some(delta)
        })
        .await
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.reach().await?.expire(key, ttl).await
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        self.reach().await?.persist(key).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.reach().await?.ttl(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.reach().await?.get_many(keys).await
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        self.reach().await?.set_many(entries, ttl).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        self.reach().await?.delete_many(keys).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.reach().await?.take(key).await
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        self.reach().await?.replace(key, value, expiry).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.reach().await?.compare_and_delete(key, expected).await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        self.send(Publish(channel.to_owned(), message.to_vec()), || Some(()))
            .await
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        let events = self.reach().await?.subscribe(channel).await?;
        Ok(self.listen(events, Topic::Channel(channel.to_owned())))
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        Some(self)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        Some(self)
    }
}

#[async_trait]
impl Scan for Remote {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        self.reach()
            .await?
            .scan_page(prefix, cursor, page_size)
            .await
    }
}

#[async_trait]
impl Patterns for Remote {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        let events = self.reach().await?.subscribe_pattern(pattern).await?;
        Ok(self.listen(events, Topic::Pattern(pattern.to_owned())))
    }
}
