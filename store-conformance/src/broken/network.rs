//! A driver with a connection that can be lost, in one process and on the virtual clock, and what
//! drivers do wrong when it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Gap, GapReason, Health, Patterns, RawEvent,
    RawSubscription, Result, Scan, ScanPage, StoreAdapter, Ttl, TtlMillis, async_trait,
};
use tokio::sync::{oneshot, watch};

use super::Broken;
use crate::clock::Clock;
use crate::harness::{Faults, Harness, HarnessResult, LiveResources};
use crate::reference::{ReferenceDriver, ReferenceHarness};

/// How long a call waits for its answer.
const DEADLINE: Duration = Duration::from_millis(500);

/// What this driver does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    WaitsForEver,
    TimeoutIsUnavailable,
    TimeoutIsOther,
    SendsAgain,
    HappensMuchLater,
    TimeoutIsSuccess,
    NeverResubscribes,
    ForgetsPatterns,
    NoGap,
    GapComesLate,
    StreamEnds,
    TwiceAfterReconnect,
}

macro_rules! flawed {
    ($($name:ident: $text:literal, [$($law:literal),+], $flaw:ident;)*) => {
        pub(super) const DRIVERS: &[Broken] = &[$(
            Broken {
                name: stringify!($name),
                flaw: $text,
                killed_by: &[$($law),+],
                without: &[],
                make: || Arc::new(NetworkHarness::with(Flaw::$flaw)),
            },
        )*];
    };
}

flawed! {
    frozen_calls_wait: "a call on a frozen connection waits until it thaws",
        ["concurrency::timeout_is_indeterminate"], WaitsForEver;
    timeout_is_unavailable: "a call that may still happen is reported as not applied",
        ["concurrency::timeout_is_indeterminate"], TimeoutIsUnavailable;
    timeout_is_backend: "a timeout has a kind that says nothing",
        ["concurrency::timeout_is_indeterminate"], TimeoutIsOther;
    timeout_is_sent_again: "an increment without answer is sent again in the background",
        ["concurrency::timeout_is_indeterminate"], SendsAgain;
    timed_out_calls_happen_later: "a call without answer happens long after its caller was told",
        ["concurrency::timeout_is_indeterminate"], HappensMuchLater;
    timeout_is_success: "a write without answer is reported as done",
        ["concurrency::timeout_is_indeterminate"], TimeoutIsSuccess;
    never_resubscribes: "subscriptions stay silent after a lost connection",
        ["pubsub::reconnect_resubscribes"], NeverResubscribes;
    forgets_patterns: "only channels are subscribed again after a lost connection",
        ["pubsub::reconnect_resubscribes"], ForgetsPatterns;
    reconnects_without_a_gap: "a lost connection is not reported",
        ["pubsub::gap_is_reported"], NoGap;
    reconnect_gap_comes_late: "the gap comes after the first message of the new connection",
        ["pubsub::gap_is_reported"], GapComesLate;
    stream_ends_with_the_connection: "a subscription ends when its connection is lost",
        ["pubsub::reconnect_resubscribes", "pubsub::gap_is_reported"], StreamEnds;
    twice_after_reconnect: "after a reconnect messages are delivered twice",
        ["pubsub::gap_is_reported"], TwiceAfterReconnect;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Link {
    /// Grows whenever all connections are cut.
    generation: u64,
    stalled: bool,
}

/// The harness of a reference driver behind a connection.
#[derive(Debug)]
pub struct NetworkHarness {
    reference: ReferenceHarness,
    link: watch::Sender<Link>,
    flaw: Flaw,
}

impl NetworkHarness {
    /// One that does nothing wrong.
    #[must_use]
    pub fn healthy() -> Self {
        Self::with(Flaw::None)
    }

    fn with(flaw: Flaw) -> Self {
        Self {
            reference: ReferenceHarness::default(),
            link: watch::Sender::default(),
            flaw,
        }
    }
}

#[async_trait]
impl Harness for NetworkHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(Arc::new(Remote {
            inner: Arc::new(self.reference.driver(scope)),
            link: self.link.subscribe(),
            flaw: self.flaw,
        }))
    }

    fn clock(&self) -> Clock {
        self.reference.clock()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.restore().await;
        self.reference.close(scope).await
    }

    fn faults(&self) -> Option<&dyn Faults> {
        Some(self)
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        self.reference.live_resources(scope).await
    }
}

#[async_trait]
impl Faults for NetworkHarness {
    async fn sever(&self) {
        self.link.send_modify(|link| link.generation += 1);
    }

    async fn stall(&self) {
        self.link.send_modify(|link| link.stalled = true);
    }

    async fn restore(&self) {
        self.link.send_modify(|link| link.stalled = false);
    }
}

#[derive(Debug)]
struct Remote {
    inner: Arc<ReferenceDriver>,
    link: watch::Receiver<Link>,
    flaw: Flaw,
}

impl Remote {
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

    fn listen(&self, events: RawSubscription, topic: Topic) -> RawSubscription {
        let mut link = self.link.clone();
        let generation = link.borrow_and_update().generation;
        let listening = Listening {
            events,
            topic,
            link,
            generation,
            driver: Arc::clone(&self.inner),
            flaw: self.flaw,
            late: None,
        };
        let events = stream::unfold(listening, async |mut listening| {
            let event = listening.next().await?;
            Some((event, listening))
        });
        let doubled = self.flaw == Flaw::TwiceAfterReconnect;
        let mut gaps = 0;
        RawSubscription::new(events.flat_map(move |event| {
            gaps += usize::from(matches!(event, RawEvent::Gap(_)));
            let times = if doubled && gaps > 0 { 2 } else { 1 };
            stream::iter(std::iter::repeat_n(event, times))
        }))
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

#[derive(Debug)]
enum Topic {
    Channel(String),
    Pattern(String),
}

struct Listening {
    events: RawSubscription,
    topic: Topic,
    link: watch::Receiver<Link>,
    generation: u64,
    driver: Arc<ReferenceDriver>,
    flaw: Flaw,
    late: Option<RawEvent>,
}

impl Listening {
    async fn next(&mut self) -> Option<RawEvent> {
        if let Some(late) = self.late.take() {
            if self.flaw != Flaw::GapComesLate {
                return Some(late);
            }
            let first = self.receive().await;
            self.late = None;
            return match first {
                Some(first) => {
                    self.flaw = Flaw::None;
                    self.late = Some(late);
                    Some(first)
                }
                None => None,
            };
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Option<RawEvent> {
        loop {
            let link = *self.link.borrow_and_update();
            if link.generation != self.generation {
                self.generation = link.generation;
                if let Some(event) = self.reconnect().await? {
                    return Some(event);
                }
                continue;
            }
            tokio::select! {
                biased;
                changed = self.link.changed() => changed.ok()?,
                event = self.events.next(), if !link.stalled => return event,
            }
        }
    }

    /// Subscribes again; answers what the subscriber is told, or `None` where the stream ends.
    async fn reconnect(&mut self) -> Option<Option<RawEvent>> {
        let forgotten = match (self.flaw, &self.topic) {
            (Flaw::StreamEnds, _) => return None,
            (Flaw::NeverResubscribes, _) => true,
            (Flaw::ForgetsPatterns, Topic::Pattern(_)) => true,
            _ => false,
        };
        let again = match &self.topic {
            _ if forgotten => Ok(RawSubscription::new(stream::pending())),
            Topic::Channel(channel) => self.driver.subscribe(channel).await,
            Topic::Pattern(pattern) => self.driver.subscribe_pattern(pattern).await,
        };
        self.events = again.ok()?;
        let gap = RawEvent::Gap(Gap::uncounted(GapReason::Reconnected));
        Some(match self.flaw {
            Flaw::NoGap => None,
            Flaw::GapComesLate => {
                self.late = Some(gap);
                None
            }
            _ => Some(gap),
        })
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
