//! rustis, its multiplexed client with the default settings, which include TCP_NODELAY.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rustis::client::{BatchPreparedCommand, Client};
use rustis::commands::{SetExpiration, StringCommands};
use rustis::resp::BulkString;

use super::RedisClient;

/// One client, cloned for each task, as its docs say.
pub async fn connect(url: &str) -> Result<Rustis> {
    Ok(Rustis(Client::connect(url).await?))
}

#[derive(Clone)]
pub struct Rustis(Client);

/// Bytes as rustis gives them.
pub struct Value(BulkString);

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        Vec::from(value.0).into()
    }
}

impl RedisClient for Rustis {
    type Value = Value;

    async fn get(&self, key: &str) -> Result<Option<Value>> {
        let value: Option<BulkString> = self.0.get(key).await?;
        Ok(value.map(Value))
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        let value = BulkString::new(value);
        let Some(ttl) = ttl else {
            return Ok(self.0.set(key, value).await?);
        };
        self.0
            .set_with_options(key, value, None, expiration(ttl))
            .await?;
        Ok(())
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(self.0.incr(key).await?)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Value>>> {
        let values: Vec<Option<BulkString>> = self.0.mget(keys).await?;
        Ok(values.into_iter().map(|value| value.map(Value)).collect())
    }

    async fn set_many(&self, entries: Vec<(&str, Vec<u8>)>, ttl: Duration) -> Result<()> {
        // `MSETEX` would be one command, but servers have it since Redis 8.4 only.
        let mut pipeline = self.0.create_pipeline();
        for (key, value) in entries {
            let value = BulkString::new(value);
            pipeline
                .set_with_options(key, value, None, expiration(ttl))
                .queue();
        }
        let _: Vec<bool> = pipeline.execute().await?;
        Ok(())
    }
}

fn expiration(ttl: Duration) -> SetExpiration {
    SetExpiration::Px(ttl.as_millis() as u64)
}
