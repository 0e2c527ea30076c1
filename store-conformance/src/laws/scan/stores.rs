//! The scan and clear of a store: once each, as the user wrote them, and in its own scope.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use futures_util::TryStreamExt;
use store_core::{Codec, Store, StoreAdapter};

use super::{beginning_with, prefix};
use crate::case::{Case, CaseResult, ensure, ensure_eq};
use crate::laws::kv::put;
use crate::runner::{Outcome, Run};
use crate::strategies::{name, names};

/// The keys of a store's own scan, in the order they came.
async fn listed<C: Codec>(
    store: &Store<C>,
    prefix: &str,
    page_size: usize,
) -> CaseResult<Vec<String>> {
    let page_size = NonZeroUsize::new(page_size).unwrap_or(NonZeroUsize::MIN);
    Ok(store.scan_paged(prefix, page_size).try_collect().await?)
}

fn distinct(keys: &[String]) -> CaseResult<BTreeSet<String>> {
    let set: BTreeSet<String> = keys.iter().cloned().collect();
    ensure_eq!(
        keys.len(),
        set.len(),
        "the keys of a scan, against the different ones"
    );
    Ok(set)
}

pub(in crate::laws) async fn scan_no_duplicates(run: Run) -> Outcome {
    let inputs = (1_usize..200, 1_usize..50);
    run.fewer(4)
        .for_all(inputs, |case, (count, page_size)| async move {
            let handle = case.open().await?;
            let store = Store::from_adapter(handle.clone()).with_prefix(case.scope());
            let expected: BTreeSet<String> =
                (0..count).map(|number| format!("k{number}")).collect();
            let keys: Vec<String> = expected.iter().map(|name| case.key(name)).collect();
            // Written again: a log of writes would list it twice.
            for value in [b"v", b"w"] {
                let entries: Vec<(&str, &[u8])> =
                    keys.iter().map(|key| (&**key, &value[..])).collect();
                handle.set_many(&entries, None).await?;
            }
            let keys = listed(&store, "k", page_size).await?;
            ensure_eq!(distinct(&keys)?, expected, "the keys of a scan");
            // Growing meanwhile, a hash table moves its entries.
            let mut keys = store.scan_paged("k", NonZeroUsize::MIN);
            let mut seen = Vec::new();
            while let Some(key) = keys.try_next().await? {
                if seen.len() < 40 {
                    // Beside the keys of the scan, before and behind them.
                    for new in ["j", "l"] {
                        let new = format!("{new}{}", seen.len());
                        put(&handle, &case.key(&new), b"v").await?;
                    }
                }
                seen.push(key);
            }
            ensure_eq!(
                distinct(&seen)?,
                expected,
                "the keys of a scan while others come"
            );
            Ok(())
        })
        .await
}

pub(in crate::laws) async fn scan_strips_prefix(run: Run) -> Outcome {
    let inputs = (prefix(), name(), names(1..8));
    run.for_all(inputs, |case, (prefix, id, names)| async move {
        let handle = case.open().await?;
        let root = Store::from_adapter(handle).with_prefix(case.scope());
        let stores = [
            root.clone().with_prefix(&prefix),
            root.clone().with_key_prefix(&prefix),
            root.scope("tenant", &id),
            root.scope("tenant", &id).with_prefix(&prefix),
        ];
        for store in stores {
            for name in &names {
                store.set(name, &1).await?;
            }
            let keys = listed(&store, "", 1_000).await?;
            let expected: BTreeSet<String> = names.iter().cloned().collect();
            ensure_eq!(
                distinct(&keys)?,
                expected,
                "the keys of a store with a prefix or scope, as the user wrote them"
            );
            for key in &keys {
                ensure_eq!(
                    store.get(key).await?,
                    Some(1),
                    "get of a key that a scan listed"
                );
            }
            let begins: String = names[0].chars().take(1).collect();
            let keys = listed(&store, &begins, 1_000).await?;
            ensure_eq!(
                distinct(&keys)?,
                beginning_with(&begins, &expected),
                "a scan of {begins:?}"
            );
            store.delete_many(&names).await?;
        }
        Ok(())
    })
    .await
}

/// A store and the stores around it, each with `names` in it: the one in the middle is what a law
/// looks at.
struct Surroundings {
    middle: Store,
    around: Vec<(&'static str, Store)>,
}

impl Surroundings {
    async fn make(case: &Case, id: &str, names: &[String]) -> CaseResult<Self> {
        let root = Store::from_adapter(case.open().await?).with_prefix(case.scope());
        let middle = root.scope("tenant", id);
        let around = vec![
            ("the store outside", root.clone()),
            (
                "a tenant whose id is longer",
                root.scope("tenant", &format!("{id}x")),
            ),
            (
                "a tenant whose id is shorter",
                root.scope("tenant", id.get(1..).unwrap_or("y")),
            ),
            ("another kind", root.scope("tenan", id)),
            ("a scope inside", middle.scope("user", "1")),
            (
                "a prefix that looks alike",
                // Not a scope's own mark and kind: a prefix stands as it is and is no wall.
                root.clone().with_prefix("~tenants"),
            ),
        ];
        for store in around.iter().map(|(_, store)| store).chain([&middle]) {
            for name in names {
                store.set(name, &1).await?;
            }
        }
        Ok(Self { middle, around })
    }
}

pub(in crate::laws) async fn scan_empty_prefix_is_own_scope_only(run: Run) -> Outcome {
    let inputs = (name(), names(1..6));
    run.for_all(inputs, |case, (id, names)| async move {
        let surroundings = Surroundings::make(&case, &id, &names).await?;
        let keys = listed(&surroundings.middle, "", 7).await?;
        let expected: BTreeSet<String> = names.iter().cloned().collect();
        ensure_eq!(distinct(&keys)?, expected, "the keys of a scope");
        let (_, outside) = &surroundings.around[0];
        let keys = distinct(&listed(outside, "", 7).await?)?;
        for name in &names {
            ensure!(
                keys.contains(name),
                "{name:?} outside of every scope must be listed"
            );
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn clear_is_exact(run: Run) -> Outcome {
    let inputs = (name(), names(1..6));
    run.for_all(inputs, |case, (id, names)| async move {
        let surroundings = Surroundings::make(&case, &id, &names).await?;
        let removed = surroundings.middle.clear().await?;
        ensure_eq!(removed, names.len() as u64, "the keys that clear removed");
        for name in &names {
            ensure!(
                !surroundings.middle.has(name).await?,
                "{name:?} must be gone after clear"
            );
            for (which, store) in &surroundings.around {
                ensure!(
                    store.has(name).await?,
                    "{name:?} of {which} must stay after clear"
                );
            }
        }
        ensure_eq!(surroundings.middle.clear().await?, 0, "clear of nothing");
        Ok(())
    })
    .await
}
