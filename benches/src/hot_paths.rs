//! The paths whose instructions are counted, each repeated on one thread.

use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dashmap::DashMap;
use igniter_store::{Codec, Json, MemoryDriver, MemoryOptions, MessagePack, Store, Subscription};
use tokio::runtime::{Builder, Runtime};

use crate::server::RedisServer;
use crate::work::{self, TTL, User};

/// A path that [`run`] knows.
pub struct Path {
    pub name: &'static str,
    operation: Operation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    GetHit,
    GetHitMessagePack,
    GetHitInScope,
    GetMiss,
    Set,
    SetMessagePack,
    SetWithTtl,
    Increment,
    Has,
    GetMany,
    SetMany,
    GetOrLoadHit,
    PublishToNobody,
    PublishToOne,
    Receive,
    ByHandGetHit,
    ByHandGetMiss,
    ByHandSet,
    ByHandIncrement,
    RedisGetHit,
    RedisGetHitByTasks,
    RedisSet,
    RedisSetWithTtl,
    RedisGetMany,
}

const fn path(name: &'static str, operation: Operation) -> Path {
    Path { name, operation }
}

/// All paths, in the order of the file.
pub const PATHS: &[Path] = &[
    path("memory-get-hit-json", Operation::GetHit),
    path("memory-get-hit-message-pack", Operation::GetHitMessagePack),
    path("memory-get-hit-in-scope", Operation::GetHitInScope),
    path("memory-get-miss", Operation::GetMiss),
    path("memory-set-json", Operation::Set),
    path("memory-set-message-pack", Operation::SetMessagePack),
    path("memory-set-with-ttl", Operation::SetWithTtl),
    path("memory-increment", Operation::Increment),
    path("memory-has", Operation::Has),
    path("memory-get-many-100", Operation::GetMany),
    path("memory-set-many-100", Operation::SetMany),
    path("memory-get-or-load-hit", Operation::GetOrLoadHit),
    path("memory-publish-to-nobody", Operation::PublishToNobody),
    path("memory-publish-to-one", Operation::PublishToOne),
    path("memory-publish-and-receive", Operation::Receive),
    // DashMap and serde_json without us, to see what is ours in the paths above.
    path("by-hand-get-hit-json", Operation::ByHandGetHit),
    path("by-hand-get-miss", Operation::ByHandGetMiss),
    path("by-hand-set-json", Operation::ByHandSet),
    path("by-hand-increment", Operation::ByHandIncrement),
    // What this process does for them; the server and the kernel are not counted.
    path("redis-get-hit-json", Operation::RedisGetHit),
    path("redis-get-hit-json-64-tasks", Operation::RedisGetHitByTasks),
    path("redis-set-json", Operation::RedisSet),
    path("redis-set-with-ttl", Operation::RedisSetWithTtl),
    path("redis-get-many-100", Operation::RedisGetMany),
];

/// The function whose instructions callgrind counts, with all that it calls.
pub const COUNTED: &str = "store_benches::hot_paths::counted";

/// Does the operation of `path` so many times.
pub fn run(path: &str, operations: u64) -> Result<()> {
    let path = PATHS.iter().find(|other| other.name == path);
    let operation = path.context("there is no such path")?.operation;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match operation {
        Operation::GetHitMessagePack | Operation::SetMessagePack => {
            repeat(&runtime, operation, operations, store(MessagePack::new()))
        }
        Operation::GetHitInScope => {
            let scoped = store(Json).scope("organization", "org_123");
            repeat(&runtime, operation, operations, scoped)
        }
        Operation::RedisGetHit
        | Operation::RedisGetHitByTasks
        | Operation::RedisSet
        | Operation::RedisSetWithTtl
        | Operation::RedisGetMany => {
            let server = RedisServer::start()?;
            let store = runtime.block_on(igniter_store::connect(&server.url()))?;
            repeat(&runtime, operation, operations, store)
        }
        _ => repeat(&runtime, operation, operations, store(Json)),
    }
}

/// Without sweeps, whose number depends on how long valgrind takes.
fn store<C: Codec>(codec: C) -> Store<C> {
    let options = MemoryOptions::new().sweep_interval(Duration::from_secs(86_400));
    Store::from_parts(Arc::new(MemoryDriver::with_options(options)), codec)
}

fn repeat<C: Codec>(
    runtime: &Runtime,
    operation: Operation,
    operations: u64,
    store: Store<C>,
) -> Result<()> {
    let mut path = runtime.block_on(Prepared::new(operation, store))?;
    let mut work = pin!(async {
        match operation {
            Operation::RedisGetHitByTasks => path.repeat_by_tasks(operations).await,
            _ => path.repeat(operations).await,
        }
    });
    counted(runtime, work.as_mut())
}

/// Not generic and not inlined, so that it has the one name that callgrind looks for.
#[inline(never)]
fn counted(runtime: &Runtime, work: Pin<&mut dyn Future<Output = Result<()>>>) -> Result<()> {
    runtime.block_on(work)
}

/// An operation with all that it needs.
struct Prepared<C> {
    operation: Operation,
    store: Store<C>,
    keys: Arc<[String]>,
    user: User,
    subscription: Option<Subscription<User>>,
    by_hand: DashMap<String, Bytes>,
    counters_by_hand: DashMap<String, i64>,
}

/// Few keys, so that filling them is quick under valgrind.
const KEYS: usize = 100;

/// How many tasks ask Redis at the same time, where it is not one after the other.
const TASKS: usize = 64;

impl<C: Codec> Prepared<C> {
    async fn new(operation: Operation, store: Store<C>) -> Result<Self> {
        let user = User::new(7);
        let keys = work::keys(KEYS);
        let by_hand = DashMap::new();
        for key in keys.iter() {
            store.set(key, &user).await?;
            by_hand.insert(key.clone(), Bytes::from(serde_json::to_vec(&user)?));
        }
        store.increment("counter").await?;
        let subscription = match operation {
            Operation::PublishToOne | Operation::Receive => Some(store.subscribe("events").await?),
            _ => None,
        };
        Ok(Self {
            operation,
            store,
            keys,
            user,
            subscription,
            by_hand,
            counters_by_hand: DashMap::from_iter([("counter".to_owned(), 1)]),
        })
    }

    /// The operations of [`TASKS`] tasks, done at the same time.
    async fn repeat_by_tasks(&self, operations: u64) -> Result<()> {
        let tasks = self.keys.iter().take(TASKS).map(|key| {
            let (store, key) = (self.store.clone(), key.clone());
            tokio::spawn(async move {
                for _ in 0..operations / TASKS as u64 {
                    work::must_hit(store.get::<User>(&key).await?)?;
                }
                anyhow::Ok(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.context("a task panicked")??;
        }
        Ok(())
    }

    async fn repeat(&mut self, operations: u64) -> Result<()> {
        let entries: Vec<(&String, &User)> =
            self.keys.iter().map(|key| (key, &self.user)).collect();
        let (store, user, key) = (&self.store, &self.user, self.keys[42].as_str());
        for _ in 0..operations {
            match self.operation {
                Operation::GetHit
                | Operation::GetHitMessagePack
                | Operation::GetHitInScope
                | Operation::RedisGetHit => {
                    work::must_hit(store.get::<User>(key).await?)?;
                }
                Operation::GetMiss => {
                    black_box(store.get::<User>("nobody").await?);
                }
                Operation::Set | Operation::SetMessagePack | Operation::RedisSet => {
                    store.set(key, user).await?
                }
                Operation::SetWithTtl | Operation::RedisSetWithTtl => {
                    store.set_with(key, user, TTL).await?;
                }
                Operation::Increment => {
                    store.increment("counter").await?;
                }
                Operation::Has => {
                    store.has(key).await?;
                }
                Operation::GetMany | Operation::RedisGetMany => {
                    black_box(store.get_many::<User>(&self.keys).await?);
                }
                Operation::SetMany => store.set_many(&entries).await?,
                Operation::GetOrLoadHit => {
                    let load = || async { bail!("a value that was written was loaded") };
                    let loaded: Result<User> = store.get_or_load(key, TTL, load).await;
                    work::must_hit(Some(loaded?))?;
                }
                Operation::PublishToNobody | Operation::PublishToOne => {
                    store.publish("events", user).await?;
                }
                Operation::ByHandGetHit => {
                    let bytes = self.by_hand.get(key).map(|entry| entry.value().clone());
                    let user = bytes.map(|bytes| serde_json::from_slice::<User>(&bytes));
                    work::must_hit(user.transpose()?)?;
                }
                Operation::ByHandGetMiss => {
                    black_box(
                        self.by_hand
                            .get("nobody")
                            .map(|entry| entry.value().clone()),
                    );
                }
                Operation::ByHandSet => {
                    let bytes = Bytes::from(serde_json::to_vec(user)?);
                    self.by_hand.insert(key.to_owned(), bytes);
                }
                Operation::ByHandIncrement => {
                    let count = self.counters_by_hand.get_mut("counter");
                    black_box(count.map(|mut count| {
                        *count += 1;
                        *count
                    }));
                }
                Operation::RedisGetHitByTasks => bail!("not one after the other"),
                Operation::Receive => {
                    store.publish("events", user).await?;
                    if let Some(subscription) = &mut self.subscription {
                        work::must_hit(subscription.next().await)?;
                    }
                }
            }
        }
        Ok(())
    }
}
