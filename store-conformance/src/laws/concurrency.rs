//! Concurrent callers: one order explains all answers, and nobody waits for ever.

mod cancel;
mod frozen;

use std::sync::Arc;

use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use store_core::{Bytes, Error, ErrorKind, StoreAdapter};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

pub(super) use cancel::{cancelled_call_is_all_or_nothing, poll_at_most};
pub(super) use frozen::timeout_is_indeterminate;

use super::kv::put;
use crate::case::{Case, CaseResult, Failure, ensure, ensure_eq, millis};
use crate::handle::Handle;
use crate::linearizability::{Answer, Call, History};
use crate::runner::{Outcome, Run};

/// One step of a task; what it writes and expects is decided when it runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Get,
    Has,
    Set,
    SetIfAbsent,
    SetIfPresent,
    CompareAndSet,
    CompareAndDelete,
    Delete,
    Take,
    Replace,
    Increment(i64),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Get),
        1 => Just(Step::Has),
        2 => Just(Step::Set),
        2 => Just(Step::SetIfAbsent),
        1 => Just(Step::SetIfPresent),
        2 => Just(Step::CompareAndSet),
        1 => Just(Step::CompareAndDelete),
        1 => Just(Step::Delete),
        2 => Just(Step::Take),
        2 => Just(Step::Replace),
        4 => (-2..4_i64).prop_map(Step::Increment),
    ]
}

impl Step {
    /// The call, which writes `value` and expects what its task has seen last.
    pub(super) fn call(self, value: Bytes, seen: Bytes) -> Call {
        match self {
            Self::Get => Call::Get,
            Self::Has => Call::Has,
            Self::Set => Call::Set(value),
            Self::SetIfAbsent => Call::SetIfAbsent(value),
            Self::SetIfPresent => Call::SetIfPresent(value),
            Self::CompareAndSet => Call::CompareAndSet(seen, value),
            Self::CompareAndDelete => Call::CompareAndDelete(seen),
            Self::Delete => Call::Delete,
            Self::Take => Call::Take,
            Self::Replace => Call::Replace(value),
            Self::Increment(delta) => Call::Increment(delta),
        }
    }
}

/// An answer, where refusals that the model knows are answers too.
pub(super) fn known(answer: Result<Answer, Error>) -> CaseResult<Option<Answer>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if matches!(error.kind(), ErrorKind::WrongType | ErrorKind::Overflow) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Fails the case with the shortest history that nothing explains.
pub(super) fn explained(history: &History) -> CaseResult {
    history
        .check()
        .map_err(|violation| Failure::new(violation.to_string()))
}

/// Opens `count` handles, each with connections of its own.
pub(super) async fn open_all(case: &Case, count: usize) -> CaseResult<Vec<Arc<Handle>>> {
    let mut handles = Vec::new();
    for _ in 0..count {
        handles.push(case.open().await?);
    }
    Ok(handles)
}

/// Waits for all tasks; the first failure or panic is the answer.
pub(super) async fn finish(mut tasks: JoinSet<CaseResult>) -> CaseResult {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(error) => return Err(Failure::new(format!("a task panicked: {error}"))),
        }
    }
    Ok(())
}

pub(super) async fn single_key_linearizable(run: Run) -> Outcome {
    let task = vec((0..10_usize, step()), 2..10);
    let inputs = (1..4_usize, vec(task, 2..6));
    run.racy()
        .more(2)
        .for_all(inputs, |case, (handles, scripts)| async move {
            let handles = open_all(&case, handles).await?;
            let history = Arc::new(History::new());
            let start = Arc::new(Barrier::new(scripts.len()));
            let mut tasks = JoinSet::new();
            for (task, script) in scripts.into_iter().enumerate() {
                let store = Arc::clone(&handles[task % handles.len()]);
                let (case, history) = (case.clone(), Arc::clone(&history));
                let start = Arc::clone(&start);
                tasks.spawn(async move {
                    start.wait().await;
                    let mut seen = Bytes::from_static(b"0");
                    for (number, (place, step)) in script.into_iter().enumerate() {
                        // Most steps meet on one key.
                        let key = case.key(if place < 8 { "k" } else { "l" });
                        // A number, so that counters meet it, and written once only.
                        let value = Bytes::from(format!("{}", (task + 1) * 1_000 + number * 10));
                        let call = step.call(value, seen.clone());
                        let answer = history.run(&*store, &key, call).await;
                        match known(answer)? {
                            Some(Answer::Value(Some(value))) => seen = value,
                            Some(Answer::Count(count)) => seen = Bytes::from(count.to_string()),
                            _ => {}
                        }
                    }
                    Ok(())
                });
            }
            finish(tasks).await?;
            let reader = case.open().await?;
            for name in ["k", "l"] {
                history.run(&*reader, &case.key(name), Call::Get).await?;
            }
            explained(&history)
        })
        .await
}

pub(super) async fn incr_no_lost_updates(run: Run) -> Outcome {
    let delta = prop_oneof![Just(1), Just(7), Just(-3)];
    let inputs = (2..8_usize, 2..20_i64, delta, any::<bool>());
    run.racy()
        .fewer(2)
        .for_all(inputs, |case, (tasks, each, delta, disturbed)| async move {
            let handles = open_all(&case, tasks.min(3)).await?;
            let key = case.key("views");
            let start = Arc::new(Barrier::new(tasks));
            let counting = (0..tasks).map(|task| {
                let store = Arc::clone(&handles[task % handles.len()]);
                let (key, start) = (key.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    let mut sums = Vec::new();
                    for _ in 0..each {
                        sums.push(store.increment(&key, delta, None).await?);
                        // A new deadline is a write of the same entry.
                        if disturbed {
                            store.expire(&key, millis(3_600_000)?).await?;
                            store.persist(&key).await?;
                        }
                    }
                    CaseResult::Ok(sums)
                })
            });
            let mut sums = Vec::new();
            for counted in join_all(counting).await {
                let counted =
                    counted.map_err(|error| Failure::new(format!("a task ended: {error}")))?;
                sums.extend(counted?);
            }
            let count = tasks as i64 * each;
            sums.sort_by_key(|sum| sum / delta);
            let expected: Vec<i64> = (1..=count).map(|number| number * delta).collect();
            ensure_eq!(sums, expected, "the sums that the callers were answered");
            let last = Bytes::from((count * delta).to_string());
            ensure_eq!(handles[0].get(&key).await?, Some(last), "the count");
            Ok(())
        })
        .await
}

/// Values that show where they begin and end: one byte throughout, of a length of its own.
fn sheet(number: u8) -> Bytes {
    let length = (1 << 20) - usize::from(number) * 4_099;
    Bytes::from(vec![number; length])
}

fn ensure_whole(value: &[u8]) -> CaseResult {
    let number = value.first().copied().unwrap_or_default();
    // A comparison with one allocation is far cheaper than a loop over bytes without optimisation.
    ensure!(
        value == &*sheet(number),
        "a read must answer one of the values written; it was {} bytes beginning with {number}",
        value.len()
    );
    Ok(())
}

pub(super) async fn no_torn_values(run: Run) -> Outcome {
    run.racy()
        .fewer(16)
        .for_all(2..4_u8, |case, writers| async move {
            let handles = open_all(&case, 2).await?;
            let key = case.key("sheet");
            put(&handles[0], &key, &sheet(100)).await?;
            let mut tasks = JoinSet::new();
            for writer in 0..writers {
                let store = Arc::clone(&handles[usize::from(writer) % 2]);
                let key = key.clone();
                tasks.spawn(async move {
                    for round in 0..4 {
                        let value = sheet(writer * 10 + round);
                        if round % 2 == 0 {
                            put(&store, &key, &value).await?;
                        } else {
                            let expiry = store_core::Expiry::Never;
                            let old = store.replace(&key, &value, expiry).await?;
                            ensure_whole(&old.unwrap_or_default())?;
                        }
                    }
                    Ok(())
                });
            }
            for store in &handles {
                let (store, key) = (Arc::clone(store), key.clone());
                tasks.spawn(async move {
                    for _ in 0..6 {
                        ensure_whole(&store.get(&key).await?.unwrap_or_default())?;
                        for value in store.get_many(&[&key, &key]).await? {
                            ensure_whole(&value.unwrap_or_default())?;
                        }
                    }
                    Ok(())
                });
            }
            finish(tasks).await
        })
        .await
}

pub(super) async fn concurrent_handles_progress(run: Run) -> Outcome {
    let messages = !run.config().without.contains_key("pubsub");
    run.fewer(16)
        .for_all(1..9_usize, move |case, handles| async move {
            const TASKS: usize = 64;
            let handles = open_all(&case, handles).await?;
            // Nobody reads these while the tasks work.
            let mut subscriptions = Vec::new();
            if messages {
                for store in &handles {
                    subscriptions.push(store.subscribe(&case.key("news")).await?);
                }
            }
            let mut tasks = JoinSet::new();
            for task in 0..TASKS {
                let (case, store) = (case.clone(), Arc::clone(&handles[task % handles.len()]));
                tasks.spawn(async move { work_alone(&case, &store, task, messages).await });
            }
            finish(tasks).await?;
            for mut subscription in subscriptions {
                case.next_event(&mut subscription).await?;
            }
            Ok(())
        })
        .await
}

/// A task on keys of its own, whose every answer is known in advance.
async fn work_alone(case: &Case, store: &Handle, task: usize, messages: bool) -> CaseResult {
    let (key, counter) = (
        case.key(&format!("task:{task}")),
        case.key(&format!("count:{task}")),
    );
    for round in 0..4_i64 {
        let value = format!("{task}/{round}");
        put(store, &key, value.as_bytes()).await?;
        if messages {
            store.publish(&case.key("news"), value.as_bytes()).await?;
        }
        let sum = store.increment(&counter, task as i64, None).await?;
        ensure_eq!(sum, task as i64 * (round + 1), "the count of task {task}");
        let read = store.get_many(&[&key, &counter]).await?;
        let expected = [Some(Bytes::from(value)), Some(Bytes::from(sum.to_string()))];
        ensure_eq!(read, expected, "the values of task {task}");
    }
    ensure!(
        store.take(&key).await?.is_some(),
        "task {task} must find its key"
    );
    ensure!(
        !store.delete(&key).await?,
        "task {task} must find its key taken"
    );
    Ok(())
}
