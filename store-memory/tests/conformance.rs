//! The driver keeps the laws: on a paused clock, and on threads that really run at once.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which fail like tests"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store_conformance::{
    Clock, Config, Harness, HarnessResult, Law, LiveResources, async_trait, run_law,
};
use store_core::StoreAdapter;
use store_memory::{MemoryDriver, MemoryOptions};

/// One store for each scope; its handles are clones.
struct MemoryHarness {
    stores: Mutex<HashMap<String, MemoryDriver>>,
    options: MemoryOptions,
    clock: Clock,
}

impl MemoryHarness {
    fn new(clock: Clock) -> Self {
        Self {
            stores: Mutex::default(),
            // Often, so that the sweep is under way while the laws run.
            options: MemoryOptions::new().sweep_interval(Duration::from_millis(2)),
            clock,
        }
    }

    fn paused() -> Self {
        Self::new(Clock::Virtual)
    }

    fn threads() -> Self {
        Self::new(Clock::real())
    }

    fn driver(&self, scope: &str) -> MemoryDriver {
        let mut stores = self.stores.lock().unwrap();
        let store = stores
            .entry(scope.to_owned())
            .or_insert_with(|| MemoryDriver::with_options(self.options.clone()));
        store.clone()
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(Arc::new(self.driver(scope)))
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.stores.lock().unwrap().remove(scope);
        Ok(())
    }

    fn handles_close_together(&self) -> bool {
        true
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        let driver = self.driver(scope);
        let subscriptions = driver.live_subscriptions() as u64;
        // There are no connections; what may be left behind is a channel.
        Some(LiveResources::new(
            driver.live_channels() as u64,
            subscriptions,
        ))
    }
}

store_conformance::suite!(paused, MemoryHarness::paused(), without: {
    faults = "in process: there is no connection to disturb",
});

store_conformance::suite!(threads, MemoryHarness::threads(), without: {
    faults = "in process: there is no connection to disturb",
});

#[test]
fn a_limit_on_values_is_kept() {
    let law = Law::find("kv", "oversize_is_refused_whole").unwrap();
    for limit in [8, 100, 65_536] {
        let make = || -> Arc<dyn Harness> {
            let mut harness = MemoryHarness::paused();
            harness.options = harness.options.max_value_len(limit);
            Arc::new(harness)
        };
        let outcome = run_law(law, &make, &Config::default());
        assert!(outcome.is_kept(), "{outcome:?}");
    }
}
