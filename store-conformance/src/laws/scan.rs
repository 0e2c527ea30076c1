//! Scans: exactly the live keys that begin with a prefix, and nothing of anybody else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::{Strategy, any};
use store_core::{MAX_NAME_LEN, StoreAdapter};
use tokio::task::JoinSet;

use super::kv::{put, put_for};
use crate::case::{Case, CaseResult, Failure, ensure, ensure_eq, millis, scan_of};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};
use crate::strategies::{name, names};

mod stores;

pub(super) use stores::{
    clear_is_exact, scan_empty_prefix_is_own_scope_only, scan_no_duplicates, scan_strips_prefix,
};

/// All pages of a scan, in the order they came, duplicates included.
pub(crate) async fn scan_all(
    store: &Handle,
    prefix: &str,
    page_size: usize,
) -> CaseResult<Vec<String>> {
    // A scan that makes no progress would never end.
    const PAGES: usize = 200_000;
    let scan = scan_of(store)?;
    let mut keys = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES {
        let page = scan.scan_page(prefix, cursor.as_deref(), page_size).await?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(keys);
        }
    }
    Err(Failure::new(format!(
        "a scan did not end after {PAGES} pages"
    )))
}

/// A prefix with whatever a pattern language might make of it.
fn prefix() -> impl Strategy<Value = String> {
    proptest::prop_oneof![
        2 => name(),
        2 => "[ab*?:\\[\\]\\\\^-]{1,5}",
    ]
}

/// Names beside `prefix`, of which some begin with it and some only look like it.
fn neighbours(prefix: &str, more: &[String]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = [
        prefix.to_owned(),
        prefix.to_uppercase(),
        prefix.to_lowercase(),
        prefix.chars().rev().collect(),
        // What the prefix matches, were it a pattern.
        prefix.replace(['*', '?'], "a"),
        prefix.replace('*', ""),
        prefix.replace(['[', ']', '\\'], ""),
        "a".to_owned(),
        "*".to_owned(),
    ]
    .into();
    // One character less.
    let mut shorter = prefix.to_owned();
    let last = shorter.pop();
    // The first text behind all that begin with the prefix, where a range may end too late.
    if let Some(next) = last.and_then(|last| char::from_u32(u32::from(last) + 1)) {
        all.extend([format!("{shorter}{next}"), format!("{shorter}{next}a")]);
    }
    all.insert(shorter);
    for other in more
        .iter()
        .map(String::as_str)
        .chain(["a", ":", "*", "\0", "\u{10ffff}"])
    {
        all.insert(format!("{prefix}{other}"));
        all.insert(format!("{other}{prefix}"));
        all.insert(format!("{other}{prefix}{other}"));
        all.insert(other.to_owned());
    }
    all
}

fn beginning_with(prefix: &str, keys: &BTreeSet<String>) -> BTreeSet<String> {
    keys.iter()
        .filter(|key| key.starts_with(prefix))
        .cloned()
        .collect()
}

fn strip(case: &Case, keys: Vec<String>) -> CaseResult<BTreeSet<String>> {
    keys.into_iter()
        .map(|key| {
            let own = key.strip_prefix(case.scope()).map(str::to_owned);
            own.ok_or_else(|| Failure::new(format!("a scan listed {key:?}, which is not ours")))
        })
        .collect()
}

pub(super) async fn scan_prefix_exact(run: Run) -> Outcome {
    let inputs = (prefix(), names(1..5), any::<u64>());
    run.for_all(inputs, |case, (prefix, more, fate)| async move {
        let store = case.open().await?;
        let segment = format!("{prefix}:");
        let mut live = neighbours(&prefix, &more);
        live.extend(neighbours(&segment, &more));
        // The whole physical prefix once more, in the middle of a name.
        live.insert(format!("x{}", case.key(&prefix)));
        live.retain(|name| case.key(name).len() <= MAX_NAME_LEN);
        let planted: Vec<String> = live.iter().cloned().collect();
        let mut window = None;
        for (number, name) in planted.iter().enumerate() {
            let key = case.key(name);
            // Some of them are deleted or expired before the scan.
            match fate.rotate_left(number as u32 * 2) & 7 {
                0 => {
                    put(&store, &key, b"v").await?;
                    store.delete(&key).await?;
                    live.remove(name);
                }
                1 => {
                    let (written, ends) = case
                        .timed(millis(10)?, put_for(&store, &key, b"v", 10))
                        .await;
                    written?;
                    window = Some(ends);
                    live.remove(name);
                }
                2 => drop(store.increment(&key, 1, None).await?),
                _ => put(&store, &key, b"").await?,
            }
        }
        if let Some(window) = window {
            case.pass_window(&window).await;
        }
        for prefix in [prefix.as_str(), segment.as_str(), ""] {
            let listed = scan_all(&store, &case.key(prefix), 1_000).await?;
            let listed = strip(&case, listed)?;
            let expected = beginning_with(prefix, &live);
            let extra: Vec<&String> = listed.difference(&expected).collect();
            let missing: Vec<&String> = expected.difference(&listed).collect();
            ensure!(
                extra.is_empty() && missing.is_empty(),
                "a scan of {prefix:?} listed {extra:?} too much and {missing:?} not"
            );
        }
        Ok(())
    })
    .await
}

pub(super) async fn scan_pages_cover(run: Run) -> Outcome {
    run.fewer(2)
        .for_all((1_usize..40, name()), |case, (count, prefix)| async move {
            let store = case.open().await?;
            let expected: BTreeSet<String> = (0..count)
                .map(|number| format!("{prefix}{number}"))
                .collect();
            let others = expected.iter().map(|name| format!("!{name}"));
            let keys: Vec<String> = expected
                .iter()
                .cloned()
                .chain(others)
                .map(|name| case.key(&name))
                .collect();
            let entries: Vec<(&str, &[u8])> = keys.iter().map(|key| (&**key, &b"v"[..])).collect();
            store.set_many(&entries, None).await?;
            let expected = beginning_with(&prefix, &expected);
            for page_size in [1, 2, count.max(2) - 1, count, count + 1, 10_000] {
                let listed = scan_all(&store, &case.key(&prefix), page_size).await?;
                ensure_eq!(
                    strip(&case, listed)?,
                    expected,
                    "all pages of size {page_size} together"
                );
            }
            Ok(())
        })
        .await
}

pub(super) async fn scan_stable_keys_survive_churn(run: Run) -> Outcome {
    run.racy()
        .fewer(8)
        .for_all(1_usize..60, |case, page_size| async move {
            const STABLE: usize = 150;
            let store = case.open().await?;
            let mut stable = BTreeSet::new();
            for number in 0..STABLE {
                let name = format!("s{number}");
                put(&store, &case.key(&name), b"v").await?;
                stable.insert(name);
            }
            let ends = Arc::new(AtomicBool::new(false));
            let (churner, end) = (case.open().await?, Arc::clone(&ends));
            let churning = case.clone();
            // Dropped with the case, which ends it.
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                for round in 0_usize.. {
                    if end.load(Ordering::Relaxed) {
                        break;
                    }
                    // Grows and shrinks the key space, before and after the stable keys.
                    let names: Vec<String> = (0..100)
                        .flat_map(|number| {
                            let number = round % 7 * 100 + number;
                            [
                                format!("a{number}"),
                                format!("s!{number}"),
                                format!("sx{number}"),
                                format!("z{number}"),
                            ]
                        })
                        .map(|name| churning.key(&name))
                        .collect();
                    let entries: Vec<(&str, &[u8])> =
                        names.iter().map(|key| (key.as_str(), &b"v"[..])).collect();
                    churner.set_many(&entries, None).await?;
                    // Out of step with the scan, so that pages meet both states.
                    for _ in 0..round % 4 {
                        tokio::task::yield_now().await;
                    }
                    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
                    churner.delete_many(&keys).await?;
                    for _ in 0..=round % 3 {
                        tokio::task::yield_now().await;
                    }
                }
                CaseResult::Ok(())
            });
            for _ in 0..3 {
                let scan = scan_of(&store)?;
                let mut listed = BTreeSet::new();
                let mut cursor: Option<String> = None;
                loop {
                    let prefix = case.key("s");
                    let page = scan
                        .scan_page(&prefix, cursor.as_deref(), page_size)
                        .await?;
                    listed.extend(strip(&case, page.keys)?);
                    // The churn must come between two pages, also on one thread.
                    tokio::task::yield_now().await;
                    cursor = page.cursor;
                    if cursor.is_none() {
                        break;
                    }
                }
                let missing: Vec<&String> = stable.difference(&listed).collect();
                ensure!(
                    missing.is_empty(),
                    "keys that were there during the whole scan are missing: {missing:?}"
                );
                let foreign = listed.iter().find(|name| !name.starts_with('s'));
                ensure!(foreign.is_none(), "a scan of \"s\" listed {foreign:?}");
            }
            ends.store(true, Ordering::Relaxed);
            while let Some(churn) = tasks.join_next().await {
                churn.map_err(|error| Failure::new(format!("the churn failed: {error}")))??;
            }
            Ok(())
        })
        .await
}
