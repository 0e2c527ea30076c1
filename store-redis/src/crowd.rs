//! When requests are written: at once, or together with those that are about to be made.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::queue::Queue;

/// Requests are written when there are as many as this part of all callers: some are then on their
/// way in each direction while the server and the callers work on others.
const GROUPS: usize = 4;

/// No more turns begin after this time, which is longer than they take in all unless the runtime is
/// kept busy by others.
const LONGEST: Duration = Duration::from_millis(1);

/// The callers that were answered and may be about to ask again: what they ask at the same time goes
/// into one write.
///
/// They are waited for while each turn of the tasks that can run brings requests. No timer is set: who
/// does not come is not waited for once the others had their turn.
#[derive(Default)]
pub(crate) struct Crowd {
    /// How many were answered and have not asked again.
    expected: usize,
    /// How many requests of those that wait are to be written now.
    due: usize,
    turn: Option<Turn>,
}

/// What was in this thread's queue of the runtime when it began has run when it ends.
struct Turn {
    /// A task, behind the others in the queue of the runtime.
    end: JoinHandle<()>,
    /// How many requests waited when it began.
    waiting: usize,
    /// When the first of those that followed each other began.
    since: Instant,
}

impl Crowd {
    /// A caller was answered.
    pub(crate) fn expect(&mut self) {
        self.expected += 1;
    }

    /// Resolves once requests in `queue` are to be written, while so many others are unanswered.
    pub(crate) fn poll_due(
        &mut self,
        queue: &Queue,
        unanswered: usize,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        while self.due == 0 {
            let callers = unanswered + self.expected;
            let group = (callers / GROUPS).min(self.expected).max(1);
            let waiting = queue.waiting(group, context);
            if waiting >= group {
                self.due = waiting;
                self.turn = None;
            } else if group == 1 {
                return Poll::Pending;
            } else {
                ready!(self.poll_turn(waiting, context));
            }
        }
        Poll::Ready(())
    }

    /// So many requests were taken to be written.
    pub(crate) fn came(&mut self, requests: usize) {
        self.due = self.due.saturating_sub(requests);
        self.expected = self.expected.saturating_sub(requests);
    }

    /// Lets the others have their turns as long as each brings more requests than are `waiting`.
    /// Resolves when nobody is expected any more.
    fn poll_turn(&mut self, waiting: usize, context: &mut Context<'_>) -> Poll<()> {
        while self.expected > 0 {
            let begin = || Turn::new(waiting, Instant::now());
            let turn = self.turn.get_or_insert_with(begin);
            // A task that was cancelled has ended as well.
            let _ended = ready!(Pin::new(&mut turn.end).poll(context));
            if waiting > turn.waiting && turn.since.elapsed() < LONGEST {
                *turn = Turn::new(waiting, turn.since);
            } else {
                // Who has not asked by now has something else to do, or is slow.
                self.expected = 0;
                self.turn = None;
            }
        }
        Poll::Ready(())
    }
}

impl Turn {
    fn new(waiting: usize, since: Instant) -> Self {
        Self {
            end: tokio::spawn(others_first()),
            waiting,
            since,
        }
    }
}

/// Resolves when the tasks that are in the queue of the runtime have run.
///
/// Not tokio's `yield_now`, which no other thread can take over: where the thread then runs something
/// long, everybody would wait for it.
pub(crate) async fn others_first() {
    let mut have_run = false;
    poll_fn(|context| {
        if mem::replace(&mut have_run, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::queue::{Reply, Request};
    use crate::reply::Shape;

    /// Whoever holds what it answers waits for an answer.
    #[must_use]
    fn ask(queue: &Queue) -> impl Sized + use<> {
        let (sender, receiver) = oneshot::channel();
        let reply = Reply {
            sender,
            permit: None,
        };
        let request = Request {
            packed: Vec::new(),
            shape: Shape::Any(1),
            reply,
        };
        assert!(queue.push(request).is_ok(), "the queue is open");
        receiver
    }

    fn expecting(callers: usize) -> Crowd {
        let mut crowd = Crowd::default();
        (0..callers).for_each(|_| crowd.expect());
        crowd
    }

    /// How many requests are to be written, once some are.
    async fn due(crowd: &mut Crowd, queue: &Queue, unanswered: usize) -> usize {
        poll_fn(|context| crowd.poll_due(queue, unanswered, context)).await;
        crowd.due
    }

    #[tokio::test(start_paused = true)]
    async fn a_quarter_of_the_callers_is_enough() {
        let queue = Queue::default();
        let mut crowd = expecting(10);
        let mut callers = Vec::new();
        for _ in 0..2 {
            callers.push(ask(&queue));
            // Two others are unanswered.
            assert_eq!(due(&mut crowd, &queue, 2).now_or_never(), None);
        }
        callers.push(ask(&queue));
        assert_eq!(due(&mut crowd, &queue, 2).now_or_never(), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn the_writer_is_woken_by_the_caller_that_makes_a_quarter() {
        #[derive(Default)]
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let queue = Queue::default();
        let mut crowd = expecting(12);
        let due = crowd.poll_due(&queue, 0, &mut Context::from_waker(&waker));
        assert!(due.is_pending());
        let mut callers = Vec::new();
        // Nothing else runs meanwhile, not even the turn of the others.
        while callers.len() < 12 && !flag.0.load(Ordering::Relaxed) {
            callers.push(ask(&queue));
        }
        assert_eq!(callers.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_ask_in_the_turn_of_all_is_not_waited_for() {
        let queue = Queue::default();
        let mut crowd = expecting(9);
        let _caller = ask(&queue);
        // On a clock that stands still while anything can run.
        let written = timeout(Duration::from_nanos(1), due(&mut crowd, &queue, 0));
        assert_eq!(written.await, Ok(1));
        assert_eq!(crowd.expected, 0);
    }

    /// How many requests are to be written where so many are expected and one is made in each turn of
    /// the runtime, with `between` after each.
    async fn due_one_by_one(callers: usize, between: impl Fn() + Send + 'static) -> usize {
        let queue = Arc::new(Queue::default());
        let asked = Arc::clone(&queue);
        let due = tokio::spawn(async move { due(&mut expecting(callers), &asked, 0).await });
        let waiting = tokio::spawn(async move {
            let mut waiting = Vec::new();
            for _ in 0..callers {
                waiting.push(ask(&queue));
                between();
                others_first().await;
            }
            waiting
        });
        let due = due.await;
        drop(waiting);
        due.unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_some_turns_later_is_waited_for_while_others_ask() {
        assert_eq!(due_one_by_one(20, || {}).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_long_where_turns_are_slow() {
        let slowly = || {
            // At once, without the turn that it gives to others.
            let _advanced = advance(LONGEST / 4).now_or_never();
        };
        let due = due_one_by_one(90, slowly).await;
        assert!((4..12).contains(&due), "{due}");
    }

    #[tokio::test(start_paused = true)]
    async fn few_callers_are_never_waited_for() {
        let queue = Queue::default();
        let mut crowd = expecting(7);
        assert_eq!(due(&mut crowd, &queue, 0).now_or_never(), None);
        let _caller = ask(&queue);
        assert_eq!(due(&mut crowd, &queue, 0).now_or_never(), Some(1));
        assert!(crowd.turn.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_waited_for_than_were_answered() {
        let queue = Queue::default();
        let mut crowd = expecting(1);
        let _caller = ask(&queue);
        assert_eq!(due(&mut crowd, &queue, 30).now_or_never(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_into_one_write_is_not_held_back_for_the_next() {
        let queue = Queue::default();
        let mut crowd = expecting(12);
        let _callers: Vec<_> = (0..4).map(|_| ask(&queue)).collect();
        assert_eq!(due(&mut crowd, &queue, 0).now_or_never(), Some(4));
        let mut is_first = true;
        let two = queue.take(|_| mem::take(&mut is_first));
        crowd.came(two);
        assert_eq!(due(&mut crowd, &queue, 0).now_or_never(), Some(2));
    }
}
