//! A task that belongs to somebody.

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

/// A task that ends, at the latest, when this is dropped.
pub(crate) struct Task {
    running: Mutex<Option<JoinHandle<()>>>,
    abort: AbortHandle,
}

impl Task {
    pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let running = tokio::spawn(work);
        Self {
            abort: running.abort_handle(),
            running: Mutex::new(Some(running)),
        }
    }

    /// Has the task end where it stands.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }

    /// Ends the task, and resolves when everything that it held is dropped.
    pub(crate) async fn end(&self) {
        self.abort();
        let mut task = self.running.lock().await;
        if let Some(running) = &mut *task {
            // That it was cancelled is no news.
            let _ = running.await;
            *task = None;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    /// A task that never ends by itself, and what it holds.
    fn holding() -> (Task, Arc<()>) {
        let held = Arc::new(());
        let holding = Arc::clone(&held);
        let task = Task::spawn(async move {
            let _holding = holding;
            pending().await
        });
        (task, held)
    }

    #[tokio::test]
    async fn everybody_who_ends_a_task_waits_for_its_end() {
        let (task, held) = holding();
        let mut first = pin!(task.end());
        assert!((&mut first).now_or_never().is_none());
        let mut second = pin!(task.end());
        assert!((&mut second).now_or_never().is_none());
        first.await;
        second.await;
        assert_eq!(Arc::strong_count(&held), 1);
        task.end().await;
    }

    #[tokio::test]
    async fn a_task_is_ended_also_by_who_comes_after_one_that_left() {
        let (task, held) = holding();
        assert!(task.end().now_or_never().is_none());
        task.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
