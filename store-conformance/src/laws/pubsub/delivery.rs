//! What arrives: everything, once, in order, unchanged, and only what is meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, any, prop_oneof};
use proptest::sample::Index;
use store_core::{Bytes, StoreAdapter};
use tokio::task::JoinSet;

use super::ledger::{Ledger, numbered};
use super::{expect, expect_all, expect_nothing_more, publish, subscribe};
use crate::case::{Case, CaseResult, ensure_eq};
use crate::handle::Handle;
use crate::laws::concurrency::{finish, open_all};
use crate::laws::kv::put;
use crate::laws::patterns::subscribe_pattern;
use crate::runner::{Outcome, Run};
use crate::strategies::{EDGE_VALUES, name, patterned, value};

/// The message after which a subscription reads no more.
const LAST: &[u8] = b"(last)";

pub(in crate::laws) async fn publisher_order(run: Run) -> Outcome {
    let inputs = (vec(1..60_u64, 1..5), 1..4_usize);
    run.fewer(2)
        .for_all(inputs, |case, (sent, readers)| async move {
            let reading = case.open().await?;
            let mut tasks = JoinSet::new();
            for reader in 0..readers {
                // One of them by a pattern, which keeps the order just as well.
                let mut subscription = if reader == 1 && reading.as_patterns().is_some() {
                    subscribe_pattern(&case, &reading, "n*").await?
                } else {
                    subscribe(&case, &reading, "news").await?
                };
                let (case, sent) = (case.clone(), sent.clone());
                tasks.spawn(async move {
                    let mut ledger = Ledger::new(sent.len());
                    let mut publishing = sent.len();
                    while publishing > 0 {
                        let event = case.next_event(&mut subscription).await?;
                        if let Some((publisher, number)) = ledger.take(&event)? {
                            publishing -= usize::from(number + 1 == sent[publisher]);
                        }
                    }
                    ledger.close(&sent)?;
                    expect_nothing_more(&case, &mut subscription, "a subscription")
                });
            }
            for (publisher, count) in sent.into_iter().enumerate() {
                let (case, store) = (case.clone(), case.open().await?);
                tasks.spawn(async move {
                    for number in 0..count {
                        publish(&case, &store, "news", numbered(publisher, number)).await?;
                    }
                    Ok(())
                });
            }
            finish(tasks).await
        })
        .await
}

pub(in crate::laws) async fn exactly_once_per_subscription(run: Run) -> Outcome {
    // Few different payloads: equal messages in a row are messages in their own right.
    let payload = prop_oneof![Just("a"), Just("b"), Just("")];
    let inputs = (vec(payload, 1..20), 1..4_usize, 1..3_usize);
    run.for_all(inputs, |case, (payloads, each, handles)| async move {
        let publisher = case.open().await?;
        let mut subscriptions = Vec::new();
        for handle in open_all(&case, handles).await? {
            for _ in 0..each {
                subscriptions.push((
                    subscribe(&case, &handle, "news").await?,
                    Arc::clone(&handle),
                ));
            }
        }
        for payload in &payloads {
            publish(&case, &publisher, "news", payload).await?;
        }
        publish(&case, &publisher, "news", LAST).await?;
        for (subscription, _) in &mut subscriptions {
            expect_all(&case, subscription, "news", &payloads).await?;
            expect(&case, subscription, "news", LAST).await?;
            expect_nothing_more(&case, subscription, "a subscription")?;
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn fan_out(run: Run) -> Outcome {
    // For each subscription its handle; then who leaves half way.
    let inputs = (vec(0..3_usize, 2..8), any::<Index>(), 0..3_usize);
    run.for_all(inputs, |case, (owners, leaver, publisher)| async move {
        let handles = open_all(&case, 3).await?;
        let mut subscriptions = Vec::new();
        for owner in &owners {
            subscriptions.push(subscribe(&case, &handles[*owner], "news").await?);
        }
        let publisher = &handles[publisher];
        for payload in ["1", "2"] {
            publish(&case, publisher, "news", payload).await?;
        }
        for subscription in &mut subscriptions {
            expect_all(&case, subscription, "news", &["1", "2"]).await?;
        }
        // The others on its handle and channel must not leave with it.
        drop(subscriptions.swap_remove(leaver.index(owners.len())));
        for payload in ["3", "4"] {
            tokio::task::yield_now().await;
            publish(&case, publisher, "news", payload).await?;
        }
        for subscription in &mut subscriptions {
            expect_all(&case, subscription, "news", &["3", "4"]).await?;
            expect_nothing_more(&case, subscription, "a subscription")?;
        }
        Ok(())
    })
    .await
}

/// Channels that a careless comparison takes for `name`.
fn neighbours(name: &str) -> BTreeSet<String> {
    let chopped = name.char_indices().last().map_or("", |(at, _)| &name[..at]);
    let reversed: String = name.chars().rev().collect();
    let mut names = BTreeSet::from([
        name.to_owned(),
        chopped.to_owned(),
        reversed,
        name.to_uppercase(),
        name.to_lowercase(),
        name.trim().to_owned(),
        "*".to_owned(),
        "a".to_owned(),
        "ab".to_owned(),
    ]);
    for extra in ["a", "b", " ", "\0", "*", "?", "\\", ":", "\r\n", "[a]"] {
        names.insert(format!("{name}{extra}"));
        names.insert(format!("{extra}{name}"));
    }
    names.remove("");
    names.retain(|name| name.len() < 2_000);
    names
}

/// Writes and removes keys that are called like the channels.
async fn use_as_keys(store: &Handle, keys: &[String]) -> CaseResult {
    let entries: Vec<(&str, &[u8])> = keys.iter().map(|key| (&**key, &b"key"[..])).collect();
    store.set_many(&entries, None).await?;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    store.delete_many(&names).await?;
    for name in &names[..2] {
        put(store, name, b"key").await?;
        store.delete(name).await?;
    }
    put(store, names[2], b"key").await
}

pub(in crate::laws) async fn channel_isolation(run: Run) -> Outcome {
    let without = |group: &str| run.config().without.contains_key(group);
    let has_keys = !without("kv") && !without("batch");
    let name = prop_oneof![name(), "[abAB*?\\[\\]^:. -]{1,4}"];
    run.for_all(
        (name, any::<Index>()),
        move |case, (name, silent)| async move {
            let [reading, publishing] = [case.open().await?, case.open().await?];
            let names: Vec<String> = neighbours(&name).into_iter().collect();
            // Nobody subscribes to one of them; its messages go nowhere.
            let silent = silent.index(names.len());
            let mut subscriptions = Vec::new();
            for (number, name) in names.iter().enumerate() {
                if number != silent {
                    subscriptions.push((name, subscribe(&case, &reading, name).await?));
                }
            }
            // A key of the same name is something else.
            let keys = case.keys(&names);
            if has_keys {
                use_as_keys(&publishing, &keys).await?;
            }
            for name in &names {
                publish(&case, &publishing, name, format!("for {name}")).await?;
            }
            for name in &names {
                publish(&case, &publishing, name, LAST).await?;
            }
            for (name, subscription) in &mut subscriptions {
                expect(&case, subscription, name, format!("for {name}")).await?;
                expect(&case, subscription, name, LAST).await?;
            }
            for (name, subscription) in &mut subscriptions {
                expect_nothing_more(&case, subscription, &format!("the channel {name:?}"))?;
            }
            if has_keys {
                let keys: Vec<&str> = keys.iter().take(3).map(String::as_str).collect();
                ensure_eq!(
                    reading.get_many(&keys).await?,
                    [None, None, Some(Bytes::from_static(b"key"))],
                    "the keys that are called like the channels"
                );
            }
            Ok(())
        },
    )
    .await
}

async fn echo(case: &Case, store: &Handle, other: &Handle, payloads: &[Bytes]) -> CaseResult {
    let mut same = subscribe(case, store, "news").await?;
    let mut different = subscribe(case, other, "news").await?;
    for payload in payloads {
        publish(case, store, "news", payload).await?;
        expect(case, &mut same, "news", payload).await?;
        expect(case, &mut different, "news", payload).await?;
    }
    Ok(())
}

pub(in crate::laws) async fn binary_payload(run: Run) -> Outcome {
    let edges: Vec<Bytes> = EDGE_VALUES
        .iter()
        .map(|edge| Bytes::from_static(edge))
        .collect();
    let large = [65_535, 65_536, 1 << 20, (1 << 20) + 1].map(|length| patterned(7, length));
    let first = vec![edges, large.to_vec()];
    run.for_these_and_all(first, vec(value(), 1..5), |case, payloads| async move {
        let [store, other] = [case.open().await?, case.open().await?];
        let limit = store.max_value_len().unwrap_or(usize::MAX);
        let payloads: Vec<Bytes> = payloads
            .into_iter()
            .filter(|payload| payload.len() <= limit)
            .collect();
        echo(&case, &store, &other, &payloads).await
    })
    .await
}
