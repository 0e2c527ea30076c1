//! opendal's services in memory, with the value as JSON.

use std::hint::black_box;

use anyhow::Result;
use opendal::services::{Dashmap, Memory, Moka};
use opendal::{ErrorKind, Operator};

use super::MemoryPeer;
use crate::work::User;

/// An operator of opendal.
#[derive(Clone)]
pub struct OpenDal(Operator);

impl OpenDal {
    pub fn memory() -> Result<Self> {
        Ok(Self(Operator::new(Memory::default())?))
    }

    pub fn dashmap() -> Result<Self> {
        Ok(Self(Operator::new(Dashmap::default())?))
    }

    pub fn moka() -> Result<Self> {
        Ok(Self(Operator::new(Moka::default())?))
    }
}

impl MemoryPeer for OpenDal {
    async fn get(&self, key: &str) -> Result<bool> {
        let bytes = match self.0.read(key).await {
            Ok(buffer) => buffer.to_bytes(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let user: User = serde_json::from_slice(&bytes)?;
        black_box(user);
        Ok(true)
    }

    async fn set(&self, key: &str, user: &User) -> Result<()> {
        self.0.write(key, serde_json::to_vec(user)?).await?;
        Ok(())
    }
}
