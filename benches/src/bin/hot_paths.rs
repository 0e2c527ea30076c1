//! Counts the instructions of the hot paths under callgrind, and holds them against a file:
//! `hot_paths compare FILE [update]`. Says where they are spent: `hot_paths profile [PATH...]`.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::{self, Command};

use anyhow::{Context, Result, bail, ensure};
use store_benches::hot_paths::{COUNTED, PATHS, run};

/// By how much a path may grow.
const TOLERANCE: f64 = 0.05;

/// So many that what it takes to begin them is nothing beside them, and as many for each task.
const OPERATIONS: u64 = 1024;

const RUNS: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", path, operations] => run(path, operations.parse()?),
        ["compare", file] => compare(file, false),
        ["compare", file, "update"] => compare(file, true),
        ["profile"] => PATHS.iter().try_for_each(|path| print_profile(path.name)),
        ["profile", paths @ ..] => paths.iter().try_for_each(|path| print_profile(path)),
        _ => bail!(
            "usage: hot_paths compare FILE [update] | hot_paths profile [PATH...] | \
             hot_paths run PATH OPERATIONS"
        ),
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
    let text = callgrind(path, "/dev/null")?;
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

/// Runs `path` under callgrind, which writes its profile to `file`; answers what it prints.
fn callgrind(path: &str, file: &str) -> Result<String> {
    let program = env::current_exe()?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={file}"))
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(program)
        .args(["run", path, &OPERATIONS.to_string()])
        .output()
        .context("valgrind cannot be started")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{path} under valgrind: {text}");
    Ok(text)
}

/// Prints which part of the program has how many of the instructions of `path`.
fn print_profile(path: &str) -> Result<()> {
    let file = env::temp_dir().join(format!("store-benches-{}.callgrind", process::id()));
    let name = file
        .to_str()
        .context("the path of the temporary directory is not UTF-8")?;
    callgrind(path, name)?;
    let output = Command::new("callgrind_annotate")
        .args(["--threshold=100", "--auto=no", name])
        .output();
    fs::remove_file(&file)?;
    let output = output.context("callgrind_annotate, a part of valgrind, cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts: BTreeMap<&str, u64> = BTreeMap::new();
    for (count, place) in text.lines().filter_map(profile_line) {
        *parts.entry(part(place)).or_default() += count;
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let sum: u64 = parts.iter().map(|(_, count)| count).sum();
    ensure!(
        sum > 0,
        "{path}: callgrind_annotate has said nothing: {text}"
    );
    println!("\n{path}: {} instructions an operation", sum / OPERATIONS);
    for (part, count) in parts {
        let share = 100.0 * count as f64 / sum as f64;
        if share >= 1.0 {
            println!("{:>8}  {share:>3.0} %  {part}", count / OPERATIONS);
        }
    }
    Ok(())
}

/// The count and the place of a line as `1,234 (56.7%)  file:function [object]`.
fn profile_line(line: &str) -> Option<(u64, &str)> {
    let (count, rest) = line.trim_start().split_once(" (")?;
    let (_, place) = rest.split_once("%)  ")?;
    // The line of the sum is none.
    let is_place = place.contains(':');
    Some((count.replace(',', "").parse().ok()?, place)).filter(|_| is_place)
}

/// The part of the program that a place is in: a crate, the standard library, the allocator.
///
/// Code that was inlined counts for the crate that it was written in.
fn part(place: &str) -> &str {
    let (file, _) = place.split_once(':').unwrap_or((place, ""));
    if file.contains("malloc/") {
        return "allocator";
    }
    if file.contains("memmove") || file.contains("memcpy") || file.contains("memset") {
        return "copying";
    }
    if let Some((_, after)) = file.split_once("/registry/src/") {
        // The directory of a crate has its name and its version.
        let directory = after.split('/').nth(1).unwrap_or(after);
        return directory
            .rsplit_once('-')
            .map_or(directory, |(name, _)| name);
    }
    let ours = ["store-core", "store-memory", "store-redis", "benches"];
    if let Some(name) = ours.iter().find(|name| file.contains(*name)) {
        return name;
    }
    if file.contains("library/") {
        return "standard library";
    }
    "other"
}
