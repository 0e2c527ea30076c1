//! 64 tasks of increments, and what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use store_conformance::server::RedisServer;
use store_core::{Condition, ErrorKind, Expiry, StoreAdapter, TtlMillis};
use store_redis::RedisDriver;
use tokio::task::JoinSet;

use crate::counter::Counter;
use crate::support::{CALL_TIMEOUT, at_most};

/// How many tasks call at the same time.
pub(crate) const TASKS: usize = 64;

/// What the tasks of a load do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Increment,
    /// An increment with an initial ttl, which is a script.
    Script,
}

/// Tasks that increment, each a counter of its own and without a pause.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Worker>,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Worker {
    counter: Counter,
    slowest: Duration,
    failed: Vec<FailedCall>,
}

/// A call that was not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedCall {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) kind: ErrorKind,
}

impl Load {
    /// Sets the counters and starts.
    pub(crate) async fn start(driver: &Arc<RedisDriver>) -> Self {
        Self::start_with(driver, Work::Increment).await
    }

    pub(crate) async fn start_with(driver: &Arc<RedisDriver>, work: Work) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for number in 0..TASKS {
            let counter = begin(driver, number).await;
            tasks.spawn(run(Arc::clone(driver), counter, work, Arc::clone(&stop)));
        }
        Self { stop, tasks }
    }

    /// Waits for the calls under way.
    pub(crate) async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        Report(self.tasks.join_all().await)
    }

    /// Waits until each task ends for itself, as it does when the driver is closed.
    pub(crate) async fn ended(self) -> Report {
        Report(self.tasks.join_all().await)
    }
}

/// A counter at its beginning.
pub(crate) async fn begin(driver: &RedisDriver, number: usize) -> Counter {
    let counter = Counter::new(number);
    let base = counter.base.to_string();
    driver
        .set(
            &counter.key,
            base.as_bytes(),
            Expiry::Never,
            Condition::Always,
        )
        .await
        .expect("the server works at the beginning");
    counter
}

async fn run(
    driver: Arc<RedisDriver>,
    counter: Counter,
    work: Work,
    stop: Arc<AtomicBool>,
) -> Worker {
    let ttl = match work {
        Work::Increment => None,
        Work::Script => TtlMillis::new(Duration::from_secs(3600)).ok(),
    };
    let mut worker = Worker {
        counter,
        slowest: Duration::ZERO,
        failed: Vec::new(),
    };
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let outcome = driver.increment(&worker.counter.key, 1, ttl).await;
        worker.slowest = worker.slowest.max(began.elapsed());
        worker.counter.record(&outcome);
        if let Err(error) = outcome {
            let kind = error.kind();
            let ended = Instant::now();
            worker.failed.push(FailedCall { began, ended, kind });
            if kind == ErrorKind::Closed {
                break;
            }
        }
    }
    worker
}

/// What became of all calls of a load.
pub(crate) struct Report(Vec<Worker>);

impl Report {
    pub(crate) fn acknowledged(&self) -> i64 {
        self.counters().map(|counter| counter.acknowledged).sum()
    }

    pub(crate) fn indeterminate(&self) -> i64 {
        self.counters().map(|counter| counter.indeterminate).sum()
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &FailedCall> {
        self.0.iter().flat_map(|worker| &worker.failed)
    }

    pub(crate) fn slowest(&self) -> Duration {
        let slowest = self.0.iter().map(|worker| worker.slowest).max();
        slowest.unwrap_or_default()
    }

    /// Checks that every call ended in time, that every answer was possible, and the invariant on
    /// the values that `server` holds; nothing may be under way any more.
    pub(crate) fn check(&mut self, fault: &str, server: &RedisServer) {
        self.check_values(fault, |key| server.command(&["GET", key]).unwrap());
    }

    /// The same, with the values as `read` finds them.
    pub(crate) fn check_values(&mut self, fault: &str, read: impl Fn(&str) -> String) {
        println!(
            "{fault}: {} acknowledged, {} in doubt, {} failed",
            self.acknowledged(),
            self.indeterminate(),
            self.failed().count()
        );
        assert!(self.acknowledged() > 0, "nothing was acknowledged");
        at_most(
            &format!("{fault}: the slowest call"),
            self.slowest(),
            CALL_TIMEOUT,
        );
        for worker in &mut self.0 {
            let value = read(&worker.counter.key);
            worker.counter.check_final(value.parse().unwrap());
            assert_eq!(worker.counter.violations, [""; 0]);
        }
    }

    fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.0.iter().map(|worker| &worker.counter)
    }
}
