//! The Redis driver keeps the laws on a Redis in a container.
//!
//! The server is found as everywhere: a given one, a `redis-server` on the path, a container.
//! `ci/container` runs this where neither of the first two is there.

use std::sync::Arc;

use store_conformance::server::{command_at, shared_url_or};
use store_conformance::{Clock, Harness, HarnessResult, async_trait};
use store_core::{StoreAdapter, pattern};
use store_redis::RedisDriver;

struct ContainerHarness;

fn url() -> HarnessResult<String> {
    Ok(shared_url_or(store_containers::redis_url)?)
}

#[async_trait]
impl Harness for ContainerHarness {
    async fn open(&self, _scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(Arc::new(RedisDriver::connect(&url()?).await?))
    }

    fn clock(&self) -> Clock {
        Clock::real()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        const REMOVE: &str = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do \
                              redis.call('UNLINK', key) end";
        let prefix = format!("{}*", pattern::escape(scope));
        command_at(&url()?, &["EVAL", REMOVE, "0", &prefix])?;
        Ok(())
    }
}

store_conformance::suite!(container, ContainerHarness, without: {
    faults = "checked against servers without a container",
    resources = "checked against servers without a container",
});

/// Only `ci/container` asks for it, since elsewhere another server may come first.
#[test]
fn the_server_is_the_one_in_the_container() {
    if std::env::var_os("STORE_EXPECT_CONTAINER").is_none() {
        return;
    }
    let url = url().expect("a server");
    let info = command_at(&url, &["INFO", "server"]).expect("an answer");
    // The first process of its own name space.
    assert!(
        info.lines().any(|line| line.trim() == "process_id:1"),
        "{info}"
    );
}
