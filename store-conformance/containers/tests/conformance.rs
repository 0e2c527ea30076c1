//! The Redis driver keeps the laws on a Redis in a container, whatever other server there may be.

use std::sync::Arc;

use store_conformance::server::command_at;
use store_conformance::{Clock, Harness, HarnessResult, async_trait};
use store_containers::redis_url;
use store_core::{StoreAdapter, pattern};
use store_redis::{Protocol, RedisDriver, RedisOptions};

/// Removes what begins with a prefix, in one round trip.
const REMOVE: &str = "
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end
return 0";

struct ContainerHarness(Protocol);

#[async_trait]
impl Harness for ContainerHarness {
    async fn open(&self, _scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        let options = RedisOptions::from_url(&redis_url()?)?
            .protocol(self.0)
            // The machine that runs the tests may be busy.
            .call_timeout(std::time::Duration::from_secs(3))
            .connect_timeout(std::time::Duration::from_secs(5));
        Ok(Arc::new(RedisDriver::connect_with(options).await?))
    }

    fn clock(&self) -> Clock {
        Clock::real()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        let prefix = format!("{}*", pattern::escape(scope));
        let remove = move || {
            command_at(&redis_url()?, &["EVAL", REMOVE, "0", &prefix])
                .map_err(|error| error.to_string())
        };
        tokio::task::spawn_blocking(remove).await??;
        Ok(())
    }
}

store_conformance::suite!(resp3, ContainerHarness(Protocol::Resp3), without: {
    faults = "store-redis checks them; a container adds nothing",
    resources = "store-redis checks them; a container adds nothing",
});
store_conformance::suite!(resp2, ContainerHarness(Protocol::Resp2), without: {
    faults = "store-redis checks them; a container adds nothing",
    resources = "store-redis checks them; a container adds nothing",
});
