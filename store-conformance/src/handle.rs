//! The handle that laws use: the driver's own, with every call recorded and bounded in time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::StreamExt;
use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Health, Patterns, RawEvent, RawSubscription,
    Result, Scan, ScanPage, StoreAdapter, Ttl, TtlMillis, async_trait,
};

use crate::clock::Clock;
use crate::timeline::{Timeline, show_bytes};

/// A driver's handle whose calls go into the timeline of the case.
///
/// A call that does not answer in time ends with an error here, and breaks the case whatever the
/// law makes of that error.
pub(crate) struct Handle {
    driver: Arc<dyn StoreAdapter>,
    label: String,
    timeline: Arc<Timeline>,
    clock: Clock,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver.fmt(f)
    }
}

impl Handle {
    pub(crate) fn new(
        driver: Arc<dyn StoreAdapter>,
        label: String,
        timeline: Arc<Timeline>,
        clock: Clock,
    ) -> Self {
        Self {
            driver,
            label,
            timeline,
            clock,
        }
    }

    async fn call<T: Answer>(
        &self,
        what: String,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let running = self.timeline.begin(&self.label, what.clone());
        let limit = self.clock.call_limit();
        let result = match tokio::time::timeout(limit, call).await {
            Ok(result) => result,
            Err(_) => {
                self.timeline.hang(&format!("{} {what}", self.label));
                Err(Error::new(
                    ErrorKind::Backend,
                    format!("the call did not answer within {limit:?}"),
                ))
            }
        };
        running.end(match &result {
            Ok(answer) => answer.show(&self.timeline),
            Err(error) => format!("{:?}: {error}", error.kind()),
        });
        result
    }

    fn name_of(&self, name: &str) -> String {
        self.timeline.name(name)
    }

    fn names(&self, names: &[&str]) -> String {
        let shown: Vec<String> = names
            .iter()
            .take(6)
            .map(|name| self.name_of(name))
            .collect();
        let more = if names.len() > 6 {
            format!(", … {} in all", names.len())
        } else {
            String::new()
        };
        format!("[{}{more}]", shown.join(", "))
    }

    fn watch(&self, subscription: RawSubscription, topic: &str) -> RawSubscription {
        let who = self.label.clone();
        let timeline = Arc::clone(&self.timeline);
        let topic = self.name_of(topic);
        RawSubscription::new(subscription.inspect(move |event| {
            let event = match event {
                RawEvent::Message { channel, message } => {
                    format!("{} {}", timeline.name(channel), show_bytes(message))
                }
                RawEvent::Gap(gap) => format!("{gap:?}"),
            };
            timeline.note(&who, format!("<- {topic}: {event}"));
        }))
    }
}

/// How an answer looks in the timeline.
trait Answer {
    fn show(&self, timeline: &Timeline) -> String;
}

macro_rules! answer_by_debug {
    ($($type:ty),*) => {
        $(impl Answer for $type {
            fn show(&self, _: &Timeline) -> String {
                format!("{self:?}")
            }
        })*
    };
}

answer_by_debug!((), bool, i64, u64, Ttl);

impl Answer for Option<Bytes> {
    fn show(&self, _: &Timeline) -> String {
        self.as_ref()
            .map_or_else(|| "None".to_owned(), |value| show_bytes(value))
    }
}

impl Answer for Vec<Option<Bytes>> {
    fn show(&self, timeline: &Timeline) -> String {
        let shown: Vec<String> = self.iter().take(6).map(|one| one.show(timeline)).collect();
        format!("{} answers: {}", self.len(), shown.join(", "))
    }
}

impl Answer for ScanPage {
    fn show(&self, timeline: &Timeline) -> String {
        let shown: Vec<String> = self
            .keys
            .iter()
            .take(6)
            .map(|key| timeline.name(key))
            .collect();
        let cursor = timeline.cursor(self.cursor.as_deref());
        let count = self.keys.len();
        format!("{count} keys: {}; cursor {cursor}", shown.join(", "))
    }
}

impl Answer for RawSubscription {
    fn show(&self, _: &Timeline) -> String {
        "subscribed".to_owned()
    }
}

#[async_trait]
impl StoreAdapter for Handle {
    fn name(&self) -> &'static str {
        self.driver.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let what = format!("get {}", self.name_of(key));
        self.call(what, self.driver.get(key)).await
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let condition_text = match condition {
            Condition::IfEquals(expected) => format!("IfEquals({})", show_bytes(expected)),
            other => format!("{other:?}"),
        };
        let what = format!(
            "set {} {} {} {condition_text}",
            self.name_of(key),
            show_bytes(value),
            show_expiry(expiry)
        );
        self.call(what, self.driver.set(key, value, expiry, condition))
            .await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        let what = format!("delete {}", self.name_of(key));
        self.call(what, self.driver.delete(key)).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        let what = format!("has {}", self.name_of(key));
        self.call(what, self.driver.has(key)).await
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        let what = format!(
            "increment {} {delta} initial {}",
            self.name_of(key),
            show_expiry(initial_ttl.map_or(Expiry::Never, Expiry::After))
        );
        self.call(what, self.driver.increment(key, delta, initial_ttl))
            .await
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        let what = format!("expire {} {} ms", self.name_of(key), ttl.as_millis());
        self.call(what, self.driver.expire(key, ttl)).await
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        let what = format!("persist {}", self.name_of(key));
        self.call(what, self.driver.persist(key)).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let what = format!("ttl {}", self.name_of(key));
        self.call(what, self.driver.ttl(key)).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let what = format!("get_many {}", self.names(keys));
        self.call(what, self.driver.get_many(keys)).await
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let values = entries.iter().map(|(_, value)| show_bytes(value));
        let values: Vec<String> = values.take(6).collect();
        let what = format!(
            "set_many {} = {values:?} {}",
            self.names(&keys),
            show_expiry(ttl.map_or(Expiry::Never, Expiry::After))
        );
        self.call(what, self.driver.set_many(entries, ttl)).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        let what = format!("delete_many {}", self.names(keys));
        self.call(what, self.driver.delete_many(keys)).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        let what = format!("take {}", self.name_of(key));
        self.call(what, self.driver.take(key)).await
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        let what = format!(
            "replace {} {} {}",
            self.name_of(key),
            show_bytes(value),
            show_expiry(expiry)
        );
        self.call(what, self.driver.replace(key, value, expiry))
            .await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let what = format!(
            "compare_and_delete {} {}",
            self.name_of(key),
            show_bytes(expected)
        );
        self.call(what, self.driver.compare_and_delete(key, expected))
            .await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        let what = format!("publish {} {}", self.name_of(channel), show_bytes(message));
        self.call(what, self.driver.publish(channel, message)).await
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        let what = format!("subscribe {}", self.name_of(channel));
        let subscription = self.call(what, self.driver.subscribe(channel)).await?;
        Ok(self.watch(subscription, channel))
    }

    async fn health(&self) -> Health {
        let call = async { Ok(self.driver.health().await) };
        self.call("health".to_owned(), call)
            .await
            .unwrap_or_else(|error| Health::down(error.to_string()))
    }

    async fn close(&self) -> Result<()> {
        self.call("close".to_owned(), self.driver.close()).await
    }

    fn max_value_len(&self) -> Option<usize> {
        self.driver.max_value_len()
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        self.driver.as_scan().map(|_| self as &dyn Scan)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        self.driver.as_patterns().map(|_| self as &dyn Patterns)
    }
}

impl Answer for Health {
    fn show(&self, _: &Timeline) -> String {
        format!("{:?} {:?}", self.state, self.cause)
    }
}

#[async_trait]
impl Scan for Handle {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let Some(scan) = self.driver.as_scan() else {
            return Err(Error::unsupported(self.name(), "scan"));
        };
        let what = format!(
            "scan_page {} cursor {} page size {page_size}",
            self.name_of(prefix),
            self.timeline.cursor(cursor)
        );
        self.call(what, scan.scan_page(prefix, cursor, page_size))
            .await
    }
}

#[async_trait]
impl Patterns for Handle {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        let Some(patterns) = self.driver.as_patterns() else {
            return Err(Error::unsupported(self.name(), "patterns"));
        };
        let what = format!("subscribe_pattern {}", self.name_of(pattern));
        let subscription = self.call(what, patterns.subscribe_pattern(pattern)).await?;
        Ok(self.watch(subscription, pattern))
    }
}

fn show_expiry(expiry: Expiry) -> String {
    match expiry {
        Expiry::After(ttl) => format!("ttl {} ms", ttl.as_millis()),
        other => format!("ttl {other:?}"),
    }
}
