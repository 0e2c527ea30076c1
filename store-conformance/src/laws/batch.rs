//! Batches: what many single calls would do, in one call, with the answers in order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::any;
use store_core::{Bytes, StoreAdapter, Ttl};

use super::kv::{put, put_for};
use super::ttl::HOUR;
use crate::case::{CaseResult, ensure, ensure_eq, millis};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};
use crate::strategies::{names, value};

mod limits;

pub(super) use limits::{batch_large, batch_partial_failure_is_reported};

/// Borrows keys as a batch takes them.
fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Borrows entries as a batch takes them.
fn borrowed_entries(entries: &[(String, Bytes)]) -> Vec<(&str, &[u8])> {
    entries
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_ref()))
        .collect()
}

pub(super) async fn get_many_positions_and_duplicates(run: Run) -> Outcome {
    let inputs = (
        names(1..8),
        vec(option::weighted(0.6, value()), 8),
        vec(any::<proptest::sample::Index>(), 0..24),
    );
    run.for_all(inputs, |case, (names, values, asked)| async move {
        let store = case.open().await?;
        let keys = case.keys(&names);
        for (key, value) in keys.iter().zip(&values) {
            if let Some(value) = value {
                put(&store, key, value).await?;
            }
        }
        let asked: Vec<usize> = asked.iter().map(|index| index.index(keys.len())).collect();
        let asked_keys: Vec<&str> = asked.iter().map(|index| keys[*index].as_str()).collect();
        let expected: Vec<Option<Bytes>> =
            asked.iter().map(|index| values[*index].clone()).collect();
        let answers = store.get_many(&asked_keys).await?;
        ensure_eq!(answers, expected, "the answers of get_many, by position");
        Ok(())
    })
    .await
}

pub(super) async fn empty_batches_are_ok(run: Run) -> Outcome {
    run.once(|case| async move {
        let store = case.open().await?;
        let key = case.key("there");
        put(&store, &key, b"v").await?;
        ensure_eq!(store.get_many(&[]).await?, [], "get_many of no keys");
        store.set_many(&[], None).await?;
        store.set_many(&[], Some(millis(HOUR)?)).await?;
        ensure_eq!(store.delete_many(&[]).await?, 0, "delete_many of no keys");
        ensure_eq!(
            store.get(&key).await?.as_deref(),
            Some(&b"v"[..]),
            "a key that was in none of the batches"
        );
        Ok(())
    })
    .await
}

pub(super) async fn set_many_last_wins(run: Run) -> Outcome {
    let inputs = (
        names(1..5),
        vec((any::<proptest::sample::Index>(), value()), 1..16),
        any::<bool>(),
    );
    run.for_all(inputs, |case, (names, writes, mortal)| async move {
        let store = case.open().await?;
        let keys = case.keys(&names);
        let writes: Vec<(String, Bytes)> = writes
            .into_iter()
            .map(|(index, value)| (keys[index.index(keys.len())].clone(), value))
            .collect();
        let ttl = if mortal { Some(millis(HOUR)?) } else { None };
        store.set_many(&borrowed_entries(&writes), ttl).await?;
        let last: BTreeMap<&String, &Bytes> =
            writes.iter().map(|(key, value)| (key, value)).collect();
        for key in &keys {
            let expected = last.get(key).map(|value| (*value).clone());
            ensure_eq!(
                store.get(key).await?,
                expected,
                "the value of a key that a batch wrote, perhaps twice"
            );
            let ttl = store.ttl(key).await?;
            let as_given = match (expected.is_some(), mortal) {
                (false, _) => ttl == Ttl::Missing,
                (true, false) => ttl == Ttl::Forever,
                (true, true) => ttl.left().is_some(),
            };
            ensure!(as_given, "the ttl of a key that a batch wrote: was {ttl:?}");
        }
        Ok(())
    })
    .await
}

pub(super) async fn delete_many_counts_live_once(run: Run) -> Outcome {
    let inputs = (
        names(2..8),
        vec(0_u8..3, 8),
        vec(any::<proptest::sample::Index>(), 0..20),
    );
    run.for_all(inputs, |case, (names, states, asked)| async move {
        let store = case.open().await?;
        let keys = case.keys(&names);
        // Absent, live, or expired.
        let mut live = BTreeSet::new();
        let mut window = None;
        for (key, state) in keys.iter().zip(&states) {
            match state {
                0 => {}
                1 => {
                    put(&store, key, b"v").await?;
                    live.insert(key.as_str());
                }
                _ => {
                    let call = put_for(&store, key, b"v", 10);
                    let (written, ends) = case.timed(millis(10)?, call).await;
                    written?;
                    window = Some(ends);
                }
            }
        }
        if let Some(window) = window {
            case.pass_window(&window).await;
        }
        let asked: Vec<&str> = asked
            .iter()
            .map(|index| keys[index.index(keys.len())].as_str())
            .collect();
        let distinct: BTreeSet<&str> = asked.iter().copied().collect();
        let expected = distinct.intersection(&live).count() as u64;
        let removed = store.delete_many(&asked).await?;
        ensure_eq!(removed, expected, "the live keys that delete_many removed");
        for key in &keys {
            let left = live.contains(key.as_str()) && !distinct.contains(key.as_str());
            ensure_eq!(store.has(key).await?, left, "has after delete_many");
        }
        Ok(())
    })
    .await
}

pub(super) async fn batch_equals_singles(run: Run) -> Outcome {
    let step = (
        0_u8..4,
        vec((any::<proptest::sample::Index>(), value()), 0..8),
    );
    let inputs = (names(2..6), vec(step, 1..8));
    run.for_all(inputs, |case, (names, steps)| async move {
        let store = case.open().await?;
        let batch: Vec<String> = names
            .iter()
            .map(|name| case.key(&format!("b{name}")))
            .collect();
        let single: Vec<String> = names
            .iter()
            .map(|name| case.key(&format!("s{name}")))
            .collect();
        for (kind, items) in steps {
            let items: Vec<(usize, Bytes)> = items
                .into_iter()
                .map(|(index, value)| (index.index(names.len()), value))
                .collect();
            let pick = |keys: &[String]| -> Vec<String> {
                items
                    .iter()
                    .map(|(index, _)| keys[*index].clone())
                    .collect()
            };
            let (batch_keys, single_keys) = (pick(&batch), pick(&single));
            match kind {
                0 => {
                    let many = store.get_many(&borrowed(&batch_keys)).await?;
                    let mut ones = Vec::new();
                    for key in &single_keys {
                        ones.push(store.get(key).await?);
                    }
                    ensure_eq!(many, ones, "get_many, against single gets");
                }
                1 => {
                    let many = store.delete_many(&borrowed(&batch_keys)).await?;
                    let mut ones = 0;
                    for key in &single_keys {
                        ones += u64::from(store.delete(key).await?);
                    }
                    ensure_eq!(many, ones, "delete_many, against single deletes");
                }
                _ => {
                    let ttl = if kind == 2 { None } else { Some(millis(HOUR)?) };
                    let values = items.iter().map(|(_, value)| value.clone());
                    let entries: Vec<(String, Bytes)> =
                        batch_keys.into_iter().zip(values).collect();
                    store.set_many(&borrowed_entries(&entries), ttl).await?;
                    for (key, (_, value)) in single_keys.iter().zip(&items) {
                        match ttl {
                            None => put(&store, key, value).await?,
                            Some(_) => put_for(&store, key, value, HOUR).await?,
                        }
                    }
                }
            }
            same_state(&store, &batch, &single).await?;
        }
        Ok(())
    })
    .await
}

async fn same_state(store: &Handle, batch: &[String], single: &[String]) -> CaseResult {
    for (batch, single) in batch.iter().zip(single) {
        ensure_eq!(
            store.get(batch).await?,
            store.get(single).await?,
            "a value after batches, against single calls"
        );
        let kind = |ttl| match ttl {
            Ttl::Left(_) => "some",
            Ttl::Forever => "none",
            Ttl::Missing => "no key",
        };
        ensure_eq!(
            kind(store.ttl(batch).await?),
            kind(store.ttl(single).await?),
            "a ttl after batches, against single calls"
        );
    }
    Ok(())
}
