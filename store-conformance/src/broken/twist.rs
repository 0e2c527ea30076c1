//! A change to the reference driver, and the driver and harness that it makes.

use std::fmt::Debug;
use std::sync::Arc;

use store_core::{
    Bytes, Condition, Expiry, Health, Patterns, RawSubscription, Result, Scan, ScanPage,
    StoreAdapter, Ttl, TtlMillis, async_trait,
};

use crate::clock::Clock;
use crate::harness::{Harness, HarnessResult, LiveResources};
use crate::reference::{ReferenceDriver, ReferenceHarness};

/// Another way to do some of the reference driver's operations. By default each is done right.
///
/// One twist is shared by all handles of a harness. `inner` is the handle that was called.
#[async_trait]
pub(super) trait Twist: Debug + Send + Sync + 'static {
    async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        inner.get(key).await
    }

    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        inner.set(key, value, expiry, condition).await
    }

    async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        inner.delete(key).await
    }

    async fn has(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        inner.has(key).await
    }

    async fn increment(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        inner.increment(key, delta, initial_ttl).await
    }

    async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
        inner.expire(key, ttl).await
    }

    async fn persist(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        inner.persist(key).await
    }

    async fn ttl(&self, inner: &ReferenceDriver, key: &str) -> Result<Ttl> {
        inner.ttl(key).await
    }

    async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        inner.get_many(keys).await
    }

    async fn set_many(
        &self,
        inner: &ReferenceDriver,
        entries: &[(&str, &[u8])],
        ttl: Option<TtlMillis>,
    ) -> Result<()> {
        inner.set_many(entries, ttl).await
    }

    async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
        inner.delete_many(keys).await
    }

    async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        inner.take(key).await
    }

    async fn replace(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Bytes>> {
        inner.replace(key, value, expiry).await
    }

    async fn compare_and_delete(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        expected: &[u8],
    ) -> Result<bool> {
        inner.compare_and_delete(key, expected).await
    }

    async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
        inner.publish(channel, message).await
    }

    async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
        inner.subscribe(channel).await
    }

    async fn close(&self, inner: &ReferenceDriver) -> Result<()> {
        inner.close().await
    }

    async fn health(&self, inner: &ReferenceDriver) -> Health {
        inner.health().await
    }

    async fn scan_page(
        &self,
        inner: &ReferenceDriver,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        inner.scan_page(prefix, cursor, page_size).await
    }

    async fn subscribe_pattern(
        &self,
        inner: &ReferenceDriver,
        pattern: &str,
    ) -> Result<RawSubscription> {
        inner.subscribe_pattern(pattern).await
    }

    fn max_value_len(&self) -> Option<usize> {
        None
    }

    fn has_scan(&self) -> bool {
        true
    }

    /// Called for each handle that is opened, with the first one of its scope.
    fn open(&self, handle: ReferenceDriver) -> ReferenceDriver {
        handle
    }
}

/// Makes the harness of a driver with this change.
pub(super) fn twisted(twist: impl Twist) -> Arc<dyn Harness> {
    Arc::new(TwistedHarness {
        reference: ReferenceHarness::default(),
        twist: Arc::new(twist),
    })
}

struct TwistedHarness<T> {
    reference: ReferenceHarness,
    twist: Arc<T>,
}

#[async_trait]
impl<T: Twist> Harness for TwistedHarness<T> {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(Arc::new(Twisted {
            inner: self.twist.open(self.reference.driver(scope)),
            twist: Arc::clone(&self.twist),
        }))
    }

    fn clock(&self) -> Clock {
        self.reference.clock()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.reference.close(scope).await
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        self.reference.live_resources(scope).await
    }
}

#[derive(Debug)]
struct Twisted<T> {
    inner: ReferenceDriver,
    twist: Arc<T>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Twist> StoreAdapter for Twisted<T> {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.twist.get(&self.inner, key).await
    }

    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.twist
            .set(&self.inner, key, value, expiry, condition)
            .await
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        self.twist.delete(&self.inner, key).await
    }

    async fn has(&self, key: &str) -> Result<bool> {
        self.twist.has(&self.inner, key).await
    }

    async fn increment(
        &self,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        self.twist
            .increment(&self.inner, key, delta, initial_ttl)
            .await
    }

    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.twist.expire(&self.inner, key, ttl).await
    }

    async fn persist(&self, key: &str) -> Result<bool> {
        self.twist.persist(&self.inner, key).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.twist.ttl(&self.inner, key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.twist.get_many(&self.inner, keys).await
    }

    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        self.twist.set_many(&self.inner, entries, ttl).await
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        self.twist.delete_many(&self.inner, keys).await
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.twist.take(&self.inner, key).await
    }

    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        self.twist.replace(&self.inner, key, value, expiry).await
    }

    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.twist
            .compare_and_delete(&self.inner, key, expected)
            .await
    }

    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        self.twist.publish(&self.inner, channel, message).await
    }

    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        self.twist.subscribe(&self.inner, channel).await
    }

    async fn health(&self) -> Health {
        self.twist.health(&self.inner).await
    }

    async fn close(&self) -> Result<()> {
        self.twist.close(&self.inner).await
    }

    fn max_value_len(&self) -> Option<usize> {
        self.twist.max_value_len()
    }

    fn as_scan(&self) -> Option<&dyn Scan> {
        self.twist.has_scan().then_some(self as _)
    }

    fn as_patterns(&self) -> Option<&dyn Patterns> {
        Some(self)
    }
}

#[async_trait]
impl<T: Twist> Scan for Twisted<T> {
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage> {
        self.twist
            .scan_page(&self.inner, prefix, cursor, page_size)
            .await
    }
}

#[async_trait]
impl<T: Twist> Patterns for Twisted<T> {
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription> {
        self.twist.subscribe_pattern(&self.inner, pattern).await
    }
}

/// Declares twists: a name, the fields it has, and the operations that it does in another way.
macro_rules! twists {
    ($($name:ident $({ $($field:ident: $type:ty),* $(,)? })? => { $($body:tt)* })*) => {
        $(
            #[derive(Debug, Default)]
            struct $name { $($($field: $type),*)? }
            #[store_core::async_trait]
            impl $crate::broken::twist::Twist for $name { $($body)* }
        )*
    };
}

/// Declares the table of a file: name, flaw, the laws that kill it, and the twist.
macro_rules! drivers {
    ($($name:ident: $flaw:literal, [$($law:literal),+ $(,)?], $twist:expr;)*) => {
        pub(super) const DRIVERS: &[$crate::broken::Broken] = &[$(
            $crate::broken::Broken {
                name: stringify!($name),
                flaw: $flaw,
                killed_by: &[$($law),+],
                without: &[],
                make: || $crate::broken::twist::twisted($twist),
            },
        )*];
    };
}

pub(super) use {drivers, twists};
