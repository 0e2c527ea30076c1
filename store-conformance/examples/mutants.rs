//! Prints which law kills which broken driver, and fails where the laws are too weak.
//!
//! `cargo run -p store-conformance --example mutants -- [SEEDS [NAME]]`, with 20 seeds by default; a
//! part of a name leaves out the other drivers and what is only true of all of them. It fails
//! if a healthy driver breaks a law, if a broken driver survives in more than one of 20 seeds, if a
//! law that is meant to kill a driver never does, or if a law kills nobody.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store_conformance::broken::{self, Broken, NetworkHarness};
use store_conformance::chaos::Chaos;
use store_conformance::reference::{ReferenceDriver, ReferenceHarness};
use store_conformance::{
    Clock, Config, Harness, HarnessResult, LAWS, Law, LiveResources, Outcome, async_trait, run_law,
};
use store_core::StoreAdapter;

/// A survivor in one of this many seeds is allowed.
const SEEDS: u64 = 20;

type Make = fn() -> Arc<dyn Harness>;

fn main() -> ExitCode {
    // A law that panics is a law that is broken; its text is in the outcome.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = std::env::args().skip(1);
    let seeds = match arguments.next().map(|seeds| seeds.parse()) {
        None => SEEDS,
        Some(Ok(seeds)) => seeds,
        Some(Err(_)) => {
            println!("usage: mutants [SEEDS [PART_OF_A_NAME]]");
            return ExitCode::from(2);
        }
    };
    let part = arguments.next();
    let chosen = |driver: &&Broken| {
        let part = part.as_deref().unwrap_or_default();
        driver.name.contains(part)
    };
    let drivers: Vec<&Broken> = broken::all().filter(chosen).collect();
    let began = Instant::now();
    let mut problems = Vec::new();
    if part.is_none() {
        problems.extend(healthy_drivers_break_no_law(seeds));
    }
    let table = table(drivers);
    print_table(&table);
    if part.is_none() {
        problems.extend(laws_that_kill_nobody(&table));
    }
    problems.extend(survivors(&table, seeds));
    println!(
        "\n{} broken drivers, {} laws, {seeds} seeds, {:.0?}",
        table.len(),
        LAWS.len(),
        began.elapsed()
    );
    for problem in &problems {
        println!("PROBLEM: {problem}");
    }
    ExitCode::from(u8::from(!problems.is_empty()))
}

fn config(seed: u64) -> Config {
    let mut config = Config::default().with_seed(seed);
    config.shrink_limit = Duration::ZERO;
    config
}

/// Runs `work` on each item, on all cores; answers the results in order.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else {
                        return;
                    };
                    let result = work(item);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(index, result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_values().collect()
}

fn healthy_drivers_break_no_law(seeds: u64) -> Vec<String> {
    let healthy: [(&str, Make); 3] = [
        ("reference", || Arc::new(ReferenceHarness::default())),
        ("network", || Arc::new(NetworkHarness::healthy())),
        ("quiet chaos", || Arc::new(QuietChaos::default())),
    ];
    let mut runs = Vec::new();
    for (name, make) in healthy {
        for seed in 0..seeds {
            runs.extend(LAWS.iter().map(|law| (name, make, seed, law)));
        }
    }
    let problems = on_all_cores(&runs, |(name, make, seed, law)| {
        let config = config(*seed).without("faults", "in process");
        let config = if *name == "network" {
            self::config(*seed)
        } else {
            config
        };
        match run_law(law, make, &config) {
            Outcome::Broken(breach) => Some(format!(
                "the healthy driver `{name}` breaks a law: {breach}"
            )),
            _ => None,
        }
    });
    println!("{} runs of laws on healthy drivers", runs.len());
    problems.into_iter().flatten().collect()
}

/// The laws that break each driver, with one seed.
fn table(drivers: Vec<&'static Broken>) -> Vec<(&'static Broken, Vec<&'static Law>)> {
    let killers = on_all_cores(&drivers, |driver| {
        let laws = LAWS.iter();
        laws.filter(|law| driver.is_killed_by(law, 0))
            .collect::<Vec<_>>()
    });
    drivers.into_iter().zip(killers).collect()
}

fn print_table(table: &[(&'static Broken, Vec<&'static Law>)]) {
    for (driver, killers) in table {
        println!("{}: {}", driver.name, driver.flaw);
        let killers: Vec<String> = killers.iter().map(ToString::to_string).collect();
        println!("    {:>2} laws: {}", killers.len(), killers.join(", "));
    }
    println!("\nlaw: how many broken drivers it kills, and those that it alone kills");
    for law in LAWS {
        let killed = table.iter().filter(|(_, killers)| kills(killers, law));
        let alone = killed.clone().filter(|(_, killers)| killers.len() == 1);
        let alone: Vec<&str> = alone.map(|(driver, _)| driver.name).collect();
        println!("{:>4}  {law}  {}", killed.count(), alone.join(", "));
    }
}

fn kills(killers: &[&'static Law], law: &Law) -> bool {
    killers.iter().any(|killer| std::ptr::eq(*killer, law))
}

fn laws_that_kill_nobody(table: &[(&'static Broken, Vec<&'static Law>)]) -> Vec<String> {
    let idle = LAWS
        .iter()
        .filter(|law| !table.iter().any(|(_, killers)| kills(killers, law)));
    idle.map(|law| format!("the law {law} kills nobody"))
        .collect()
}

/// Runs the laws that kill a driver, the meant ones first, until one does, for each seed.
fn survivors(table: &[(&'static Broken, Vec<&'static Law>)], seeds: u64) -> Vec<String> {
    let found = on_all_cores(table, |(driver, killers)| {
        let meant: Vec<&'static Law> = driver.meant().collect();
        let others = killers.iter().copied().filter(|law| !kills(&meant, law));
        let laws: Vec<&'static Law> = meant.iter().copied().chain(others).collect();
        let mut problems = Vec::new();
        let survived: Vec<u64> = (0..seeds)
            .filter(|seed| !laws.iter().any(|law| driver.is_killed_by(law, *seed)))
            .collect();
        if survived.len() as u64 > seeds / SEEDS {
            problems.push(format!("{} survives with seeds {survived:?}", driver.name));
        }
        for law in meant {
            if !kills(killers, law) && !(1..seeds).any(|seed| driver.is_killed_by(law, seed)) {
                problems.push(format!("{} is never killed by {law}", driver.name));
            }
        }
        problems
    });
    found.into_iter().flatten().collect()
}

/// A wrapper is a driver itself and keeps the laws: here the one that could fail and does not.
#[derive(Default)]
struct QuietChaos(ReferenceHarness);

#[async_trait]
impl Harness for QuietChaos {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        let driver: ReferenceDriver = self.0.driver(scope);
        Ok(Arc::new(Chaos::new(driver, 1)))
    }

    fn clock(&self) -> Clock {
        self.0.clock()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.0.close(scope).await
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        self.0.live_resources(scope).await
    }
}
