//! The work on Redis, one call at a time, with every answer checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::runtime::Runtime;

use super::value::{OfUser, must_be_of};
use super::{Caller, names};
use crate::compare::Sample;
use crate::work::{Generator, Operation, Start, TTL, place};

/// How many keys a batch has.
pub const BATCH: usize = 100;

/// What a task does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Get,
    Miss,
    Set,
    SetTtl,
    /// One set to nine gets.
    Mix,
    Increment,
    GetMany,
    SetMany,
}

impl Work {
    /// The commands that do it, as `INFO commandstats` names them, without regard to case.
    pub fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Get | Self::Miss => &["get"],
            Self::Set | Self::SetTtl => &["set"],
            Self::Mix => &["get", "set"],
            Self::Increment => &["incr", "incrby"],
            Self::GetMany => &["mget"],
            Self::SetMany => &["set"],
        }
    }

    /// How many such commands it takes once.
    pub fn commands_each(self) -> u64 {
        match self {
            Self::SetMany => BATCH as u64,
            _ => 1,
        }
    }

    /// How many keys it is about.
    pub fn keys_each(self) -> u64 {
        match self {
            Self::GetMany | Self::SetMany => BATCH as u64,
            _ => 1,
        }
    }
}

/// The keys and values of the work, made once.
#[derive(Clone)]
pub struct Data<V> {
    keys: Arc<[String]>,
    absent: Arc<[String]>,
    counters: Arc<[String]>,
    values: Arc<[V]>,
}

impl<V> Data<V> {
    pub fn new(count: usize, value: impl Fn(u64) -> V) -> Self {
        Self {
            keys: names::all(names::key, count),
            absent: names::all(names::absent, count),
            counters: names::all(names::counter, count),
            values: (0..count as u64).map(value).collect(),
        }
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }
}

impl<V: OfUser> Data<V> {
    /// Writes every value.
    pub async fn write(&self, caller: &impl Caller<V>) -> Result<()> {
        let all: Vec<_> = self.keys.iter().zip(self.values.iter()).collect();
        for some in all.chunks(BATCH) {
            let writes = some.iter().map(|(key, value)| caller.set(key, value, None));
            try_join_all(writes).await?;
        }
        Ok(())
    }
}

/// The calls of one caller.
#[derive(Clone)]
pub struct Calls<C, V> {
    pub caller: C,
    pub work: Work,
    pub data: Data<V>,
}

impl<C: Caller<V>, V: OfUser> Calls<C, V> {
    async fn get(&self, id: usize) -> Result<()> {
        must_be_of(self.caller.get(&self.data.keys[id]).await?, id)
    }

    async fn set(&self, id: usize, ttl: Option<Duration>) -> Result<()> {
        let (key, value) = (&self.data.keys[id], &self.data.values[id]);
        self.caller.set(key, value, ttl).await
    }

    async fn miss(&self, id: usize) -> Result<()> {
        let value = self.caller.get(&self.data.absent[id]).await?;
        ensure!(value.is_none(), "a key that nobody wrote is there");
        Ok(())
    }

    async fn increment(&self, id: usize) -> Result<()> {
        let count = self.caller.increment(&self.data.counters[id]).await?;
        ensure!(count >= 1, "a count after an increment is {count}");
        Ok(())
    }

    /// The keys of a batch follow each other, from `first` on.
    async fn get_many(&self, first: usize) -> Result<()> {
        let keys = &self.data.keys[first..first + BATCH];
        let values = self.caller.get_many(keys).await?;
        ensure!(values.len() == BATCH, "{} answers", values.len());
        for (offset, value) in values.into_iter().enumerate() {
            must_be_of(value, first + offset)?;
        }
        Ok(())
    }

    async fn set_many(&self, first: usize) -> Result<()> {
        let range = first..first + BATCH;
        let keys = self.data.keys[range.clone()].iter().map(String::as_str);
        let entries: Vec<(&str, &V)> = keys.zip(&self.data.values[range]).collect();
        self.caller.set_many(&entries, TTL).await
    }
}

impl<C: Caller<V>, V: OfUser> Operation for Calls<C, V> {
    async fn run(&self, draw: u64) -> Result<()> {
        let id = place(draw, self.data.count());
        match self.work {
            Work::Get => self.get(id).await,
            Work::Miss => self.miss(id).await,
            Work::Set => self.set(id, None).await,
            Work::SetTtl => self.set(id, Some(TTL)).await,
            // The place is made of the high bits, so the low ones are independent of it.
            Work::Mix if draw.is_multiple_of(10) => self.set(id, None).await,
            Work::Mix => self.get(id).await,
            Work::Increment => self.increment(id).await,
            Work::GetMany => self.get_many(place(draw, self.data.count() - BATCH)).await,
            Work::SetMany => self.set_many(place(draw, self.data.count() - BATCH)).await,
        }
    }
}

/// Tasks that work for a while, and not for a number of operations: the slowest contender is
/// twenty times slower than the fastest, and each needs as much time as the others to be measured.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub tasks: usize,
    pub time: Duration,
    /// Whether each operation is timed, which costs it about 100 ns.
    pub latencies: bool,
}

/// How long after its end a slice may take to come to rest before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(20);

impl Slice {
    pub fn new(tasks: usize, time: Duration) -> Self {
        Self {
            tasks,
            time,
            latencies: false,
        }
    }

    /// Works on the workers of `runtime`.
    pub fn run(self, runtime: &Runtime, operation: &impl Operation) -> Result<Sample> {
        runtime.block_on(async {
            let running = Arc::new(AtomicBool::new(true));
            let start = Start::now();
            let repeat = |task: usize| {
                let (operation, running) = (operation.clone(), Arc::clone(&running));
                tokio::spawn(async move {
                    let mut generator = Generator::new(task as u64 + 1);
                    let mut operations = 0_u64;
                    let mut latencies = Vec::new();
                    while running.load(Ordering::Relaxed) {
                        let draw = generator.next_number();
                        let asked = self.latencies.then(Instant::now);
                        operation.run(draw).await?;
                        latencies.extend(asked.map(|asked| asked.elapsed().as_nanos() as u64));
                        operations += 1;
                    }
                    anyhow::Ok((operations, latencies))
                })
            };
            let tasks: Vec<_> = (0..self.tasks).map(repeat).collect();
            tokio::time::sleep(self.time).await;
            running.store(false, Ordering::Relaxed);
            let ended = tokio::time::timeout(PATIENCE, try_join_all(tasks));
            let counts = ended.await.context("calls that never end")??;
            let (mut operations, mut latencies) = (0, Vec::new());
            for count in counts {
                let (more, timed) = count?;
                operations += more;
                latencies.extend(timed);
            }
            Ok(start.sample(operations, latencies))
        })
    }
}
