//! What a broken law looks like, and that its replay line shows it again.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which fail like tests"
)]

use std::sync::Arc;
use std::time::Duration;

use store_conformance::reference::{ReferenceDriver, ReferenceHarness};
use store_conformance::{
    Breach, Clock, Config, Harness, HarnessResult, Law, Outcome, async_trait, differential, report,
    run_law,
};
use store_core::{
    Bytes, Condition, Expiry, Health, RawSubscription, Result, StoreAdapter, Ttl, TtlMillis,
};

/// Says that a delete always found something; `get` never answers where that is asked for.
#[derive(Debug)]
struct Liar {
    inner: ReferenceDriver,
    get: Get,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Get {
    Answers,
    Waits,
    Spins,
    Panics,
}

#[async_trait]
impl StoreAdapter for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.get {
            Get::Answers => self.inner.get(key).await,
            Get::Waits => std::future::pending().await,
            Get::Spins => loop {
                std::thread::sleep(Duration::from_millis(1));
            },
            Get::Panics => panic!("no get today"),
        }
    }
    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        self.inner.set(key, value, expiry, condition).await
    }
    async fn delete(&self, key: &str) -> Result<bool> {
        self.inner.delete(key).await.map(|_| true)
    }
    async fn has(&self, key: &str) -> Result<bool> {
        self.inner.has(key).await
    }
    async fn increment(&self, key: &str, delta: i64, ttl: Option<TtlMillis>) -> Result<i64> {
        self.inner.increment(key, delta, ttl).await
    }
    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool> {
        self.inner.expire(key, ttl).await
    }
    async fn persist(&self, key: &str) -> Result<bool> {
        self.inner.persist(key).await
    }
    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.inner.ttl(key).await
    }
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.inner.get_many(keys).await
    }
    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
        self.inner.set_many(entries, ttl).await
    }
    async fn delete_many(&self, keys: &[&str]) -> Result<u64> {
        self.inner.delete_many(keys).await
    }
    async fn take(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.take(key).await
    }
    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
        self.inner.replace(key, value, expiry).await
    }
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.inner.compare_and_delete(key, expected).await
    }
    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()> {
        self.inner.publish(channel, message).await
    }
    async fn subscribe(&self, channel: &str) -> Result<RawSubscription> {
        self.inner.subscribe(channel).await
    }
    async fn health(&self) -> Health {
        self.inner.health().await
    }
    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct LiarHarness(ReferenceHarness, Get);

#[async_trait]
impl Harness for LiarHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        Ok(Arc::new(Liar {
            inner: self.0.driver(scope),
            get: self.1,
        }))
    }
    fn clock(&self) -> Clock {
        Clock::Virtual
    }
    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.0.close(scope).await
    }
}

/// The liar has no scan, and says so.
fn config() -> Config {
    Config::default().without("scan", "the liar has none")
}

fn run(law: &str, get: Get, config: &Config) -> Outcome {
    let law = Law::find("kv", law).unwrap();
    let make = || -> Arc<dyn Harness> { Arc::new(LiarHarness(ReferenceHarness::default(), get)) };
    run_law(law, &make, config)
}

fn broken(law: &str, get: Get, config: &Config) -> Box<Breach> {
    match run(law, get, config) {
        Outcome::Broken(breach) => breach,
        other => panic!("{law} should be broken: {other:?}"),
    }
}

#[test]
fn a_breach_tells_the_whole_story() {
    let breach = broken("model_agrees", Get::Answers, &config());
    let text = breach.to_string();
    for part in [
        "broken law: kv::model_agrees",
        "any sequence of operations answers as a reference map does",
        "driver:   liar",
        "operation 0, Delete(",
        "delete \"a",
        "-> true",
        "replay:   STORE_CONFORMANCE_SEED=0 STORE_CONFORMANCE_CASE=",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn the_input_of_a_breach_is_shrunk() {
    let breach = broken("model_agrees", Get::Answers, &config());
    assert!(breach.shrunk > 0);
    assert!(
        breach.input.matches("Delete").count() == 1 && breach.input.len() < 40,
        "{}",
        breach.input
    );
}

#[test]
fn the_replayed_case_breaks_in_the_same_way() {
    for seed in [0, 1, u64::MAX] {
        let config = config().with_seed(seed);
        let first = broken("model_agrees", Get::Answers, &config);
        let mut config = config;
        config.only_case = Some(first.case);
        let again = broken("model_agrees", Get::Answers, &config);
        assert_eq!(
            (first.case, &first.input, &first.failure),
            (again.case, &again.input, &again.failure)
        );
    }
}

#[test]
fn another_seed_tries_other_inputs() {
    let inputs = [1, 2, 3, 4].map(|seed| {
        let mut config = config().with_seed(seed);
        config.shrink_limit = Duration::ZERO;
        broken("model_agrees", Get::Answers, &config).input
    });
    assert!(inputs.iter().any(|input| *input != inputs[0]));
}

#[test]
fn a_call_that_waits_for_ever_is_named() {
    let breach = broken("get_set_roundtrip", Get::Waits, &config());
    assert!(
        breach.failure.contains("A get ") && breach.failure.contains("did not answer in time"),
        "{}",
        breach.failure
    );
}

#[test]
fn a_call_that_never_yields_is_named() {
    let mut config = config();
    config.law_limit = Duration::from_millis(300);
    let breach = broken("get_set_roundtrip", Get::Spins, &config);
    assert!(breach.failure.contains("A get "), "{}", breach.failure);
}

#[test]
fn a_call_that_blocks_its_thread_is_named_long_before_the_law_should_end() {
    let mut config = config();
    config.law_limit = Duration::from_secs(3600);
    config.stall_limit = Duration::from_secs(1);
    let breach = broken("get_set_roundtrip", Get::Spins, &config);
    let failure = breach.failure;
    assert!(
        failure.contains("blocks its thread") && failure.contains("A get "),
        "{failure}"
    );
}

#[test]
fn a_panic_of_the_driver_breaks_the_law() {
    let breach = broken("get_set_roundtrip", Get::Panics, &config());
    assert!(
        breach.failure.contains("panicked: no get today"),
        "{}",
        breach.failure
    );
    assert!(
        breach.timeline.contains("(panicked)"),
        "{}",
        breach.timeline
    );
}

#[test]
fn what_is_left_out_is_not_a_pass() {
    let config = Config::default().without("kv", "not today");
    let outcome = run("get_set_roundtrip", Get::Answers, &config);
    assert!(matches!(outcome, Outcome::NotChecked(reason) if reason.contains("not today")));
}

#[test]
fn a_need_that_the_harness_does_not_meet_is_not_a_pass() {
    let law = Law::find("driver", "drop_releases").unwrap();
    let make =
        || -> Arc<dyn Harness> { Arc::new(LiarHarness(ReferenceHarness::default(), Get::Answers)) };
    let outcome = run_law(law, &make, &config());
    assert!(matches!(outcome, Outcome::NotChecked(reason) if reason.contains("`resources`")));
}

#[test]
fn what_is_left_out_must_be_refused() {
    let law = Law::find("driver", "absent_capability_refuses").unwrap();
    let scans = || -> Arc<dyn Harness> { Arc::new(ReferenceHarness::default()) };
    let liar =
        || -> Arc<dyn Harness> { Arc::new(LiarHarness(ReferenceHarness::default(), Get::Answers)) };
    assert!(run_law(law, &liar, &config()).is_kept());
    for group in [
        "kv",
        "counter",
        "ttl",
        "batch",
        "conditional",
        "scan",
        "pubsub",
        "patterns",
        "resources",
    ] {
        let config = Config::default().without(group, "it is there all the same");
        assert!(run_law(law, &scans, &config).is_broken(), "{group}");
    }
}

#[test]
fn a_report_lists_every_law_as_text_and_as_json() {
    let make = || -> Arc<dyn Harness> { Arc::new(ReferenceHarness::default()) };
    let config = Config::default()
        .with_cases(1)
        .without("faults", "in process");
    let report = report(&make, &config);
    assert_eq!(report.results().len(), store_conformance::LAWS.len());
    assert_eq!(report.broken().count(), 0, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("kept         kv::get_set_roundtrip"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(
        json["laws"].as_array().unwrap().len(),
        store_conformance::LAWS.len()
    );
    assert_eq!(json["broken"], 0);
    assert_eq!(json["laws"][0]["result"], "kept");
}

#[test]
fn two_healthy_drivers_agree_and_a_liar_is_found() {
    let healthy = || -> Arc<dyn Harness> { Arc::new(ReferenceHarness::default()) };
    let liar =
        || -> Arc<dyn Harness> { Arc::new(LiarHarness(ReferenceHarness::default(), Get::Answers)) };
    let config = config();
    assert!(differential(&healthy, &healthy, &config).is_kept());
    let Outcome::Broken(breach) = differential(&healthy, &liar, &config) else {
        panic!("the liar was not found");
    };
    assert!(
        breach
            .failure
            .contains("reference answers Flag(false), liar answers Flag(true)"),
        "{}",
        breach.failure
    );
}
