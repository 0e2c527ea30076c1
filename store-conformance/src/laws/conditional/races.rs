//! Conditional writes of several callers at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::{Strategy, any};
use store_core::{Bytes, Condition, Expiry, StoreAdapter};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::case::{Case, CaseResult, Failure, ensure, ensure_eq, millis};
use crate::handle::Handle;
use crate::laws::kv::{put, put_for};
use crate::runner::{Outcome, Run};

/// How many callers race.
const CALLERS: usize = 8;

/// Runs `task` on as many handles as there are callers, all at once; answers what they answered.
async fn race<T, F>(case: &Case, task: impl Fn(usize, Arc<Handle>) -> F) -> CaseResult<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = CaseResult<T>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(CALLERS));
    let mut tasks = JoinSet::new();
    for number in 0..CALLERS {
        let task = task(number, case.open().await?);
        let barrier = Arc::clone(&barrier);
        tasks.spawn(async move {
            barrier.wait().await;
            task.await
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.map_err(|error| Failure::new(format!("a caller failed: {error}")))?;
        answers.push(answer?);
    }
    Ok(answers)
}

pub(in crate::laws) async fn if_absent_one_winner(run: Run) -> Outcome {
    // Before the race the key is absent, deleted, or expired.
    run.racy()
        .fewer(4)
        .for_all(0_u8..3, |case, before| async move {
            const ROUNDS: usize = 12;
            let store = case.open().await?;
            let keys: Vec<String> = (0..ROUNDS)
                .map(|round| case.key(&format!("r{round}")))
                .collect();
            for key in &keys {
                match before {
                    0 => {}
                    1 => {
                        put(&store, key, b"old").await?;
                        store.delete(key).await?;
                    }
                    _ => put_for(&store, key, b"old", 5).await?,
                }
            }
            let (_, window) = case.timed(millis(5)?, async {}).await;
            case.pass_window(&window).await;
            let raced = keys.clone();
            let wins = race(&case, move |caller, store| {
                let keys = raced.clone();
                async move {
                    let mut wins = Vec::new();
                    for key in &keys {
                        let value = [caller as u8];
                        let set = store.set(key, &value, Expiry::Never, Condition::IfAbsent);
                        wins.push(set.await?.then_some(caller));
                    }
                    Ok(wins)
                }
            })
            .await?;
            for (round, key) in keys.iter().enumerate() {
                let winners: Vec<usize> = wins.iter().filter_map(|wins| wins[round]).collect();
                ensure_eq!(
                    winners.len(),
                    1,
                    "the callers that were told that they wrote {key:?} first ({winners:?})"
                );
                ensure_eq!(
                    store.get(key).await?.as_deref(),
                    Some(&[winners[0] as u8][..]),
                    "the value of the winner"
                );
            }
            Ok(())
        })
        .await
}

pub(in crate::laws) async fn replace_and_take_are_atomic(run: Run) -> Outcome {
    let inputs = (0_usize..=CALLERS, any::<bool>());
    run.racy()
        .fewer(4)
        .for_all(inputs, |case, (takers, present)| async move {
            const ROUNDS: usize = 20;
            let store = case.open().await?;
            let key = case.key("handed around");
            if present {
                put(&store, &key, b"first").await?;
            }
            let shared = key.clone();
            let answers = race(&case, move |caller, store| {
                let key = shared.clone();
                async move {
                    let mut seen = Vec::new();
                    for round in 0..ROUNDS {
                        seen.push(if caller < takers {
                            store.take(&key).await?
                        } else {
                            let value = format!("{caller} {round}");
                            store.replace(&key, value.as_bytes(), Expiry::Never).await?
                        });
                    }
                    Ok(seen)
                }
            })
            .await?;
            // Every value that was written was handed out once, but for the one that is there.
            let mut count: BTreeMap<Bytes, i32> = BTreeMap::new();
            for seen in answers.into_iter().flatten().flatten() {
                *count.entry(seen).or_default() += 1;
            }
            if let Some(last) = store.get(&key).await? {
                *count.entry(last).or_default() += 1;
            }
            let mut written: Vec<Bytes> = (takers..CALLERS)
                .flat_map(|caller| (0..ROUNDS).map(move |round| format!("{caller} {round}").into()))
                .collect();
            if present {
                written.push(Bytes::from_static(b"first"));
            }
            for value in &written {
                let times = count.remove(value).unwrap_or(0);
                ensure_eq!(
                    times,
                    1,
                    "how often {value:?} was answered by take and replace, or is left"
                );
            }
            ensure!(count.is_empty(), "values that nobody wrote: {count:?}");
            Ok(())
        })
        .await
}

pub(in crate::laws) async fn compare_and_set_loses_no_update(run: Run) -> Outcome {
    let by_text = any::<bool>().prop_map(|empty| if empty { "" } else { "0" });
    run.racy()
        .fewer(8)
        .for_all(by_text, |case, start| async move {
            const ROUNDS: usize = 12;
            let store = case.open().await?;
            let key = case.key("sum");
            put(&store, &key, start.as_bytes()).await?;
            let shared = key.clone();
            race(&case, move |_, store| {
                let key = shared.clone();
                async move {
                    let mut done = 0;
                    // Somebody wins each round, so all together cannot lose more often than this.
                    for _ in 0..100 * CALLERS * ROUNDS {
                        if done == ROUNDS {
                            return Ok(());
                        }
                        let Some(old) = store.get(&key).await? else {
                            return Err(Failure::new("the value is gone"));
                        };
                        let sum: usize = match &old[..] {
                            b"" => 0,
                            text => String::from_utf8_lossy(text)
                                .parse()
                                .map_err(|_| Failure::new("the value is not a number"))?,
                        };
                        let new = (sum + 1).to_string();
                        let equal = Condition::IfEquals(&old);
                        let set = store.set(&key, new.as_bytes(), Expiry::Never, equal);
                        done += usize::from(set.await?);
                    }
                    Err(Failure::new("compare and set never wins"))
                }
            })
            .await?;
            let total = (CALLERS * ROUNDS).to_string();
            ensure_eq!(
                store.get(&key).await?.as_deref(),
                Some(total.as_bytes()),
                "the sum of all updates that were told to have won"
            );
            Ok(())
        })
        .await
}
