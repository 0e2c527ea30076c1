//! igniter-store on Redis: the store with JSON as a user writes it, and the driver alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use igniter_store::{Condition, Expiry, Store, StoreAdapter, TtlMillis};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CALL_TIMEOUT, Caller, RedisClient};

/// The store, with its default options but for the timeout.
pub async fn store(url: &str) -> Result<Store> {
    Ok(igniter_store::connect(&with_timeout(url)).await?)
}

/// The driver alone, behind the object that a store calls.
pub async fn adapter(url: &str) -> Result<Adapter> {
    let adapter = igniter_store::connect_adapter(&with_timeout(url)).await?;
    Ok(Adapter(adapter))
}

fn with_timeout(url: &str) -> String {
    format!("{url}?call_timeout_ms={}", CALL_TIMEOUT.as_millis())
}

#[derive(Clone)]
pub struct Adapter(Arc<dyn StoreAdapter>);

impl RedisClient for Adapter {
    type Value = Bytes;

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).await?)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        let expiry = match ttl {
            Some(ttl) => Expiry::After(TtlMillis::new(ttl)?),
            None => Expiry::Never,
        };
        self.0.set(key, &value, expiry, Condition::Always).await?;
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(self.0.increment(key, 1, None).await?)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Ok(self.0.get_many(&keys).await?)
    }

    async fn set_many(&self, entries: Vec<(&str, Vec<u8>)>, ttl: Duration) -> Result<()> {
        let entries: Vec<(&str, &[u8])> = entries
            .iter()
            .map(|(key, value)| (*key, value.as_slice()))
            .collect();
        Ok(self
            .0
            .set_many(&entries, Some(TtlMillis::new(ttl)?))
            .await?)
    }
}

impl<V> Caller<V> for Store
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    async fn get(&self, key: &str) -> Result<Option<V>> {
        Ok(self.get(key).await?)
    }

    async fn set(&self, key: &str, value: &V, ttl: Option<Duration>) -> Result<()> {
        match ttl {
            Some(ttl) => self.set_with(key, value, ttl).await.map(drop)?,
            None => self.set(key, value).await?,
        }
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(self.increment(key).await?)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<V>>> {
        let values = self.get_many(keys).await?;
        Ok(values.into_iter().collect::<igniter_store::Result<_>>()?)
    }

    async fn set_many(&self, entries: &[(&str, &V)], ttl: Duration) -> Result<()> {
        Ok(self.set_many_with(entries, ttl).await?)
    }
}
