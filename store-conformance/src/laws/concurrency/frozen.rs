//! A backend that no longer answers: every call ends, and says what it knows.

use std::time::Duration;

use futures_util::future::join_all;
use store_core::{ErrorKind, StoreAdapter};

use crate::case::{Case, CaseResult, Failure, ensure, ensure_eq};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};

pub(in crate::laws) async fn timeout_is_indeterminate(run: Run) -> Outcome {
    run.fewer(32)
        .for_all(2..40_usize, |case, calls| async move {
            let Some(faults) = case.harness().faults() else {
                return Err(Failure::new("the harness offers no faults"));
            };
            let (store, observer) = (case.open().await?, case.open().await?);
            let key = case.key("views");
            let acknowledged = store.increment(&key, 1, None).await?;
            observer.get(&key).await?;
            faults.stall().await;
            let stalled = (0..calls).map(|_| store.increment(&key, 1, None));
            let answers = join_all(stalled).await;
            faults.restore().await;
            let mut unknown = 0;
            for answer in answers {
                match answer.map_err(|error| (error.kind(), error)) {
                    Ok(sum) => {
                        return Err(Failure::new(format!(
                            "nothing could pass, and an increment was answered {sum}"
                        )));
                    }
                    Err((ErrorKind::Indeterminate, _)) => unknown += 1,
                    Err((ErrorKind::Unavailable, _)) => {}
                    Err((kind, error)) => {
                        return Err(Failure::new(format!(
                            "a call on a stalled backend must be Indeterminate or Unavailable, \
                             was {kind:?}: {error}"
                        )));
                    }
                }
            }
            let settled = settle(&case, &store, &key).await?;
            // What was held back on the way is older than this, so it has happened by now or never.
            case.pass(Duration::from_millis(300)).await;
            let after = observer.increment(&key, 0, None).await?;
            ensure_eq!(after, settled, "the count, without calls meanwhile");
            ensure!(
                (acknowledged..=acknowledged + unknown).contains(&after),
                "with {acknowledged} acknowledged and {unknown} unknown increments the count \
                 cannot be {after}"
            );
            Ok(())
        })
        .await
}

/// Asks until the backend answers again; answers the count after what was held back has come.
async fn settle(case: &Case, store: &Handle, key: &str) -> CaseResult<i64> {
    for _ in 0..100 {
        case.pass(Duration::from_millis(100)).await;
        match store.increment(key, 0, None).await {
            Ok(_) => {
                case.pass(Duration::from_millis(300)).await;
                return Ok(store.increment(key, 0, None).await?);
            }
            Err(error) => case.note(format!("not yet: {error}")),
        }
    }
    Err(Failure::new(
        "the driver did not come back within 10 s after the stall",
    ))
}
