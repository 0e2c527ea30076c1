//! The driver as a whole: what it says of itself, its scopes, its handles, and its end.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use store_core::{Bytes, Condition, ErrorKind, Expiry, HealthState, Store, StoreAdapter, Ttl};

use super::kv::put;
use super::scan_all;
use super::ttl::HOUR;
use crate::case::{Case, CaseResult, Failure, ensure, ensure_eq, ensure_kind, millis};
use crate::handle::Handle;
use crate::harness::LiveResources;
use crate::runner::{Outcome, Run};
use crate::strategies::{name, names, value};

mod absent;
mod calls;

pub(super) use absent::absent_capability_refuses;
pub(super) use calls::{closed_store_refuses, no_op_hangs};

/// What a driver says of itself.
fn self_portrait(store: &Handle) -> (&'static str, Option<usize>, bool, bool) {
    (
        store.name(),
        store.max_value_len(),
        store.as_scan().is_some(),
        store.as_patterns().is_some(),
    )
}

pub(super) async fn capabilities_are_stable(run: Run) -> Outcome {
    let without = |group: &str| run.config().without.contains_key(group);
    let (no_scan, no_patterns) = (without("scan"), without("patterns"));
    run.once(move |case| async move {
        let store = case.open().await?;
        let first = self_portrait(&store);
        let (name, _, scans, matches) = first;
        ensure!(!name.is_empty(), "a driver must have a name");
        ensure!(
            scans || no_scan,
            "the driver offers no `as_scan`, and its suite does not say `without: {{ scan = … }}`"
        );
        ensure!(
            matches || no_patterns,
            "the driver offers no `as_patterns`, and its suite does not say `without: {{ patterns \
             = … }}`"
        );
        put(&store, &case.key("k"), b"v").await?;
        store.get(&case.key("k")).await?;
        ensure_eq!(
            self_portrait(&store),
            first,
            "what the driver says after use"
        );
        let other = case.open().await?;
        ensure_eq!(self_portrait(&other), first, "what another handle says");
        store.close().await?;
        ensure_eq!(self_portrait(&store), first, "what a closed handle says");
        ensure_eq!(
            self_portrait(&other),
            first,
            "what the other handle says then"
        );
        Ok(())
    })
    .await
}

pub(super) async fn scope_is_empty(run: Run) -> Outcome {
    let scans = !run.config().without.contains_key("scan");
    run.once(move |case| async move {
        let names = ["", "k", "count", "mortal", "*"];
        for round in 0..2 {
            let store = case.open().await?;
            for name in names {
                let key = case.key(name);
                ensure!(
                    !store.has(&key).await?,
                    "{name:?} must not be there in round {round}"
                );
                ensure_eq!(store.ttl(&key).await?, Ttl::Missing, "ttl in round {round}");
            }
            if scans {
                let keys = scan_all(&store, case.scope(), 100).await?;
                ensure!(keys.is_empty(), "round {round} begins with {keys:?}");
            }
            for name in names {
                put(&store, &case.key(name), b"v").await?;
            }
            store.increment(&case.key("fresh"), 1, None).await?;
            store.expire(&case.key("mortal"), millis(HOUR)?).await?;
            store.delete(&case.key("fresh")).await?;
            drop(store);
            // What the harness cleans up is gone for whoever comes next.
            let closed = case.harness().close(case.scope()).await;
            closed.map_err(|error| Failure::new(format!("the harness cannot close: {error}")))?;
        }
        Ok(())
    })
    .await
}

/// A kind, an id or a name that might be taken for something else.
fn segment() -> impl Strategy<Value = String> {
    const NASTY: &[&str] = &[
        "a", "b", "a:", ":a", ":", "a:b", "~", "~a", "a~", "~a:b:", "%", "%3A", "%7E", "%25", "kv",
        "a:kv", "ab", "A", " ", "*", "0",
    ];
    proptest::prop_oneof![
        4 => select(NASTY).prop_map(str::to_owned),
        1 => name(),
    ]
}

pub(super) async fn scopes_are_isolated(run: Run) -> Outcome {
    let place = (vec((segment(), segment()), 0..3), segment());
    let inputs = vec(place, 2..12);
    run.more(2)
        .for_all(inputs, |case, mut places| async move {
            places.sort();
            places.dedup();
            let root = Store::from_adapter(case.open().await?).with_prefix(case.scope());
            let at = |scopes: &[(String, String)]| {
                let scopes = scopes.iter();
                scopes.fold(root.clone(), |store, (kind, id)| store.scope(kind, id))
            };
            for (number, (scopes, name)) in places.iter().enumerate() {
                at(scopes).set(name, &number).await?;
            }
            for (number, (scopes, name)) in places.iter().enumerate() {
                ensure_eq!(
                    at(scopes).get(name).await?,
                    Some(number),
                    "{name:?} of scope {scopes:?}, among other scopes"
                );
            }
            let (scopes, name) = &places[0];
            at(scopes).delete(name).await?;
            for (number, (scopes, name)) in places.iter().enumerate() {
                ensure_eq!(
                    at(scopes).get(name).await?,
                    (number > 0).then_some(number),
                    "{name:?} of scope {scopes:?}, after a delete in another scope"
                );
            }
            Ok(())
        })
        .await
}

pub(super) async fn two_handles_one_store(run: Run) -> Outcome {
    let step = (any::<bool>(), 0_u8..8, value());
    let inputs = (names(1..4), vec(step, 1..16));
    run.for_all(inputs, |case, (names, steps)| async move {
        let stores = [case.open().await?, case.open().await?];
        let keys = case.keys(&names);
        let mut there: BTreeMap<&String, Bytes> = BTreeMap::new();
        for (number, (second, kind, value)) in steps.into_iter().enumerate() {
            let key = &keys[number % keys.len()];
            let (writer, reader) = (&stores[usize::from(second)], &stores[usize::from(!second)]);
            // The reader has just seen the old value, and must not keep it.
            ensure_eq!(
                reader.get(key).await?.as_ref(),
                there.get(key),
                "get by the other handle, before the write"
            );
            match kind {
                0 => {
                    writer.delete(key).await?;
                    there.remove(key);
                }
                1 => {
                    writer.take(key).await?;
                    there.remove(key);
                }
                2 => {
                    writer.delete_many(&[key]).await?;
                    there.remove(key);
                }
                3 => {
                    writer.set_many(&[(key, &value)], None).await?;
                    there.insert(key, value);
                }
                4 => {
                    writer.replace(key, &value, Expiry::Never).await?;
                    there.insert(key, value);
                }
                5 => {
                    writer.delete(key).await?;
                    writer.increment(key, 5, None).await?;
                    there.insert(key, Bytes::from_static(b"5"));
                }
                6 => {
                    put(writer, key, &value).await?;
                    writer.expire(key, millis(HOUR)?).await?;
                    there.insert(key, value);
                }
                _ => {
                    put(writer, key, &value).await?;
                    there.insert(key, value);
                }
            }
            let expected = there.get(key);
            ensure_eq!(
                reader.get(key).await?.as_ref(),
                expected,
                "get by the other handle, after the write"
            );
            ensure_eq!(
                reader.has(key).await?,
                expected.is_some(),
                "has by the other handle"
            );
            let ttl = reader.ttl(key).await?;
            ensure_eq!(
                ttl != Ttl::Missing,
                expected.is_some(),
                "whether the other handle sees a ttl ({ttl:?})"
            );
        }
        Ok(())
    })
    .await
}

/// Waits until the backend holds what `expected` says, or gives up.
async fn settle(case: &Case, expected: LiveResources) -> CaseResult<LiveResources> {
    let mut now = LiveResources::default();
    for _ in 0..200 {
        now = resources(case).await?;
        if now == expected {
            break;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(now)
}

async fn resources(case: &Case) -> CaseResult<LiveResources> {
    let resources = case.harness().live_resources(case.scope()).await;
    resources.ok_or_else(|| Failure::new("the harness counts live resources no more"))
}

pub(super) async fn drop_releases(run: Run) -> Outcome {
    run.for_each(
        vec!["drop", "close", "close, then drop"],
        |case, end| async move {
            // A first handle, so that what the harness itself holds is there before the count.
            let first = case.open().await?;
            first.get(&case.key("k")).await?;
            let before = resources(&case).await?;
            let mut handles = Vec::new();
            for number in 0..4 {
                let handle = case.open().await?;
                put(&handle, &case.key("k"), b"v").await?;
                let channel = case.key(&format!("channel {number}"));
                let mut subscriptions = vec![handle.subscribe(&channel).await?];
                if let Some(patterns) = handle.as_patterns() {
                    subscriptions.push(patterns.subscribe_pattern(&channel).await?);
                }
                handles.push((handle, subscriptions));
            }
            let during = resources(&case).await?;
            ensure!(
                during.subscriptions > before.subscriptions,
                "four subscriptions must be seen by `live_resources`: {before:?}, then {during:?}"
            );
            for (handle, subscriptions) in handles {
                if end != "drop" {
                    handle.close().await?;
                }
                if end != "close" {
                    drop(subscriptions);
                }
                drop(handle);
            }
            let after = settle(&case, before).await?;
            ensure_eq!(after, before, "what the backend holds after {end}");
            Ok(())
        },
    )
    .await
}
