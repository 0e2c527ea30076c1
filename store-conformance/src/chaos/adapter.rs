//! Every operation of the wrapped driver, with its chance to fail.

use store_core::{
    Bytes, Condition, Error, Expiry, Health, Patterns, RawSubscription, Result, Scan, ScanPage,
    StoreAdapter, Ttl, TtlMillis, async_trait,
};

use super::Chaos;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: StoreAdapter> StoreAdapter for Chaos<D> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.call(self.inner.get(key)).await
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.call(self.inner.set(key, value, expiry, condition))
            .await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.call(self.inner.delete(key)).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.call(self.inner.has(key)).await
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        self.call(self.inner.increment(key, delta, initial_ttl))
            .await
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.call(self.inner.expire(key, ttl)).await
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        self.call(self.inner.persist(key)).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.call(self.inner.ttl(key)).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.call(self.inner.get_many(keys)).await
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        self.call(self.inner.set_many(entries, ttl)).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        self.call(self.inner.delete_many(keys)).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.call(self.inner.take(key)).await
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        self.call(self.inner.replace(key, value, expiry)).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.call(self.inner.compare_and_delete(key, expected))
            .await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        self.call(self.inner.publish(channel, message)).await
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        let subscription = self.call(self.inner.subscribe(channel)).await?;
        Ok(self.lossy(subscription))
    }

    async fn health(&self) -> Health {
        self.inner.health().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    fn max_value_len(&self) -> Option<usize> {
        self.inner.max_value_len()
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        self.inner.as_scan().is_some().then_some(self as _)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        self.inner.as_patterns().is_some().then_some(self as _)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: StoreAdapter> Scan for Chaos<D> {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        let Some(scan) = self.inner.as_scan() else {
            return Err(Error::unsupported(self.name(), "scan"));
        };
        self.call(scan.scan_page(prefix, cursor, page_size)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: StoreAdapter> Patterns for Chaos<D> {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        let Some(patterns) = self.inner.as_patterns() else {
            return Err(Error::unsupported(self.name(), "patterns"));
        };
        let subscription = self.call(patterns.subscribe_pattern(pattern)).await?;
        Ok(self.lossy(subscription))
    }
}
