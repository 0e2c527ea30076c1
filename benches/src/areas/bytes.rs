//! The memory that an entry takes, each contender in a process of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use cached::ShardedTtlCache;
use dashmap::DashMap;
use igniter_store::{Condition, Expiry, MemoryDriver, StoreAdapter, TtlMillis};
use opendal::Operator;
use tokio::runtime::Builder;

use crate::child;
use crate::plot::Bars;
use crate::report::Report;
use crate::settings::Settings;
use crate::statistics::Spread;
use crate::work::{TTL, key};

pub const ABOUT: &str = "What the process grows by (resident memory) for each entry with a key such as \
    `user:123456` and 100 bytes of value. Each contender runs in a process of its own, since an allocator keeps what \
    is freed. All hold the same bytes. Tables grow by doubling, so the figure depends on how full the last doubling \
    is; that is why there is more than one size.";

const OURS: &str = "igniter-store, ttl";

/// The name, and what fills it with `count` entries and answers what must not be dropped yet.
type Contender = (&'static str, fn(usize) -> Result<Box<dyn Send>>);

const CONTENDERS: &[Contender] = &[
    (OURS, igniter_store),
    ("DashMap<String, (Bytes, Option<Instant>)>, ttl", by_hand),
    ("moka::sync, one ttl for all", moka_sync),
    ("moka::future, ttl of each entry", moka_future),
    ("cached, one ttl for all", cached),
    ("quick_cache, no ttl", quick_cache),
    ("foyer, no ttl", foyer),
    ("opendal memory, no ttl", opendal_memory),
];

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let sizes: &[usize] = settings.choose(&[1_000_000], &[500_000, 700_000, 1_000_000]);
    let repeats = settings.choose(1, 3);
    let mut table = Vec::new();
    let mut bars = Vec::new();
    for (name, _) in CONTENDERS {
        let mut line = vec![(*name).to_owned()];
        for size in sizes {
            settings
                .progress
                .step(&format!("  {size} entries in {name}"));
            let size = size.to_string();
            let figures: Result<Vec<f64>> = (0..repeats)
                .map(|_| {
                    let answer = child::spawn(&["bytes", name, &size])?;
                    answer.parse().context("the child answered no figure")
                })
                .collect();
            let spread = match figures {
                Ok(figures) => Spread::of(&figures),
                Err(error) if *name == OURS => return Err(error),
                Err(error) => {
                    line.push(format!("{error:#}"));
                    continue;
                }
            };
            line.push(spread.map_or_else(String::new, |spread| spread.to_string()));
            if size == "1000000" {
                if *name == OURS {
                    report.measured("bytes", spread);
                }
                bars.extend(spread.map(|spread| ((*name).to_owned(), spread.median)));
            }
        }
        table.push(line);
    }
    let sizes = sizes.iter().map(|size| format!("{size} entries"));
    let header: Vec<String> = std::iter::once("bytes an entry".to_owned())
        .chain(sizes)
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    report.table(&header, &table);
    report.bars(
        "bytes-per-entry",
        &Bars {
            title: "Bytes an entry, one million entries".to_owned(),
            y: "bytes of resident memory, of which 100 are the value".to_owned(),
            bars,
        },
    )
}

/// What a child does: fills one contender, and answers the bytes an entry.
pub fn measure(arguments: &[&str]) -> Result<f64> {
    let &[name, count] = arguments else {
        bail!("a contender and a number of entries are needed");
    };
    let (_, fill) = CONTENDERS
        .iter()
        .find(|(other, _)| *other == name)
        .with_context(|| format!("there is no {name}"))?;
    let count: usize = count.parse()?;
    let before = child::resident_bytes()?;
    let held = fill(count)?;
    let after = child::resident_bytes()?;
    drop(held);
    Ok(after.saturating_sub(before) as f64 / count as f64)
}

/// 100 bytes that differ from entry to entry.
fn value(id: usize) -> Bytes {
    // Copied to the byte: the text was made with room to spare, for which those who keep it would pay.
    Bytes::copy_from_slice(format!("{id:0100}").as_bytes())
}

fn block_on<F: Future>(future: F) -> Result<F::Output> {
    // Without threads of its own: their stacks would count.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(future))
}

fn igniter_store(count: usize) -> Result<Box<dyn Send>> {
    let driver = MemoryDriver::new();
    let expiry = Expiry::After(TtlMillis::new(TTL)?);
    block_on(async {
        for id in 0..count {
            driver
                .set(&key(id), &value(id), expiry, Condition::Always)
                .await?;
        }
        anyhow::Ok(())
    })??;
    Ok(Box::new(driver))
}

fn by_hand(count: usize) -> Result<Box<dyn Send>> {
    let map: DashMap<String, (Bytes, Option<Instant>)> = DashMap::new();
    for id in 0..count {
        map.insert(key(id), (value(id), Some(Instant::now() + TTL)));
    }
    Ok(Box::new(map))
}

fn moka_sync(count: usize) -> Result<Box<dyn Send>> {
    let builder = moka::sync::Cache::builder();
    let cache = builder
        .max_capacity(2 * count as u64)
        .time_to_live(TTL)
        .build();
    for id in 0..count {
        cache.insert(key(id), value(id));
    }
    cache.run_pending_tasks();
    Ok(Box::new(cache))
}

/// The same ttl for every entry, but stored with each.
struct PerEntry;

impl moka::Expiry<String, Bytes> for PerEntry {
    fn expire_after_create(&self, _: &String, _: &Bytes, _: Instant) -> Option<Duration> {
        Some(TTL)
    }
}

fn moka_future(count: usize) -> Result<Box<dyn Send>> {
    let builder = moka::future::Cache::builder();
    let cache = builder
        .max_capacity(2 * count as u64)
        .expire_after(PerEntry)
        .build();
    block_on(async {
        for id in 0..count {
            cache.insert(key(id), value(id)).await;
        }
        cache.run_pending_tasks().await;
    })?;
    Ok(Box::new(cache))
}

fn cached(count: usize) -> Result<Box<dyn Send>> {
    let cache = ShardedTtlCache::new(TTL);
    for id in 0..count {
        cache.set(key(id), value(id));
    }
    Ok(Box::new(Arc::new(cache)))
}

/// Room for a quarter more than there is, since the shards fill unevenly.
fn room(count: usize) -> usize {
    count + count / 4
}

fn quick_cache(count: usize) -> Result<Box<dyn Send>> {
    let cache = quick_cache::sync::Cache::new(room(count));
    for id in 0..count {
        cache.insert(key(id), value(id));
    }
    full(cache.len(), count)?;
    Ok(Box::new(cache))
}

fn foyer(count: usize) -> Result<Box<dyn Send>> {
    let cache: foyer::Cache<String, Bytes> = foyer::Cache::builder(room(count)).build();
    for id in 0..count {
        cache.insert(key(id), value(id));
    }
    full(cache.usage(), count)?;
    Ok(Box::new(cache))
}

fn opendal_memory(count: usize) -> Result<Box<dyn Send>> {
    let operator = Operator::new(opendal::services::Memory::default())?;
    block_on(async {
        for id in 0..count {
            operator.write(&key(id), value(id)).await?;
        }
        anyhow::Ok(())
    })??;
    Ok(Box::new(operator))
}

/// A cache that has evicted some of its entries would seem to need less for each.
fn full(length: usize, count: usize) -> Result<()> {
    if length < count {
        bail!("it holds {length} of {count} entries");
    }
    Ok(())
}
