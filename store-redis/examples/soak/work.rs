//! Tasks that write and read, each what it alone writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store_core::{Condition, ErrorKind, Expiry, Result, StoreAdapter, TtlMillis};
use store_redis::RedisDriver;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::counter::Counter;
use crate::dice::Dice;
use crate::register::Register;

const COUNTERS: usize = 32;
const SCRIPT_COUNTERS: usize = 16;
const REGISTERS: usize = 16;
/// Between two calls of a task.
const PAUSE: Duration = Duration::from_millis(5);
const TTL: Duration = Duration::from_secs(24 * 3600);

/// What became of the calls of one operation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) done: u64,
    pub(crate) indeterminate: u64,
    pub(crate) unavailable: u64,
    pub(crate) denied: u64,
    pub(crate) other: u64,
    pub(crate) slowest: Duration,
}

/// The calls of all operations.
#[derive(Debug, Default)]
struct Tally {
    operations: AtomicU64,
    outcomes: Mutex<BTreeMap<&'static str, Outcomes>>,
}

pub(crate) struct Work {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    counters: JoinSet<Counter>,
    registers: JoinSet<Register>,
}

/// What the tasks know at their end.
pub(crate) struct Done {
    pub(crate) counters: Vec<Counter>,
    pub(crate) registers: Vec<Register>,
    pub(crate) outcomes: BTreeMap<&'static str, Outcomes>,
}

impl Work {
    pub(crate) async fn start(driver: &Arc<RedisDriver>, dice: &mut Dice) -> Outcome<Self> {
        let mut work = Self {
            stop: Arc::default(),
            tally: Arc::default(),
            counters: JoinSet::new(),
            registers: JoinSet::new(),
        };
        for number in 0..COUNTERS + SCRIPT_COUNTERS {
            let counter = Counter::new(number);
            let base = counter.base.to_string();
            let always = Condition::Always;
            driver
                .set(&counter.key, base.as_bytes(), Expiry::Never, always)
                .await?;
            let ttl = if number < COUNTERS {
                None
            } else {
                Some(TtlMillis::new(TTL)?)
            };
            let actor = work.actor(driver);
            work.counters.spawn(actor.count(counter, ttl));
        }
        for number in 0..REGISTERS {
            let actor = work.actor(driver);
            let register = Register::new(number);
            work.registers.spawn(actor.keep(register, dice.fork()));
        }
        Ok(work)
    }

    /// How many calls there were.
    pub(crate) fn operations(&self) -> u64 {
        self.tally.operations.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let counters = self.counters.join_all().await;
        let registers = self.registers.join_all().await;
        let outcomes = self.tally.outcomes.lock();
        let outcomes = outcomes.unwrap_or_else(PoisonError::into_inner).clone();
        Done {
            counters,
            registers,
            outcomes,
        }
    }

    fn actor(&self, driver: &Arc<RedisDriver>) -> Actor {
        Actor {
            driver: Arc::clone(driver),
            stop: Arc::clone(&self.stop),
            tally: Arc::clone(&self.tally),
        }
    }
}

/// What a task needs.
struct Actor {
    driver: Arc<RedisDriver>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

impl Actor {
    async fn count(self, mut counter: Counter, ttl: Option<TtlMillis>) -> Counter {
        let operation = match ttl {
            None => "INCRBY",
            Some(_) => "increment by script",
        };
        while self.goes_on().await {
            let call = self.driver.increment(&counter.key, 1, ttl);
            counter.record(&self.timed(operation, call).await);
        }
        counter
    }

    async fn keep(self, mut register: Register, mut dice: Dice) -> Register {
        while self.goes_on().await {
            let key = register.key.clone();
            let value = register.next_value();
            let value = value.as_bytes();
            match (dice.below(4), register.known_value()) {
                (0 | 1, _) => {
                    let call = self.driver.get(&key);
                    register.read(&self.timed("GET", call).await);
                }
                (2, Some(known)) => {
                    let equals = Condition::IfEquals(known.as_bytes());
                    let call = self.driver.set(&key, value, Expiry::Never, equals);
                    register.wrote(&self.timed("set if equals, by script", call).await);
                }
                _ => {
                    let always = Condition::Always;
                    let call = self.driver.set(&key, value, Expiry::Never, always);
                    register.wrote(&self.timed("SET", call).await);
                }
            }
        }
        register
    }

    async fn goes_on(&self) -> bool {
        tokio::time::sleep(PAUSE).await;
        !self.stop.load(Ordering::Relaxed)
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let began = Instant::now();
        let outcome = call.await;
        let took = began.elapsed();
        self.tally.operations.fetch_add(1, Ordering::Relaxed);
        let outcomes = self.tally.outcomes.lock();
        let mut outcomes = outcomes.unwrap_or_else(PoisonError::into_inner);
        let outcomes = outcomes.entry(operation).or_default();
        outcomes.slowest = outcomes.slowest.max(took);
        let count = match &outcome {
            Ok(_) => &mut outcomes.done,
            Err(error) => match error.kind() {
                ErrorKind::Indeterminate => &mut outcomes.indeterminate,
                ErrorKind::Unavailable => &mut outcomes.unavailable,
                ErrorKind::PermissionDenied => &mut outcomes.denied,
                _ => &mut outcomes.other,
            },
        };
        *count += 1;
        outcome
    }
}
