//! The harness of the reference driver.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store_core::{StoreAdapter, async_trait};

use super::ReferenceDriver;
use crate::clock::Clock;
use crate::harness::{Harness, HarnessResult, LiveResources};

/// The harness of the reference driver: one set of data for each scope, on the virtual clock.
#[derive(Debug, Default)]
pub struct ReferenceHarness {
    stores: Mutex<HashMap<String, ReferenceDriver>>,
}

impl ReferenceHarness {
    fn stores(&self) -> MutexGuard<'_, HashMap<String, ReferenceDriver>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handle on the data of `scope`.
    #[must_use]
    pub fn driver(&self, scope: &str) -> ReferenceDriver {
        let mut stores = self.stores();
        stores.entry(scope.to_owned()).or_default().another()
    }
}

#[async_trait]
impl Harness for ReferenceHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(Arc::new(self.driver(scope)))
    }

    fn clock(&self) -> Clock {
        Clock::Virtual
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.stores().remove(scope);
        Ok(())
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        let stores = self.stores();
        // The harness holds the first handle itself.
        let count = |driver: &ReferenceDriver| {
            LiveResources::new(driver.handles() as u64 - 1, driver.subscriptions() as u64)
        };
        Some(stores.get(scope).map(count).unwrap_or_default())
    }
}
