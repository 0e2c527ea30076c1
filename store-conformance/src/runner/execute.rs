//! The execution of one case: bounded in time, and cleaned up behind.

use std::future::Future;

use crate::case::{Case, CaseResult, Failure};

/// Runs the body of one case on a task of its own, so that a panic is a failure like others.
pub(super) async fn execute(
    case: &Case,
    body: impl Future<Output = CaseResult> + Send + 'static,
) -> CaseResult {
    let limit = case.clock().case_limit();
    let mut task = tokio::spawn(body);
    let result = match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(panicked(error)),
        Err(_) => {
            task.abort();
            let running = case.timeline().running().join("; ");
            Err(Failure::new(format!(
                "the case did not end within {limit:?}; running: {running}"
            )))
        }
    };
    let result = match case.timeline().hung() {
        Some(call) => Err(Failure::new(format!("`{call}` did not answer in time"))),
        None => result,
    };
    let close = case.harness().close(case.scope());
    let closed = match tokio::time::timeout(case.clock().call_limit(), close).await {
        Ok(closed) => {
            closed.map_err(|error| Failure::new(format!("the harness cannot close: {error}")))
        }
        Err(_) => Err(Failure::new("the harness did not close in time")),
    };
    result.and(closed)
}

fn panicked(error: tokio::task::JoinError) -> Failure {
    let Ok(payload) = error.try_into_panic() else {
        return Failure::new("the case was cancelled");
    };
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("(no text)");
    Failure::new(format!("panicked: {text}"))
}
