//! What a driver does not have, it refuses.

use super::*;
use crate::strategies::EDGE_VALUES;

pub(in crate::laws) async fn absent_capability_refuses(run: Run) -> Outcome {
    let without: Vec<String> = run.config().without.keys().cloned().collect();
    if without.is_empty() {
        return Outcome::NotChecked("nothing is left out".to_owned());
    }
    run.for_each(without, |case, group| async move {
        let store = case.open().await?;
        let key = case.key("k");
        // Where the group is that of reading or writing, there is nothing to be seen.
        let seen = group != "kv";
        if seen {
            put(&store, &key, b"1").await?;
        }
        refuses(&case, &store, &group, &key).await?;
        if seen {
            ensure_eq!(
                store.get(&key).await?.as_deref(),
                Some(&b"1"[..]),
                "the value after operations that the driver does not have"
            );
        }
        Ok(())
    })
    .await
}

fn unsupported<T: std::fmt::Debug>(answer: store_core::Result<T>, what: &str) -> CaseResult {
    ensure_kind(
        answer,
        ErrorKind::Unsupported,
        &format!("{what}, of a group that is left out"),
    )
}

async fn refuses(
    case: &Case,
    store: &std::sync::Arc<Handle>,
    group: &str,
    key: &str,
) -> CaseResult {
    let (never, hour) = (Expiry::Never, millis(HOUR)?);
    let value = EDGE_VALUES[EDGE_VALUES.len() - 1];
    match group {
        "kv" => {
            unsupported(store.get(key).await, "get")?;
            unsupported(store.set(key, value, never, Condition::Always).await, "set")?;
            unsupported(store.delete(key).await, "delete")?;
            unsupported(store.has(key).await, "has")
        }
        "counter" => unsupported(store.increment(key, 1, None).await, "increment"),
        "ttl" => {
            unsupported(store.expire(key, hour).await, "expire")?;
            unsupported(store.persist(key).await, "persist")?;
            unsupported(store.ttl(key).await, "ttl")?;
            let set = store.set(key, value, Expiry::After(hour), Condition::Always);
            unsupported(set.await, "set with a ttl")
        }
        "batch" => {
            unsupported(store.get_many(&[key]).await, "get_many")?;
            unsupported(store.set_many(&[(key, value)], None).await, "set_many")?;
            unsupported(store.delete_many(&[key]).await, "delete_many")
        }
        "conditional" => {
            for condition in [
                Condition::IfAbsent,
                Condition::IfPresent,
                Condition::IfEquals(b"1"),
            ] {
                let set = store.set(key, value, never, condition).await;
                unsupported(set, "set with a condition")?;
            }
            unsupported(store.take(key).await, "take")?;
            unsupported(store.replace(key, value, never).await, "replace")?;
            unsupported(
                store.compare_and_delete(key, b"1").await,
                "compare_and_delete",
            )
        }
        "scan" => {
            if let Some(scan) = store.as_scan() {
                unsupported(scan.scan_page(case.scope(), None, 10).await, "scan_page")?;
            }
            let typed = Store::from_adapter(store.clone()).with_prefix(case.scope());
            unsupported(typed.clear().await, "clear")
        }
        "pubsub" => {
            unsupported(store.publish(key, value).await, "publish")?;
            unsupported(store.subscribe(key).await, "subscribe")
        }
        "patterns" => {
            if let Some(patterns) = store.as_patterns() {
                let answer = patterns.subscribe_pattern(key).await;
                unsupported(answer, "subscribe_pattern")?;
            }
            let typed = Store::from_adapter(store.clone()).with_prefix(case.scope());
            let answer = typed.subscribe_pattern::<i64>("*").await;
            unsupported(answer, "subscribe_pattern of the handle")
        }
        "faults" => {
            ensure!(
                case.harness().faults().is_none(),
                "the suite leaves out `faults`, but the harness offers them"
            );
            Ok(())
        }
        "resources" => {
            let resources = case.harness().live_resources(case.scope()).await;
            ensure!(
                resources.is_none(),
                "the suite leaves out `resources`, but the harness counts them"
            );
            Ok(())
        }
        // Groups without an operation of their own.
        _ => Ok(()),
    }
}
