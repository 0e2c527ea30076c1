//! Batches and reading through, in memory.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use dashmap::DashMap;
use igniter_store::{Codec, Json, MessagePack, Store};
use tokio::runtime::Runtime;

use crate::compare::{Contender, interleave};
use crate::peers::memory::ours;
use crate::report::Report;
use crate::settings::Settings;
use crate::statistics::Spread;
use crate::work::{self, KEYS, Load, Operation, TTL, User, place};

pub const ABOUT: &str = "A hundred keys in one call, and reading through (get, and load and set where there is \
    nothing), in memory.";

const BATCH: usize = 100;

const BY_HAND: &str = "DashMap by hand with deadlines, JSON";
const GET_OR_LOAD: &str = "igniter-store, get_or_load";
const PLAIN_GET: &str = "igniter-store, get";

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let runtime = work::runtime(work::workers())?;
    batches(settings, report, &runtime)?;
    read_through(settings, report, &runtime)?;
    let tries = settings.choose(20, 200);
    let loads = runtime.block_on(cold(tries))?;
    report.measured("read-through-loads", Some(Spread::single(loads as f64)));
    report.text(&format!(
        "1,000 tasks read through one cold key, whose load takes a millisecond: of {tries} tries, the one with the \
         most loads had {loads}."
    ));
    Ok(())
}

/// The hundred keys from a random one on.
fn batch(keys: &[String], draw: u64) -> &[String] {
    let first = place(draw, keys.len() - BATCH);
    &keys[first..first + BATCH]
}

#[derive(Clone, Copy)]
enum Work {
    Get,
    SetWithTtl,
}

#[derive(Clone)]
struct Batched<C> {
    store: Store<C>,
    keys: Arc<[String]>,
    user: User,
    work: Work,
}

impl<C: Codec> Operation for Batched<C> {
    async fn run(&self, draw: u64) -> Result<()> {
        let keys = batch(&self.keys, draw);
        match self.work {
            Work::Get => {
                let users = self.store.get_many::<User>(keys).await?;
                ensure!(users.len() == BATCH, "a batch has {} answers", users.len());
                for user in users {
                    work::must_hit(user?)?;
                }
            }
            Work::SetWithTtl => {
                let entries: Vec<(&String, &User)> =
                    keys.iter().map(|key| (key, &self.user)).collect();
                self.store.set_many_with(&entries, TTL).await?;
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Singly(Batched<Json>);

impl Operation for Singly {
    async fn run(&self, draw: u64) -> Result<()> {
        let Batched {
            store,
            keys,
            user,
            work,
        } = &self.0;
        for key in batch(keys, draw) {
            match work {
                Work::Get => work::must_hit(store.get::<User>(key).await?)?,
                Work::SetWithTtl => {
                    ensure!(store.set_with(key, user, TTL).await?, "a set was refused")
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct ByHand {
    map: Arc<DashMap<String, (Bytes, Option<Instant>)>>,
    keys: Arc<[String]>,
    user: User,
    work: Work,
}

impl Operation for ByHand {
    async fn run(&self, draw: u64) -> Result<()> {
        let keys = batch(&self.keys, draw);
        match self.work {
            Work::Get => {
                let mut users: Vec<User> = Vec::with_capacity(keys.len());
                for key in keys {
                    let found = self.map.get(key).map(|entry| entry.value().clone());
                    let (bytes, deadline) = found.context("a value that was written is gone")?;
                    let live = deadline.is_none_or(|deadline| deadline > Instant::now());
                    ensure!(live, "a value has expired too early");
                    users.push(serde_json::from_slice(&bytes)?);
                }
                black_box(users);
            }
            Work::SetWithTtl => {
                let deadline = Instant::now() + TTL;
                for key in keys {
                    let bytes = Bytes::from(serde_json::to_vec(&self.user)?);
                    self.map.insert(key.clone(), (bytes, Some(deadline)));
                }
            }
        }
        Ok(())
    }
}

fn batches(settings: &Settings, report: &mut Report, runtime: &Arc<Runtime>) -> Result<()> {
    let load = Load::new(1, settings.choose(300, 1500));
    for work in [Work::Get, Work::SetWithTtl] {
        let by_hand = ByHand {
            map: Arc::default(),
            keys: work::keys(KEYS),
            user: User::new(7),
            work,
        };
        for key in by_hand.keys.iter() {
            let bytes = Bytes::from(serde_json::to_vec(&by_hand.user)?);
            by_hand
                .map
                .insert(key.clone(), (bytes, Some(Instant::now() + TTL)));
        }
        let json = runtime.block_on(batched(Json, work))?;
        let message_pack = runtime.block_on(batched(MessagePack::new(), work))?;
        let singly = Singly(runtime.block_on(batched(Json, work))?);
        let contenders = vec![
            contender(BY_HAND, runtime, load, by_hand),
            contender("igniter-store, one call, JSON", runtime, load, json),
            contender("igniter-store, 100 calls, JSON", runtime, load, singly),
            contender(
                "igniter-store, one call, MessagePack",
                runtime,
                load,
                message_pack,
            ),
        ];
        let title = match work {
            Work::Get => "get 100 keys, an operation is a key",
            Work::SetWithTtl => "set 100 keys with a ttl, an operation is a key",
        };
        let rounds = settings.rounds();
        report.comparison(&interleave(
            title,
            rounds,
            BY_HAND,
            contenders,
            &settings.progress,
        ));
    }
    Ok(())
}

async fn batched<C: Codec>(codec: C, work: Work) -> Result<Batched<C>> {
    let batched = Batched {
        store: ours(codec),
        keys: work::keys(KEYS),
        user: User::new(7),
        work,
    };
    for key in batched.keys.iter() {
        batched.store.set_with(key, &batched.user, TTL).await?;
    }
    Ok(batched)
}

fn contender(
    name: &str,
    runtime: &Arc<Runtime>,
    load: Load,
    operation: impl Operation,
) -> Contender {
    let mut calls = load.contender(name, runtime, operation);
    Contender::new(name, move || {
        let mut sample = (calls.measure)()?;
        sample.operations *= BATCH as u64;
        Ok(sample)
    })
}

/// A get of ours or of moka, plain or reading through.
#[derive(Clone)]
enum Reader {
    Get(Store),
    GetOrLoad(Store),
    MokaGet(moka::future::Cache<String, User>),
    MokaGetWith(moka::future::Cache<String, User>),
}

#[derive(Clone)]
struct Read {
    reader: Reader,
    keys: Arc<[String]>,
}

impl Operation for Read {
    async fn run(&self, draw: u64) -> Result<()> {
        let key = &self.keys[place(draw, self.keys.len())];
        match &self.reader {
            Reader::Get(store) => work::must_hit(store.get::<User>(key).await?),
            Reader::GetOrLoad(store) => {
                let user: User = store
                    .get_or_load(key, TTL, || async { never_loads() })
                    .await?;
                work::must_hit(Some(user))
            }
            Reader::MokaGet(cache) => work::must_hit(cache.get(key).await),
            Reader::MokaGetWith(cache) => {
                let user = cache
                    .try_get_with_by_ref(key, async { never_loads() })
                    .await;
                work::must_hit(Some(user.map_err(|error| anyhow!("{error}"))?))
            }
        }
    }
}

fn never_loads() -> Result<User> {
    Err(anyhow!("a value that was written was loaded"))
}

fn read_through(settings: &Settings, report: &mut Report, runtime: &Arc<Runtime>) -> Result<()> {
    let keys = work::keys(KEYS);
    let store = ours(Json);
    let cache = moka::future::Cache::new(4 * KEYS as u64);
    runtime.block_on(async {
        for key in keys.iter() {
            store.set(key, &User::new(7)).await?;
            cache.insert(key.clone(), User::new(7)).await;
        }
        anyhow::Ok(())
    })?;
    let load = Load::new(1, settings.choose(20_000, 100_000));
    let contender = |name: &str, reader| {
        let read = Read {
            reader,
            keys: Arc::clone(&keys),
        };
        load.contender(name, runtime, read)
    };
    let contenders = vec![
        contender(PLAIN_GET, Reader::Get(store.clone())),
        contender(GET_OR_LOAD, Reader::GetOrLoad(store)),
        contender("moka::future, get", Reader::MokaGet(cache.clone())),
        contender("moka::future, try_get_with", Reader::MokaGetWith(cache)),
    ];
    let title = "read through, hit";
    let comparison = interleave(
        title,
        settings.rounds(),
        PLAIN_GET,
        contenders,
        &settings.progress,
    );
    report.measured(
        "read-through-hit",
        comparison.time_ratio(GET_OR_LOAD, PLAIN_GET),
    );
    report.comparison(&comparison);
    Ok(())
}

/// The most loads that 1,000 tasks caused which asked for one cold key at once.
async fn cold(tries: usize) -> Result<u64> {
    let mut most = 0;
    for _ in 0..tries {
        let store = ours(Json);
        let loads = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let (store, loads) = (store.clone(), Arc::clone(&loads));
                tokio::spawn(async move {
                    let load = || async {
                        loads.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        anyhow::Ok(User::new(7))
                    };
                    store.get_or_load("user:7", TTL, load).await
                })
            })
            .collect();
        for task in tasks {
            let user: User = task.await.context("a task has panicked")??;
            ensure!(user == User::new(7), "another value was read than loaded");
        }
        most = most.max(loads.load(Ordering::Relaxed));
    }
    Ok(most)
}
