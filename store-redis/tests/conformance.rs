//! The driver keeps the laws on a real server: `STORE_REDIS_URL`, or a `redis-server` on the path.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which fail like tests"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use store_conformance::faults::Proxy;
use store_conformance::server::{command_at, or_skip, shared_url};
use store_conformance::{
    Clock, Config, Faults, Harness, HarnessResult, LiveResources, Outcome, async_trait,
    differential,
};
use store_core::{StoreAdapter, pattern};
use store_memory::MemoryDriver;
use store_redis::{Protocol, RedisDriver, RedisOptions};
use tokio::sync::OnceCell;

/// Removes what begins with a prefix, in one round trip.
const REMOVE: &str = "
local cursor = '0'
repeat
    local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do redis.call('UNLINK', key) end
until cursor == '0'
return 0";

/// Drivers of one law, behind a proxy of their own, told apart by their client name.
struct RedisHarness {
    protocol: Protocol,
    client_name: String,
    way: Way,
}

/// The proxy, which is started with the first driver, for a law that disturbs the connection.
#[derive(Default)]
struct Way {
    proxy: OnceCell<Proxy>,
    wanted: AtomicBool,
}

impl RedisHarness {
    fn new(protocol: Protocol) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            protocol,
            client_name: format!("conformance-{}-{number}", std::process::id()),
            way: Way::default(),
        }
    }

    fn options(&self) -> HarnessResult<RedisOptions> {
        let options = RedisOptions::from_url(&shared_url()?)?
            .protocol(self.protocol)
            .client_name(&self.client_name)
            // The machine that runs the tests may be busy.
            .call_timeout(Duration::from_secs(3))
            .connect_timeout(Duration::from_secs(5));
        Ok(options)
    }
}

/// `host:port` of a URL.
fn address(url: &str) -> String {
    let rest = url.trim_start_matches("redis://");
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:6379")
    }
}

/// Asks the server beside the driver.
async fn ask(arguments: Vec<String>) -> HarnessResult<String> {
    let url = shared_url()?;
    let answer = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        command_at(&url, &arguments)
    });
    Ok(answer.await??)
}

#[async_trait]
impl Harness for RedisHarness {
    async fn open(&self, _scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        let mut options = self.options()?;
        if self.way.wanted.load(Ordering::Relaxed) {
            let start = async || {
                Proxy::start(address(&shared_url()?))
                    .await
                    .map_err(Into::into)
            };
            let proxy: HarnessResult<&Proxy> = self.way.proxy.get_or_try_init(start).await;
            options = options.address("127.0.0.1", proxy?.port());
        }
        Ok(Arc::new(RedisDriver::connect_with(options).await?))
    }

    fn clock(&self) -> Clock {
        Clock::real()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        let prefix = format!("{}*", pattern::escape(scope));
        let command = ["EVAL", REMOVE, "0", &prefix].map(str::to_owned);
        ask(command.into()).await.map(drop)
    }

    fn skip(&self) -> Option<String> {
        or_skip(shared_url())
            .is_none()
            .then(|| "no Redis server, which STORE_ALLOW_MISSING_REDIS=1 allows".to_owned())
    }

    fn faults(&self) -> Option<&dyn Faults> {
        self.way.wanted.store(true, Ordering::Relaxed);
        Some(&self.way)
    }

    async fn live_resources(&self, _scope: &str) -> Option<LiveResources> {
        let list = ask(vec!["CLIENT".to_owned(), "LIST".to_owned()])
            .await
            .ok()?;
        let own = format!(" name={} ", self.client_name);
        let (mut connections, mut subscriptions) = (0, 0);
        for client in list.lines().filter(|client| client.contains(&own)) {
            connections += 1;
            for field in client.split(' ') {
                let count = ["sub=", "psub=", "ssub="]
                    .iter()
                    .find_map(|name| field.strip_prefix(name));
                subscriptions += count.and_then(|count| count.parse().ok()).unwrap_or(0);
            }
        }
        Some(LiveResources::new(connections, subscriptions))
    }
}

#[async_trait]
impl Faults for Way {
    async fn sever(&self) {
        if let Some(proxy) = self.proxy.get() {
            proxy.sever().await;
        }
    }

    async fn stall(&self) {
        if let Some(proxy) = self.proxy.get() {
            proxy.stall();
        }
    }

    async fn restore(&self) {
        if let Some(proxy) = self.proxy.get() {
            proxy.resume();
        }
    }
}

store_conformance::suite!(resp3, RedisHarness::new(Protocol::Resp3));
store_conformance::suite!(resp2, RedisHarness::new(Protocol::Resp2));

/// One memory store for each scope.
#[derive(Default)]
struct MemoryHarness(Mutex<HashMap<String, MemoryDriver>>);

#[async_trait]
impl Harness for MemoryHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        let mut stores = self.0.lock().unwrap();
        Ok(Arc::new(
            stores.entry(scope.to_owned()).or_default().clone(),
        ))
    }

    fn clock(&self) -> Clock {
        Clock::real()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.0.lock().unwrap().remove(scope);
        Ok(())
    }
}

#[test]
fn memory_and_redis_answer_the_same() {
    let redis = || -> Arc<dyn Harness> { Arc::new(RedisHarness::new(Protocol::Resp3)) };
    let memory = || -> Arc<dyn Harness> { Arc::new(MemoryHarness::default()) };
    if redis().skip().is_some() {
        return;
    }
    let config = Config::from_env().unwrap();
    match differential(&memory, &redis, &config) {
        Outcome::Kept { cases } => println!("{cases} sequences agree"),
        Outcome::Broken(breach) => panic!("{breach}"),
        Outcome::NotChecked(reason) => panic!("not checked: {reason}"),
    }
}
