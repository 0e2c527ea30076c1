//! The conformance suite over the driver: one test a law.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use igniter_store::{StoreAdapter, async_trait};
use store_conformance::{Clock, Harness, HarnessResult, LiveResources};

use super::TreeDriver;

/// One tree for each scope, which all handles of a case share.
#[derive(Default)]
struct TreeHarness(Mutex<HashMap<String, Arc<TreeDriver>>>);

impl TreeHarness {
    fn driver(&self, scope: &str) -> Arc<TreeDriver> {
        let mut drivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = drivers.entry(scope.to_owned());
        Arc::clone(driver.or_insert_with(|| Arc::new(TreeDriver::new())))
    }
}

#[async_trait]
impl Harness for TreeHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(self.driver(scope))
    }

    fn clock(&self) -> Clock {
        // The deadlines are tokio instants, so the suite need not wait for them.
        Clock::Virtual
    }

    fn handles_close_together(&self) -> bool {
        true
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        let mut drivers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drivers.remove(scope);
        Ok(())
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        let subscriptions = self.driver(scope).messages.live_subscriptions() as u64;
        Some(LiveResources::new(0, subscriptions))
    }
}

store_conformance::suite!(tree, TreeHarness::default(), without: {
    faults = "in process: there is no connection to disturb",
});
