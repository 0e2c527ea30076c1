//! The bare redis crate: its multiplexed connection and its connection manager.

use std::time::Duration;

use anyhow::Result;
use redis::aio::{
    ConnectionLike, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection,
};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, IntoConnectionInfo, SetExpiry, SetOptions,
};

use super::{CALL_TIMEOUT, RedisClient};

/// A client for `url` with TCP_NODELAY.
///
/// The crate's default leaves Nagle's algorithm on. With it a client that writes each command as
/// it comes is spared some system calls by the kernel, at the price of latency, so the setting that
/// answers soonest is the reference.
pub fn client(url: &str) -> Result<Client> {
    let info = url.into_connection_info()?;
    let settings = TcpSettings::default().set_nodelay(true);
    Ok(Client::open(info.set_tcp_settings(settings))?)
}

/// The reference: one multiplexed connection, cloned for each task as its docs say.
pub async fn multiplexed(url: &str) -> Result<RedisCrate<MultiplexedConnection>> {
    Ok(RedisCrate(connection(&client(url)?).await?))
}

/// The same with the crate's default TCP settings.
pub async fn multiplexed_with_nagle(url: &str) -> Result<RedisCrate<MultiplexedConnection>> {
    Ok(RedisCrate(connection(&Client::open(url)?).await?))
}

/// The crate's connection that reconnects.
pub async fn manager(url: &str) -> Result<RedisCrate<ConnectionManager>> {
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(CALL_TIMEOUT))
        .set_connection_timeout(Some(CALL_TIMEOUT));
    let client = client(url)?;
    let connecting = client.get_connection_manager_with_config(config);
    Ok(RedisCrate(connecting.await?))
}

/// A multiplexed connection.
pub async fn connection(client: &Client) -> Result<MultiplexedConnection> {
    let config = config();
    let connecting = client.get_multiplexed_async_connection_with_config(&config);
    Ok(connecting.await?)
}

/// The settings of a multiplexed connection: all but the timeouts are the defaults.
pub fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_response_timeout(Some(CALL_TIMEOUT))
        .set_connection_timeout(Some(CALL_TIMEOUT))
}

/// A connection of the redis crate.
#[derive(Clone)]
pub struct RedisCrate<C>(C);

impl<C> RedisClient for RedisCrate<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    type Value = Vec<u8>;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.0.clone().get(key).await?)
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        set(&mut self.0.clone(), key, &value, ttl).await
    }

    async fn increment(&self, key: &str) -> Result<i64> {
        Ok(self.0.clone().incr(key, 1).await?)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.0.clone().mget(keys).await?)
    }

    async fn set_many(&self, entries: Vec<(&str, Vec<u8>)>, ttl: Duration) -> Result<()> {
        let mut pipeline = redis::pipe();
        for (key, value) in &entries {
            let options = SetOptions::default().with_expiration(expiry(ttl));
            pipeline.set_options(*key, value, options).ignore();
        }
        Ok(pipeline.query_async(&mut self.0.clone()).await?)
    }
}

/// `SET key value [PX milliseconds]`.
pub(super) async fn set<C>(
    connection: &mut C,
    key: &str,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<()>
where
    C: ConnectionLike + Send + Sync,
{
    let Some(ttl) = ttl else {
        return Ok(connection.set(key, value).await?);
    };
    let options = SetOptions::default().with_expiration(expiry(ttl));
    Ok(connection.set_options(key, value, options).await?)
}

fn expiry(ttl: Duration) -> SetExpiry {
    SetExpiry::PX(ttl.as_millis() as u64)
}
