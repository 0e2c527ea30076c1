//! deadpool-redis: a pool of connections of the redis crate, sized as it is by default.

use std::time::Duration;

use anyhow::Result;
use deadpool_redis::{Config, Pool, Runtime};
use redis::AsyncCommands;

use super::{RedisClient, redis_crate};

/// A pool as its README makes it. Each connection has one command in flight at a time, so neither
/// Nagle's algorithm nor its absence changes anything.
pub fn connect(url: &str) -> Result<Deadpool> {
    let pool = Config::from_url(url).create_pool(Some(Runtime::Tokio1))?;
    Ok(Deadpool(pool))
}

#[derive(Clone)]
pub struct Deadpool(Pool);

impl RedisClient for Deadpool {
    type Value = Vec<u8>;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get().await?.get(key).await?)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        let mut connection = self.0.get().await?;
        redis_crate::set(&mut connection, key, &value, ttl).await
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(self.0.get().await?.incr(key, 1).await?)
    }
}
