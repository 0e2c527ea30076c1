//! Counts the instructions of the hot paths under callgrind, and holds them against a file:
//! `hot_paths compare FILE [update]`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use store_benches::hot_paths::{COUNTED, PATHS, run};

/// By how much a path may grow.
const TOLERANCE: f64 = 0.05;

/// So many that what it takes to begin them is nothing beside them.
const OPERATIONS: u64 = 1000;

const RUNS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", path, operations] => run(path, operations.parse()?),
        ["compare", file] => compare(file, false),
        ["compare", file, "update"] => compare(file, true),
        _ => bail!("usage: hot_paths compare FILE [update] | hot_paths run PATH OPERATIONS"),
    }
}

fn compare(file: &str, update: bool) -> Result<()> {
    let known = fs::read_to_string(file).unwrap_or_default();
    let mut text = String::from(
        "# Instructions an operation, counted by callgrind: `ci/bench instructions`.\n\
         # `ci/bench instructions update` writes this file.\n",
    );
    let mut grown = Vec::new();
    println!("{:32} {:>10} {:>10}", "path", "known", "now");
    for path in PATHS {
        let now = instructions(path.name)?;
        let before = figure(&known, path.name);
        let shown = before.map_or_else(|| "—".to_owned(), |before| before.to_string());
        let change = before.map(|before| now as f64 / before as f64 - 1.0);
        let percent = change.map_or_else(String::new, |change| format!("{:+.1} %", change * 100.0));
        println!("{:32} {shown:>10} {now:>10}  {percent}", path.name);
        writeln!(text, "{} {now}", path.name)?;
        if change.is_none_or(|change| change > TOLERANCE) {
            grown.push(path.name);
        }
    }
    if update {
        fs::write(file, text).with_context(|| format!("cannot write {file}"))?;
        println!("{file} is written");
        return Ok(());
    }
    ensure!(
        grown.is_empty(),
        "these take more than {:.0} % more instructions than {file} says, or are not in it: {}; if that is \
         meant to be so, `ci/bench instructions update` writes it",
        TOLERANCE * 100.0,
        grown.join(", ")
    );
    Ok(())
}

fn figure(known: &str, path: &str) -> Option<u64> {
    let mut lines = known.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(name, _)| *name == path)?.1.parse().ok()
}

/// The fewest of some counts: hash seeds are chosen at random, and some keys then collide.
fn instructions(path: &str) -> Result<u64> {
    let counts: Result<Vec<u64>> = (0..RUNS).map(|_| count(path)).collect();
    counts?.into_iter().min().context("nothing was counted")
}

fn count(path: &str) -> Result<u64> {
    let program = env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(program)
        .args(["run", path, &OPERATIONS.to_string()])
        .output()
        .context("valgrind cannot be started")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{path} under valgrind: {text}");
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, collected) =
        collected.with_context(|| format!("callgrind has counted nothing: {text}"))?;
    let collected: u64 = collected.trim().parse()?;
    // As where the function has another name than it had.
    ensure!(collected > 0, "{path}: callgrind has not met {COUNTED}");
    Ok(collected / OPERATIONS)
}
