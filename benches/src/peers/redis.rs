//! What every client of Redis is asked to do, and how JSON is written by hand on top of it.

pub mod calls;
pub mod clients;
pub mod deadpool;
pub mod fred;
pub mod igniter_js;
pub mod listening;
pub mod names;
pub mod opendal;
pub mod ours;
pub mod pubsub;
pub mod redis_benchmark;
pub mod redis_crate;
pub mod rustis;
pub mod value;

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long a call may take with every client that lets this be said. Several have half a second by
/// default, and a machine that is busy for that long must not put one of them out.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of Redis as its own interface is, on bytes.
///
/// Not object safe, so that no client pays for a call that its own users do not make. A value to
/// write is given away, since some clients keep it until it is sent; those that copy it borrow.
/// What a client has no operation for fails with that reason, and the report shows it.
pub trait RedisClient: Clone + Send + Sync + 'static {
    /// Bytes as the client gives them.
    type Value: AsRef<[u8]> + Into<Bytes> + Send;

    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Self::Value>>> + Send;

    fn set(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> impl Future<Output = Result<()>> + Send;

    fn increment(&self, _key: &str) -> impl Future<Output = Result<i64>> + Send {
        async { bail!("the client has no increment") }
    }

    fn get_many(
        &self,
        _keys: &[String],
    ) -> impl Future<Output = Result<Vec<Option<Self::Value>>>> + Send {
        async { bail!("the client has no batch of reads") }
    }

    fn set_many(
        &self,
        _entries: Vec<(&str, Vec<u8>)>,
        _ttl: Duration,
    ) -> impl Future<Output = Result<()>> + Send {
        async { bail!("the client has no batch of writes") }
    }
}

/// A client as the person calls it who works with values of type `V`.
pub trait Caller<V>: Clone + Send + Sync + 'static {
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<V>>> + Send;

    fn set(
        &self,
        key: &str,
        value: &V,
        ttl: Option<Duration>,
    ) -> impl Future<Output = Result<()>> + Send;

    fn increment(&self, key: &str) -> impl Future<Output = Result<i64>> + Send;

    fn get_many(&self, keys: &[String]) -> impl Future<Output = Result<Vec<Option<V>>>> + Send;

    fn set_many(
        &self,
        entries: &[(&str, &V)],
        ttl: Duration,
    ) -> impl Future<Output = Result<()>> + Send;
}

/// A client with `serde_json` called by hand, as a person writes it who has no store.
#[derive(Clone)]
pub struct ByHand<C>(pub C);

impl<C, V> Caller<V> for ByHand<C>
where
    C: RedisClient,
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    async fn get(&self, key: &str) -> Result<Option<V>> {
        let Some(bytes) = self.0.get(key).await? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(bytes.as_ref())?))
    }

    async fn set(&self, key: &str, value: &V, ttl: Option<Duration>) -> Result<()> {
        self.0.set(key, serde_json::to_vec(value)?, ttl).await
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        self.0.increment(key).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<V>>> {
        let decode = |bytes: Option<C::Value>| {
            let decoded = bytes.map(|bytes| serde_json::from_slice(bytes.as_ref()));
            Ok(decoded.transpose()?)
        };
        self.0
            .get_many(keys)
            .await?
            .into_iter()
            .map(decode)
            .collect()
    }

    async fn set_many(&self, entries: &[(&str, &V)], ttl: Duration) -> Result<()> {
        let encode = |(key, value): &(_, &V)| Ok((*key, serde_json::to_vec(*value)?));
        let encoded = entries.iter().map(encode).collect::<Result<_>>()?;
        self.0.set_many(encoded, ttl).await
    }
}

/// A client alone: bytes in, bytes out, no codec.
#[derive(Clone)]
pub struct Plain<C>(pub C);

impl<C: RedisClient> Caller<Encoded> for Plain<C> {
    async fn get(&self, key: &str) -> Result<Option<Encoded>> {
        let bytes = self.0.get(key).await?;
        Ok(bytes.map(|bytes| Encoded(bytes.into())))
    }

    async fn set(&self, key: &str, value: &Encoded, ttl: Option<Duration>) -> Result<()> {
        self.0.set(key, value.0.to_vec(), ttl).await
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        self.0.increment(key).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Encoded>>> {
        let copy = |bytes: C::Value| Encoded(bytes.into());
        let values = self.0.get_many(keys).await?;
        Ok(values.into_iter().map(|bytes| bytes.map(copy)).collect())
    }

    async fn set_many(&self, entries: &[(&str, &Encoded)], ttl: Duration) -> Result<()> {
        let copy = |(key, value): &(_, &Encoded)| (*key, value.0.to_vec());
        self.0
            .set_many(entries.iter().map(copy).collect(), ttl)
            .await
    }
}

/// A value that is encoded already, and stays so.
#[derive(Clone, Debug)]
pub struct Encoded(pub Bytes);
