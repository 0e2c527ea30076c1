//! Calls that are dropped before they answer.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use store_core::{Bytes, Condition, Expiry, StoreAdapter};

use super::{Step, explained, known, step};
use crate::case::ensure_eq;
use crate::linearizability::{Call, History};
use crate::runner::{Outcome, Run};

const KEYS: usize = 3;

/// What a case does next.
#[derive(Clone, Debug)]
enum Turn {
    /// Polls a call so often, then drops it.
    Cancel(usize, Step, usize),
    /// As above, for a batch over all keys.
    CancelBatch(Batch, usize),
    /// Makes a call and reads the keys that never change.
    Call(usize, Step),
}

#[derive(Clone, Copy, Debug)]
enum Batch {
    Get,
    Set,
    Delete,
}

/// A cancelled call stays open in the history: it may happen later, wholly, or never.
///
/// Every call after it is on the same handle, and its answer names its key, so an answer that
/// belongs to another request has no explanation.
pub(in crate::laws) async fn cancelled_call_is_all_or_nothing(run: Run) -> Outcome {
    let turn = prop_oneof![
        4 => (0..KEYS, step(), 0..4_usize).prop_map(|(key, step, polls)| Turn::Cancel(key, step, polls)),
        2 => (select(&[Batch::Get, Batch::Set, Batch::Delete][..]), 0..4_usize)
            .prop_map(|(batch, polls)| Turn::CancelBatch(batch, polls)),
        4 => (0..KEYS, step()).prop_map(|(key, step)| Turn::Call(key, step)),
    ];
    let inputs = (vec(turn, 1..14), any::<bool>());
    run.racy()
        .for_all(inputs, |case, (turns, large)| async move {
            let store = case.open().await?;
            let keys: Vec<String> = (0..KEYS).map(|key| case.key(&format!("k{key}"))).collect();
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            // Constants, one per key: their answers say which request they belong to.
            let marks: Vec<String> = (0..KEYS).map(|key| case.key(&format!("m{key}"))).collect();
            for (number, mark) in marks.iter().enumerate() {
                let value = format!("mark {number}");
                store
                    .set(mark, value.as_bytes(), Expiry::Never, Condition::Always)
                    .await?;
            }
            let history = Arc::new(History::new());
            for (number, turn) in turns.into_iter().enumerate() {
                let value = value(number, large);
                match turn {
                    Turn::Cancel(key, step, polls) => {
                        let call = step.call(value, Bytes::from_static(b"0"));
                        let running = history.run(&*store, &keys[key], call);
                        if let Some(answer) = poll_at_most(running, polls).await {
                            known(answer)?;
                        }
                    }
                    Turn::CancelBatch(Batch::Get, polls) => {
                        poll_at_most(store.get_many(&names), polls).await;
                    }
                    Turn::CancelBatch(Batch::Set, polls) => {
                        for key in &keys {
                            history.begin(key, Call::Set(value.clone())).leave_open();
                        }
                        let entries: Vec<(&str, &[u8])> =
                            names.iter().map(|name| (*name, &*value)).collect();
                        poll_at_most(store.set_many(&entries, None), polls).await;
                    }
                    Turn::CancelBatch(Batch::Delete, polls) => {
                        for key in &keys {
                            history.begin(key, Call::Delete).leave_open();
                        }
                        poll_at_most(store.delete_many(&names), polls).await;
                    }
                    Turn::Call(key, step) => {
                        let call = step.call(value, Bytes::from_static(b"0"));
                        known(history.run(&*store, &keys[key], call).await)?;
                        let mark = number % KEYS;
                        let expected = Some(Bytes::from(format!("mark {mark}")));
                        ensure_eq!(
                            store.get(&marks[mark]).await?,
                            expected,
                            "the reply to the request after a dropped one"
                        );
                        ensure_eq!(
                            store.get_many(&[&marks[mark]]).await?,
                            [expected],
                            "the reply to the batch after a dropped one"
                        );
                    }
                }
            }
            let reader = case.open().await?;
            for key in &keys {
                history.run(&*store, key, Call::Get).await?;
                history.run(&*reader, key, Call::Get).await?;
            }
            explained(&history)
        })
        .await
}

fn value(number: usize, large: bool) -> Bytes {
    if large {
        // Larger than what one write to a socket takes, so that a dropped call can leave a part.
        return Bytes::from(vec![b'a' + (number % 26) as u8; 400_000 + number]);
    }
    Bytes::from(format!("{}", number * 10))
}

/// Polls a future once, for the task that runs this.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Polls so often, letting the backend work in between, then drops.
pub(in crate::laws) async fn poll_at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(future.as_mut()).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_so_often_and_no_more() {
        let mut polls = 0;
        let future = std::future::poll_fn(|_| {
            polls += 1;
            if polls < 3 {
                Poll::Pending
            } else {
                Poll::Ready(polls)
            }
        });
        let mut future = Box::pin(future);
        assert_eq!(poll_at_most(future.as_mut(), 0).await, None);
        assert_eq!(poll_at_most(future.as_mut(), 2).await, None);
        assert_eq!(poll_at_most(future.as_mut(), 1).await, Some(3));
    }
}
