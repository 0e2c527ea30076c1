//! Calls that are dropped before their answers come.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use store_conformance::server::RedisServer;
use store_core::{Condition, ErrorKind, Expiry, StoreAdapter};
use store_redis::RedisDriver;
use tokio::task::{JoinSet, yield_now};

use crate::counter::Counter;
use crate::load::{TASKS, begin};
use crate::support::{connect, patient_options, server, settled};

const DROPPED: usize = 100_000;
/// Fewer than tasks, so that some are dropped while they wait for their turn.
const IN_FLIGHT: usize = 48;

/// F12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_shift_no_answers_and_keep_no_permits() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(patient_options(&server).max_in_flight(IN_FLIGHT)).await;
    let mut counters = Vec::new();
    for number in 0..TASKS {
        counters.push(begin(&driver, number).await);
        let value = value_key(number);
        let always = Condition::Always;
        let set = driver.set(&value, value.as_bytes(), Expiry::Never, always);
        assert!(set.await.unwrap());
    }
    let mut tasks = JoinSet::new();
    for (number, counter) in counters.into_iter().enumerate() {
        tasks.spawn(call_and_drop(Arc::clone(&driver), number, counter));
    }
    let (mut dropped, mut answered) = (0, 0);
    while let Some(task) = tasks.join_next().await {
        let (mut counter, task_dropped) = task.unwrap();
        dropped += task_dropped;
        answered += counter.acknowledged;
        let value = driver.increment(&counter.key, 0, None).await.unwrap();
        counter.check_final(value);
        assert_eq!(counter.violations, [""; 0]);
    }
    println!("F12: {dropped} dropped, {answered} increments acknowledged in between");
    assert!(dropped >= DROPPED);
    let health = driver.health().await;
    assert_eq!((health.generation, health.is_up()), (1, true), "{health:?}");
    every_permit_is_back(&server, &driver).await;
    settled(&server, 1).await;
}

fn value_key(number: usize) -> String {
    format!("value:{number}")
}

/// Drops its share of calls, each after it was polled a few times, and checks every answer.
async fn call_and_drop(
    driver: Arc<RedisDriver>,
    number: usize,
    mut counter: Counter,
) -> (Counter, usize) {
    let mut dropped = 0;
    let mut round = 0;
    while dropped < DROPPED.div_ceil(TASKS) {
        round += 1;
        let random = RandomState::new().hash_one(round);
        let polls = random % 4;
        if random & 64 == 0 {
            let key = value_key((number + round) % TASKS);
            let mut call = driver.get(&key);
            match polled(&mut call, polls).await {
                Some(value) => assert_eq!(value.unwrap().unwrap(), key.as_bytes()),
                None => dropped += 1,
            }
        } else {
            let key = counter.key.clone();
            let mut call = driver.increment(&key, 1, None);
            match polled(&mut call, polls).await {
                Some(outcome) => {
                    outcome.as_ref().unwrap();
                    counter.record(&outcome);
                }
                None => {
                    dropped += 1;
                    counter.indeterminate += 1;
                }
            }
        }
        if random & 128 == 0 {
            let outcome = driver.increment(&counter.key, 1, None).await;
            outcome.as_ref().unwrap();
            counter.record(&outcome);
        }
    }
    (counter, dropped)
}

/// The outcome of `call` if it is there after so many turns of the other tasks.
async fn polled<F: Future + Unpin>(call: &mut F, turns: u64) -> Option<F::Output> {
    for _ in 0..turns {
        if let Some(outcome) = call.now_or_never() {
            return Some(outcome);
        }
        yield_now().await;
    }
    call.now_or_never()
}

/// While the server hangs, exactly those calls are sent that have a permit: all that there are.
async fn every_permit_is_back(server: &RedisServer, driver: &RedisDriver) {
    server.stop().unwrap();
    let calls = (0..IN_FLIGHT).map(|_| driver.increment("probe", 1, None));
    for outcome in join_all(calls).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    }
    server.cont().unwrap();
}
