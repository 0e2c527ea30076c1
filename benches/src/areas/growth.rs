//! How the cost of an operation grows with what there is.

use std::sync::Arc;

use anyhow::{Result, ensure};
use igniter_store::{Json, Store};
use tokio::runtime::Runtime;

use crate::charts::throughput;
use crate::compare::{Comparison, Contender, interleave};
use crate::peers::memory::{ByHand, MemoryPeer, ours};
use crate::plot::{Plot, Series};
use crate::report::Report;
use crate::settings::Settings;
use crate::statistics::{Spread, time};
use crate::work::{self, Load, Operation, Start, User, key, place};

mod messaging;

pub const ABOUT: &str = "How the cost of an operation in memory grows with the number of entries, the size of a \
    value, the number of channels, of subscribers and of tasks. What the caches of the processor cost, DashMap by \
    hand pays too: growth beside its growth is what is ours. How the cost grows with what is due at once is in the \
    section `expiry`.";

const BY_HAND: &str = "by hand on DashMap, JSON";
const OURS: &str = "igniter-store, JSON";

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let runtime = work::runtime(work::workers())?;
    entries(settings, report, &runtime)?;
    value_sizes(settings, report, &runtime)?;
    messaging::channels(settings, report, &runtime)?;
    messaging::subscribers(settings, report, &runtime)?;
    tasks(settings, report, &runtime)
}

/// A figure and what was measured at it.
type Steps = Vec<(usize, Comparison)>;

fn entries(settings: &Settings, report: &mut Report, runtime: &Arc<Runtime>) -> Result<()> {
    let (mut hits, mut inserts) = (Steps::new(), Steps::new());
    let rounds = settings.choose(3, 7);
    for count in powers(1_000, settings.choose(1_000_000, 10_000_000)) {
        let compare = |title: String, rounds, contenders| {
            interleave(&title, rounds, BY_HAND, contenders, &settings.progress)
        };
        let contenders = vec![
            inserting(BY_HAND, runtime, count, ByHand::default),
            inserting(OURS, runtime, count, || ours(Json)),
        ];
        let title = format!("set of {count} new keys");
        // The largest take minutes otherwise.
        let fewer = if count < 10_000_000 { rounds } else { 3 };
        inserts.push((count, compare(title, fewer, contenders)));
        let user = User::new(7);
        let load = Load::new(1, settings.choose(20_000, 200_000));
        let contenders = vec![
            hitting(BY_HAND, runtime, load, count, &user, ByHand::default())?,
            hitting(OURS, runtime, load, count, &user, ours(Json))?,
        ];
        let title = format!("get hit among {count} entries");
        hits.push((count, compare(title, rounds, contenders)));
    }
    report.measured("growth-entries", relative_growth(&hits));
    report.measured("growth-inserts", relative_growth(&inserts));
    let title = "Get hit, by entries";
    lines(report, "growth-entries", title, "entries", &hits)?;
    let title = "Set of new keys, by entries in the end";
    lines(report, "growth-inserts", title, "entries", &inserts)
}

/// How our time against that by hand grows from the first step to the one at which it is the
/// largest: a step in the middle must not be hidden by what comes after it.
fn relative_growth(steps: &Steps) -> Option<Spread> {
    let against = |step: &(usize, Comparison)| step.1.time_ratio(OURS, BY_HAND);
    let first = against(steps.first()?)?.median;
    let later = steps[1..].iter().filter_map(against);
    let largest = later.max_by(|one, other| one.median.total_cmp(&other.median))?;
    Some(Spread {
        low: largest.low / first,
        median: largest.median / first,
        high: largest.high / first,
    })
}

fn value_sizes(settings: &Settings, report: &mut Report, runtime: &Arc<Runtime>) -> Result<()> {
    let (mut gets, mut sets) = (Steps::new(), Steps::new());
    let rounds = settings.choose(3, 7);
    for size in [10, 100, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 16 << 20] {
        let text = "x".repeat(size);
        let operations = (settings.choose(20 << 20, 200 << 20) / size as u64).clamp(2, 20_000);
        let load = Load::new(1, operations);
        for (steps, writes) in [(&mut gets, false), (&mut sets, true)] {
            let by_hand = Texts {
                map: Arc::default(),
                text: text.clone(),
                writes,
            };
            let store = StoreTexts {
                store: ours(Json),
                text: text.clone(),
                writes,
            };
            runtime.block_on(async {
                by_hand.write()?;
                store.store.set("text", &store.text).await?;
                anyhow::Ok(())
            })?;
            let contenders = vec![
                load.contender(BY_HAND, runtime, by_hand),
                load.contender(OURS, runtime, store),
            ];
            let title = format!(
                "{} a text of {size} bytes",
                if writes { "set" } else { "get" }
            );
            let comparison = interleave(&title, rounds, BY_HAND, contenders, &settings.progress);
            steps.push((size, comparison));
        }
    }
    lines(
        report,
        "growth-get-size",
        "Get, by size of the value",
        "bytes",
        &gets,
    )?;
    lines(
        report,
        "growth-set-size",
        "Set, by size of the value",
        "bytes",
        &sets,
    )
}

fn tasks(settings: &Settings, report: &mut Report, runtime: &Arc<Runtime>) -> Result<()> {
    let mut steps = Steps::new();
    let user = User::new(7);
    let rounds = settings.choose(3, 7);
    for tasks in powers(1, 10_000) {
        // Ten for each task at the least, or what is measured is how tasks begin and end.
        let operations = settings.choose(40_000, 200_000).max(10 * tasks as u64);
        let load = Load::new(tasks, operations);
        let contenders = vec![
            hitting(BY_HAND, runtime, load, work::KEYS, &user, ByHand::default())?,
            hitting(OURS, runtime, load, work::KEYS, &user, ours(Json))?,
        ];
        let title = format!("get hit, {tasks} tasks");
        steps.push((
            tasks,
            interleave(&title, rounds, BY_HAND, contenders, &settings.progress),
        ));
    }
    lines(report, "growth-tasks", "Get hit, by tasks", "tasks", &steps)?;
    report.plot(
        "growth-tasks-throughput",
        &throughput("Gets a second, by tasks", &steps),
    )
}

fn powers(first: usize, last: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(first), |count| Some(count * 10))
        .take_while(move |count| *count <= last)
}

/// A get among `count` entries.
#[derive(Clone)]
struct Hit<P> {
    peer: P,
    count: usize,
}

impl<P: MemoryPeer> Operation for Hit<P> {
    async fn run(&self, draw: u64) -> Result<()> {
        // Made here, by all alike: ten million keys would take more memory than the entries.
        let key = key(place(draw, self.count));
        ensure!(
            self.peer.get(&key).await?,
            "a value that was written is gone"
        );
        Ok(())
    }
}

fn hitting<P: MemoryPeer>(
    name: &str,
    runtime: &Arc<Runtime>,
    load: Load,
    count: usize,
    user: &User,
    peer: P,
) -> Result<Contender> {
    runtime.block_on(async {
        for id in 0..count {
            peer.set(&key(id), user).await?;
        }
        anyhow::Ok(())
    })?;
    Ok(load.contender(name, runtime, Hit { peer, count }))
}

/// Fills an empty store, which is made and dropped outside of the measured time.
fn inserting<P: MemoryPeer>(
    name: &str,
    runtime: &Arc<Runtime>,
    count: usize,
    make: impl Fn() -> P + 'static,
) -> Contender {
    let runtime = Arc::clone(runtime);
    // Small stores again and again, or the clock is all that is measured.
    let stores = (20_000 / count).max(1);
    Contender::new(name, move || {
        let filling = async move |peers: Vec<P>| {
            let user = User::new(7);
            let start = Start::now();
            for peer in &peers {
                for id in 0..count {
                    peer.set(&key(id), &user).await?;
                }
            }
            let sample = start.sample((stores * count) as u64, Vec::new());
            anyhow::Ok((sample, peers))
        };
        let peers = (0..stores).map(|_| make()).collect();
        let (sample, peers) = runtime.block_on(filling(peers))?;
        drop(peers);
        Ok(sample)
    })
}

#[derive(Clone)]
struct Texts {
    map: Arc<dashmap::DashMap<String, bytes::Bytes>>,
    text: String,
    writes: bool,
}

impl Texts {
    fn write(&self) -> Result<()> {
        let json = serde_json::to_vec(&self.text)?;
        self.map.insert("text".to_owned(), json.into());
        Ok(())
    }
}

impl Operation for Texts {
    async fn run(&self, _: u64) -> Result<()> {
        if self.writes {
            return self.write();
        }
        let bytes = self.map.get("text").map(|entry| entry.value().clone());
        let text: Option<String> = bytes
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()?;
        work::must_hit(text)
    }
}

#[derive(Clone)]
struct StoreTexts {
    store: Store,
    text: String,
    writes: bool,
}

impl Operation for StoreTexts {
    async fn run(&self, _: u64) -> Result<()> {
        if self.writes {
            return Ok(self.store.set("text", &self.text).await?);
        }
        work::must_hit(self.store.get::<String>("text").await?)
    }
}

/// A table with a line for each step, and a plot.
fn lines(report: &mut Report, file: &str, title: &str, unit: &str, steps: &Steps) -> Result<()> {
    report.text(&format!("### {title}"));
    let nanos = |comparison: &Comparison, name: &str| comparison.row(name)?.median_nanos();
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|(figure, comparison)| {
            let cell = |name| nanos(comparison, name).map_or_else(|| "—".to_owned(), time);
            let ratio = comparison.time_ratio(OURS, BY_HAND);
            let ratio = ratio.map_or_else(|| "—".to_owned(), |ratio| ratio.to_string());
            vec![figure.to_string(), cell(BY_HAND), cell(OURS), ratio]
        })
        .collect();
    report.table(&[unit, BY_HAND, OURS, "time against by hand"], &rows);
    let series = [BY_HAND, OURS].map(|name| Series {
        name: name.to_owned(),
        points: steps
            .iter()
            .filter_map(|(figure, comparison)| Some((*figure as f64, nanos(comparison, name)?)))
            .collect(),
    });
    report.plot(
        file,
        &Plot {
            title: title.to_owned(),
            x: unit.to_owned(),
            y: "nanoseconds an operation".to_owned(),
            series: series.into(),
            log_x: true,
            log_y: true,
        },
    )
}
