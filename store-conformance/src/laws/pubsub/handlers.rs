//! The handler form: what one handler does is no other's concern.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, prop_oneof};
use store_core::{Listener, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::case::{Case, CaseResult, Failure, ensure_eq};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};

/// How a handler ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Well,
    WithError,
    WithPanic,
}

/// A listener whose handler passes on what it is given, and then ends as it is told.
///
/// `ends` is by the number of the message; after those all end well.
async fn listen(
    store: &Store,
    ends: Arc<Vec<End>>,
) -> CaseResult<(Listener, UnboundedReceiver<usize>)> {
    let (seen, received) = unbounded_channel();
    let handler = move |number: usize| {
        // Nobody reads any more when the case has ended.
        let _ = seen.send(number);
        let end = ends.get(number).copied().unwrap_or(End::Well);
        async move {
            tokio::task::yield_now().await;
            match end {
                End::Well => Ok(()),
                End::WithError => Err("the handler failed"),
                // A panic that the panic hook does not print.
                End::WithPanic => std::panic::resume_unwind(Box::new("the handler panicked")),
            }
        }
    };
    Ok((store.on("news", handler).await?, received))
}

/// Expects the numbers up to `last`, each once and in order.
async fn expect_numbers(
    case: &Case,
    received: &mut UnboundedReceiver<usize>,
    numbers: std::ops::RangeInclusive<usize>,
    who: &str,
) -> CaseResult {
    for number in numbers {
        let next = tokio::time::timeout(case.clock().call_limit(), received.recv()).await;
        let next = next.map_err(|_| Failure::new(format!("{who} was not given {number} in time")));
        ensure_eq!(next?, Some(number), "the next message of {who}");
    }
    Ok(())
}

fn typed(case: &Case, handle: &Arc<Handle>) -> Store {
    Store::from_adapter(Arc::clone(handle) as _).with_prefix(case.scope())
}

pub(in crate::laws) async fn handler_panic_is_isolated(run: Run) -> Outcome {
    let end = prop_oneof![Just(End::Well), Just(End::WithError), Just(End::WithPanic)];
    run.for_all(vec(end, 1..12), |case, ends| async move {
        let handles = [case.open().await?, case.open().await?];
        let [store, other] = [typed(&case, &handles[0]), typed(&case, &handles[1])];
        let last = ends.len();
        let (ends, well) = (Arc::new(ends), Arc::new(Vec::new()));
        // On the same handle, on another one, and one that never fails.
        let (failing, mut by_failing) = listen(&store, Arc::clone(&ends)).await?;
        let (_second, mut by_second) = listen(&store, Arc::clone(&well)).await?;
        let (_third, mut by_third) = listen(&other, ends).await?;
        for number in 0..=last {
            other.publish("news", &number).await?;
        }
        expect_numbers(&case, &mut by_failing, 0..=last, "the handler that fails").await?;
        expect_numbers(&case, &mut by_second, 0..=last, "the handler beside it").await?;
        expect_numbers(
            &case,
            &mut by_third,
            0..=last,
            "the handler of another handle",
        )
        .await?;
        // Unsubscribed and done: what is published now is for the others alone.
        failing.unsubscribe().await;
        for number in [last + 1, last + 2] {
            other.publish("news", &number).await?;
        }
        let rest = last + 1..=last + 2;
        expect_numbers(
            &case,
            &mut by_second,
            rest.clone(),
            "the handler that stays",
        )
        .await?;
        expect_numbers(&case, &mut by_third, rest, "the handler of another handle").await?;
        ensure_eq!(
            by_failing.recv().await,
            None,
            "what an unsubscribed handler is given"
        );
        Ok(())
    })
    .await
}
