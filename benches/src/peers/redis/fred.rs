//! fred, one client with TCP_NODELAY.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, PerformanceConfig, TcpConfig};
use fred::types::{Builder, Expiration};

use super::RedisClient;

/// One client, cloned for each task: it pipelines what comes at the same time, so its docs want a
/// pool only for work that one connection cannot carry.
pub async fn connect(url: &str) -> Result<Fred> {
    Ok(Fred(client(url).await?))
}

/// A client that is connected.
pub async fn client(url: &str) -> Result<Client> {
    client_with_buffer(url, PerformanceConfig::default().broadcast_channel_capacity).await
}

/// One whose subscribers fall behind by this many messages before they lose some: the default
/// of 32 is less than a burst.
pub async fn client_with_buffer(url: &str, capacity: usize) -> Result<Client> {
    let client = Builder::from_config(Config::from_url(url)?)
        .with_connection_config(|config| {
            config.tcp = TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            };
        })
        .with_performance_config(|config| config.broadcast_channel_capacity = capacity)
        .build()?;
    client.init().await?;
    Ok(client)
}

#[derive(Clone)]
pub struct Fred(Client);

impl RedisClient for Fred {
    type Value = Bytes;

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).await?)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        let expiry = ttl.map(expiry);
        let value = Bytes::from(value);
        Ok(self.0.set(key, value, expiry, None, false).await?)
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(self.0.incr(key).await?)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Ok(self.0.mget(keys).await?)
    }

    async fn set_many(&self, entries: Vec<(&str, Vec<u8>)>, ttl: Duration) -> Result<()> {
        let pipeline = self.0.pipeline();
        for (key, value) in entries {
            let value = Bytes::from(value);
            let _: () = pipeline
                .set(key, value, Some(expiry(ttl)), None, false)
                .await?;
        }
        let _: Vec<()> = pipeline.all().await?;
        Ok(())
    }
}

fn expiry(ttl: Duration) -> Expiration {
    Expiration::PX(ttl.as_millis() as i64)
}
