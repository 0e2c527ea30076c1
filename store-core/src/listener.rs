//! The handler form of a subscription: a task that runs a handler for each event.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::{self, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::options::ListenOptions;
use crate::subscription::Subscription;

/// A handler that is running.
///
/// Dropping it unsubscribes, and lets handlers that have begun run to their end.
#[derive(Debug)]
#[must_use = "dropping a listener unsubscribes; keep it, or `detach` it"]
pub struct Listener {
    stop: CancellationToken,
    stop_on_drop: bool,
    task: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    messages: AtomicU64,
    failures: AtomicU64,
    panics: AtomicU64,
    gaps: AtomicU64,
    missed: AtomicU64,
    undecodable: AtomicU64,
}

/// What a [`Listener`] has seen so far.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Messages that the handler is done with, however that ended.
    pub messages: u64,
    /// Runs of the handler that answered an error.
    pub failures: u64,
    /// Runs of the handler that ended in a panic.
    pub panics: u64,
    /// Gaps, each of which may hide messages.
    pub gaps: u64,
    /// Messages that are known to be missing, as far as the gaps could count them.
    pub missed: u64,
    /// Messages that were not of the handler's type, or whose `Deserialize` panicked.
    pub undecodable: u64,
}

impl Listener {
    /// Stops listening and waits until the handlers that have begun are done.
    ///
    /// In a handler of this listener it waits for none, since it would wait for itself. The
    /// handlers that have begun still run to their end. A task that a handler started does wait
    /// for them, so the handler must not await that task.
    pub async fn unsubscribe(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            // Handlers run in the task, which cannot wait for its own end.
            && task::try_id() != Some(task.id())
        {
            // The task catches the handler's panics; a runtime that shuts down may abort it.
            let _ = task.await;
        }
    }

    /// Lets the handler run until the store is closed or its last clone is dropped, or the runtime
    /// ends.
    pub fn detach(mut self) {
        self.stop_on_drop = false;
    }

    /// What the listener has seen so far.
    #[must_use]
    pub fn counts(&self) -> ListenerCounts {
        let counters = &self.counters;
        ListenerCounts {
            messages: counters.messages.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
            panics: counters.panics.load(Ordering::Relaxed),
            gaps: counters.gaps.load(Ordering::Relaxed),
            missed: counters.missed.load(Ordering::Relaxed),
            undecodable: counters.undecodable.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.stop_on_drop {
            self.stop.cancel();
        }
    }
}

impl<T: Send + 'static> Subscription<T> {
    /// Runs `handler` for each event, in a task of the current tokio runtime. It answers nothing or
    /// a `Result<(), _>`.
    ///
    /// Handlers begin in the order of the events, as many at a time as `options` allow. A panic in
    /// one is caught and counted; it stops neither the other events nor other listeners. While all
    /// are busy, events wait in the subscription, which is bounded and then has a gap. A panic in
    /// the `Deserialize` of a message makes it an [`Event::Undecodable`].
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime.
    pub fn listen<F, H>(self, options: ListenOptions, handler: F) -> Listener
    where
        F: Fn(Event<T>) -> H + Send + Sync + 'static,
        H: Future<Output: Outcome> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let counters = Arc::new(Counters::default());
        let (stopped, counted) = (stop.clone(), Arc::clone(&counters));
        let mut events = self.catching_panics();
        let task = tokio::spawn(async move {
            let mut running = FuturesUnordered::new();
            loop {
                let free = running.len() < options.concurrency.get();
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => break,
                    Some(()) = running.next(), if !running.is_empty() => {}
                    event = events.next(), if free => {
                        let Some(event) = event else { break };
                        running.push(run(&handler, event, &counted));
                    }
                }
            }
            // Unsubscribes now; what has begun may take long.
            drop(events);
            while running.next().await.is_some() {}
        });
        Listener {
            stop,
            stop_on_drop: true,
            task: Some(task),
            counters,
        }
    }
}

async fn run<T, F, H>(handler: &F, event: Event<T>, counters: &Counters)
where
    F: Fn(Event<T>) -> H,
    H: Future<Output: Outcome>,
{
    let is_message = matches!(event, Event::Message(_));
    counters.count_loss(&event);
    // The handler is called inside, so that a panic before its future is caught too.
    let outcome = AssertUnwindSafe(async { handler(event).await })
        .catch_unwind()
        .await;
    match outcome {
        Ok(outcome) if outcome.is_failure() => add_one(&counters.failures),
        Ok(_) => {}
        Err(_panic) => add_one(&counters.panics),
    }
    if is_message {
        add_one(&counters.messages);
    }
}

/// What a handler may answer: nothing, or a result whose error is counted in
/// [`ListenerCounts::failures`].
///
/// The listener goes on after an error, and knows nothing better to do with it than to count it: a
/// handler that wants more sees to it itself.
pub trait Outcome: Send + 'static {
    /// Whether the handler failed.
    fn is_failure(&self) -> bool;
}

impl Outcome for () {
    fn is_failure(&self) -> bool {
        false
    }
}

impl<E: Send + 'static> Outcome for Result<(), E> {
    fn is_failure(&self) -> bool {
        self.is_err()
    }
}

// Lets `on` pass over events that its handler does not take.
impl<O: Outcome> Outcome for Option<O> {
    fn is_failure(&self) -> bool {
        self.as_ref().is_some_and(O::is_failure)
    }
}

fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    fn count_loss<T>(&self, event: &Event<T>) {
        match event {
            Event::Message(_) => {}
            Event::Gap(gap) => {
                add_one(&self.gaps);
                self.missed
                    .fetch_add(gap.missed.unwrap_or(0), Ordering::Relaxed);
            }
            Event::Undecodable(_) => add_one(&self.undecodable),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::event::{Gap, GapReason, RawEvent};
    use crate::subscription::{ChannelName, RawSubscription};

    fn message(text: &'static str) -> RawEvent {
        RawEvent::Message {
            channel: Arc::from("c"),
            message: Bytes::from_static(text.as_bytes()),
        }
    }

    #[tokio::test]
    async fn whatever_is_not_seen_is_counted_and_only_messages_are_messages() {
        let events = [
            message("fine"),
            RawEvent::Gap(Gap::counted(GapReason::Lagged, 3)),
            RawEvent::Gap(Gap::uncounted(GapReason::Reconnected)),
            message(""),
            message("fails"),
            RawEvent::Gap(Gap::counted(GapReason::Lagged, 4)),
        ];
        let decode = |bytes: &[u8]| match bytes {
            [] => Err(Error::new(ErrorKind::Decode, "nothing")),
            bytes => Ok(bytes.to_vec()),
        };
        let subscription = Subscription::new(
            RawSubscription::new(stream::iter(events)),
            Arc::new(decode),
            ChannelName::Exact(Arc::from("c")),
        );
        let mut listener = subscription.listen(ListenOptions::new(), |event| {
            let fails = matches!(event, Event::Message(it) if it.value == b"fails");
            async move { if fails { Err(()) } else { Ok(()) } }
        });
        // Ends with the stream.
        listener.task.take().unwrap().await.unwrap();
        let counts = ListenerCounts {
            messages: 2,
            failures: 1,
            panics: 0,
            gaps: 3,
            missed: 7,
            undecodable: 1,
        };
        assert_eq!(listener.counts(), counts);
    }
}
