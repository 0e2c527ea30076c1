//! OpenDAL's Redis service.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use opendal::services::Redis;
use opendal::{ErrorKind, Operator};

use super::RedisClient;

/// An operator with the default pool of ten connections.
pub fn connect(url: &str) -> Result<OpenDal> {
    Ok(OpenDal(Operator::new(Redis::default().endpoint(url))?))
}

#[derive(Clone)]
pub struct OpenDal(Operator);

impl RedisClient for OpenDal {
    type Value = Bytes;

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.0.read(key).await {
            Ok(buffer) => Ok(Some(buffer.to_bytes())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        if ttl.is_some() {
            bail!("OpenDAL has one ttl for a whole operator, none for a write");
        }
        self.0.write(key, value).await?;
        Ok(())
    }
}
