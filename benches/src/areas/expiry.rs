//! A million entries that are due at the same moment, and what readers notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::charts::distribution;
use crate::compare::order;
use crate::peers::expiring::{CONTENDERS, Expiring};
use crate::plot::{Plot, Series};
use crate::report::{OURS, Report};
use crate::settings::Settings;
use crate::statistics::{Spread, percentile, time};
use crate::work::{Generator, KEYS, key, place};

pub const ABOUT: &str = "A million entries are due in the same millisecond. One reader gets other entries, which do \
    not expire, one every 10 µs: for half a second before (quiet), and from the moment on until the last entry is gone \
    from memory (during). A get that is held up delays those behind it, and their time counts from when they were due, as \
    it does for those who wait. The stall is p99.9 of gets during against p99.9 of gets in quiet, of the same round.";

/// How often the reader gets.
const PACE: Duration = Duration::from_micros(10);

/// How long after the deadline one that does not remove what has expired is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

const QUIET: Duration = Duration::from_millis(500);

const DUE: usize = 1_000_000;

/// What one round found.
struct Round {
    quiet: Vec<u64>,
    during: Vec<u64>,
    /// From the deadline until nothing of what is due takes memory; none if that did not come.
    gone: Option<Duration>,
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let rounds = settings.choose(2, 7);
    let mut found: Vec<Vec<(&str, Round)>> = CONTENDERS.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for index in order(round, CONTENDERS.len()) {
            let store = CONTENDERS[index]();
            settings
                .progress
                .step(&format!("  a million entries in {}", store.name()));
            let name = store.name();
            match measure(store) {
                Ok(round) => found[index].push((name, round)),
                Err(error) if name.starts_with(OURS) => return Err(error),
                Err(error) => report.text(&format!("A round of {name} failed: {error:#}.")),
            }
        }
    }
    let mut table = Vec::new();
    let mut series = Vec::new();
    for rounds in &found {
        let Some((name, _)) = rounds.first() else {
            continue;
        };
        let rounds: Vec<&Round> = rounds.iter().map(|(_, round)| round).collect();
        table.push(line(report, name, &rounds));
        series.push(Series {
            name: (*name).to_owned(),
            points: distribution(&during_all(&rounds)),
        });
    }
    report.table(
        &[
            "",
            "quiet p50",
            "p99",
            "p99.9",
            "during p50",
            "p99",
            "p99.9",
            "longest",
            "p99.9 during / quiet",
            "all gone after",
        ],
        &table,
    );
    report.plot(
        "expiry-stall",
        &Plot {
            title: "Gets while a million entries expire".to_owned(),
            x: "one get in so many takes longer".to_owned(),
            y: "microseconds".to_owned(),
            series,
            log_x: true,
            log_y: true,
        },
    )
}

/// Fills a store, reads until everything is gone, and answers what the reader saw.
fn measure(store: Arc<dyn Expiring>) -> Result<Round> {
    for id in 0..KEYS {
        store.set(&key(id), None)?;
    }
    // The moment must lie behind the writing of them all, and the quiet time; some show how long
    // it takes. Twice that and more, since tables grow meanwhile.
    let began = Instant::now();
    for id in 0..KEYS {
        store.set(&format!("probe:{id}"), Some(Duration::from_secs(3600)))?;
    }
    let each = began.elapsed() / KEYS as u32;
    let due = Instant::now() + each * (DUE as u32) * 2 + QUIET * 2 + Duration::from_secs(1);
    for id in 0..DUE {
        store.set(
            &format!("due:{id}"),
            Some(due.saturating_duration_since(Instant::now())),
        )?;
    }
    ensure!(
        Instant::now() + QUIET < due,
        "the machine is too slow: the entries were due before all were written"
    );
    store.settle();
    let stays = store.entries() - DUE as u64;
    let quiet = gets(&*store, due - QUIET, || Instant::now() >= due)?;
    let gone = Arc::new(AtomicBool::new(false));
    let watch = {
        let (store, gone) = (Arc::clone(&store), Arc::clone(&gone));
        std::thread::spawn(move || {
            let mut answer = None;
            while due.elapsed() < PATIENCE {
                if store.entries() <= stays {
                    answer = Some(due.elapsed());
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            gone.store(true, Ordering::Release);
            answer
        })
    };
    let during = gets(&*store, due, || gone.load(Ordering::Acquire))?;
    let gone = watch
        .join()
        .map_err(|_| anyhow::anyhow!("the watching thread panicked"))?;
    Ok(Round {
        quiet,
        during,
        gone,
    })
}

/// Gets from `start` on, one every [`PACE`], until it is the end; and their nanoseconds, sorted.
fn gets(store: &dyn Expiring, start: Instant, end: impl Fn() -> bool) -> Result<Vec<u64>> {
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let mut generator = Generator::new(1);
    // Written once, so that the kernel gives the pages now and not within a measured get.
    let mut latencies = vec![1; 1 << 21];
    latencies.clear();
    std::thread::sleep(start.saturating_duration_since(Instant::now()));
    let mut due = Instant::now();
    while !end() && latencies.len() < latencies.capacity() {
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let hit = store.get(&keys[place(generator.next_number(), KEYS)])?;
        latencies.push(due.elapsed().as_nanos() as u64);
        ensure!(hit, "an entry that does not expire is gone");
        due += PACE;
    }
    latencies.sort_unstable();
    Ok(latencies)
}

fn line(report: &mut Report, name: &str, rounds: &[&Round]) -> Vec<String> {
    let quantile = |of: fn(&Round) -> &Vec<u64>, share| {
        let figures: Vec<f64> = rounds
            .iter()
            .filter_map(|round| percentile(of(round), share))
            .map(|nanos| nanos as f64)
            .collect();
        Spread::of(&figures).map_or_else(String::new, |spread| time(spread.median))
    };
    let stalls: Vec<f64> = rounds
        .iter()
        .filter_map(|round| {
            let quiet = percentile(&round.quiet, 0.999)?;
            Some(percentile(&round.during, 0.999)? as f64 / quiet as f64)
        })
        .collect();
    let gone: Vec<f64> = rounds
        .iter()
        .filter_map(|round| round.gone)
        .map(|gone| gone.as_secs_f64())
        .collect();
    let all_gone = gone.len() == rounds.len();
    let (stall, gone) = (Spread::of(&stalls), Spread::of(&gone));
    if name.starts_with(OURS) {
        report.measured("expiry-stall", stall);
        // One round in which they did not go must not be left out.
        report.measured("expiry-gone", gone.filter(|_| all_gone));
    }
    let text =
        |spread: Option<Spread>| spread.map_or_else(String::new, |spread| spread.to_string());
    vec![
        name.to_owned(),
        quantile(|round| &round.quiet, 0.5),
        quantile(|round| &round.quiet, 0.99),
        quantile(|round| &round.quiet, 0.999),
        quantile(|round| &round.during, 0.5),
        quantile(|round| &round.during, 0.99),
        quantile(|round| &round.during, 0.999),
        quantile(|round| &round.during, 1.0),
        text(stall),
        if all_gone {
            text(gone) + " s"
        } else {
            format!("not within {} s", PATIENCE.as_secs())
        },
    ]
}

/// Of all rounds, sorted.
fn during_all(rounds: &[&Round]) -> Vec<u64> {
    let during = rounds.iter().flat_map(|round| &round.during);
    let mut all: Vec<u64> = during.copied().collect();
    all.sort_unstable();
    all
}
