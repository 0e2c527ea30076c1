//! The work that every contender does: the value, the keys, which key comes next, and how many
//! tasks ask at once.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use crate::compare::{Contender, Sample};

/// How many keys the work is spread over, unless an area says otherwise.
pub const KEYS: usize = 10_000;

/// A ttl that nothing in a run outlives.
pub const TTL: Duration = Duration::from_secs(3600);

/// The value: about 101 bytes as JSON, 81 as MessagePack with names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: u64,
    pub name: String,
    pub email: String,
    pub roles: Vec<String>,
}

impl User {
    pub fn new(id: u64) -> Self {
        Self {
            id,
            name: format!("Ada Lovelace {:05}", id % 100_000),
            email: format!("ada{:05}@example.org", id % 100_000),
            roles: ["admin", "editor", "viewer"].map(str::to_owned).into(),
        }
    }

    /// A user whose name is so long that its JSON has about `size` bytes.
    pub fn of_size(id: u64, size: usize) -> Self {
        let mut user = Self::new(id);
        let length = serde_json::to_vec(&user).map_or(0, |json| json.len());
        let missing = size.saturating_sub(length);
        user.name.extend(std::iter::repeat_n('x', missing));
        user
    }
}

/// The key of the user with this number.
pub fn key(id: usize) -> String {
    format!("user:{id}")
}

/// The keys of the first `count` users.
pub fn keys(count: usize) -> Arc<[String]> {
    (0..count).map(key).collect()
}

/// Keys that nobody writes.
pub fn absent_keys(count: usize) -> Arc<[String]> {
    (0..count).map(|id| format!("nobody:{id}")).collect()
}

/// A sequence of numbers that is the same in every run: splitmix64, which costs about a
/// nanosecond a number.
#[derive(Clone, Debug)]
pub struct Generator(u64);

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }
}

/// A place below `count` that `draw` chooses.
pub fn place(draw: u64, count: usize) -> usize {
    ((u128::from(draw) * count as u128) >> 64) as usize
}

/// One operation of a contender, as the tasks of a [`Load`] repeat it.
pub trait Operation: Clone + Send + Sync + 'static {
    /// Does it once. `draw` is a random number, the same sequence for every contender.
    fn run(&self, draw: u64) -> impl Future<Output = Result<()>> + Send;
}

/// How much work is done by how many at once.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub tasks: usize,
    /// In all, not for each task.
    pub operations: u64,
}

impl Load {
    pub fn new(tasks: usize, operations: u64) -> Self {
        Self { tasks, operations }
    }

    /// One who does the load on the workers of `runtime`, with other draws in each round.
    pub fn contender(
        self,
        name: &str,
        runtime: &Arc<Runtime>,
        operation: impl Operation,
    ) -> Contender {
        let runtime = Arc::clone(runtime);
        let mut round = 0;
        Contender::new(name, move || {
            round += 1;
            self.run(&runtime, &operation, round)
        })
    }

    fn run(self, runtime: &Runtime, operation: &impl Operation, round: u64) -> Result<Sample> {
        let each = (self.operations / self.tasks as u64).max(1);
        runtime.block_on(async {
            let start = Start::now();
            let tasks: Vec<_> = (0..self.tasks)
                .map(|task| {
                    let generator = Generator::new((round << 32) + task as u64);
                    tokio::spawn(repeat(operation.clone(), generator, each))
                })
                .collect();
            let mut failed = None;
            for task in tasks {
                if let Err(error) = task.await.context("a task of the load panicked")? {
                    failed = Some(error);
                }
            }
            let sample = start.sample(each * self.tasks as u64, Vec::new());
            failed.map_or(Ok(sample), Err)
        })
    }
}

async fn repeat(operation: impl Operation, mut generator: Generator, times: u64) -> Result<()> {
    for _ in 0..times {
        operation.run(generator.next_number()).await?;
    }
    Ok(())
}

/// A moment from which a [`Sample`] is taken.
pub struct Start {
    wall: Instant,
    client_cpu: Duration,
    sleeps: u64,
}

impl Start {
    pub fn now() -> Self {
        Self {
            client_cpu: client_cpu(),
            sleeps: sleeps(),
            wall: Instant::now(),
        }
    }

    pub fn sample(&self, operations: u64, latencies: Vec<u64>) -> Sample {
        Sample {
            operations,
            wall: self.wall.elapsed(),
            client_cpu: client_cpu().saturating_sub(self.client_cpu),
            sleeps: Some(sleeps().saturating_sub(self.sleeps)),
            latencies,
        }
    }
}

/// The processor time that this process has used, in user and in kernel. What it spawned is not
/// in it.
pub fn client_cpu() -> Duration {
    cpu_of(libc::RUSAGE_SELF)
}

/// The same of the programs that this process has started and that have ended.
pub fn children_cpu() -> Duration {
    cpu_of(libc::RUSAGE_CHILDREN)
}

/// How often a thread of this process went to sleep, to be woken later.
pub fn sleeps() -> u64 {
    usage_of(libc::RUSAGE_SELF).ru_nvcsw as u64
}

fn usage_of(who: libc::c_int) -> libc::rusage {
    // SAFETY: getrusage fills the struct that it is given, and zeroes are a value of it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    }
}

fn cpu_of(who: libc::c_int) -> Duration {
    let usage = usage_of(who);
    let of = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// A runtime with this many workers.
pub fn runtime(workers: usize) -> Result<Arc<Runtime>> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    Ok(Arc::new(runtime))
}

/// One worker for each core, which is tokio's default.
pub fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Keeps `value` from being optimized away, and fails where there is none: a contender that
/// answers nothing would be fast.
pub fn must_hit<T>(value: Option<T>) -> Result<()> {
    ensure!(
        black_box(value).is_some(),
        "a value that was written is gone"
    );
    Ok(())
}
