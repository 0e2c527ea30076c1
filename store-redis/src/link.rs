//! The connection that commands share, and its replacement when it is lost.
//!
//! A call knows nothing of connections: it hands over a request and gets an answer or an error
//! within one deadline.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use store_core::{Error, Health, Result};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::command::{self, Effect, Request};
use crate::connection::{Connection, Silence};
use crate::error::{self, Failure, Remedy};
use crate::lane::{Lane, Purpose};
use crate::permits::{NoPermit, Permits};
use crate::queue::Loss;
use crate::reply::{self, Refusal};
use crate::resp::Frame;
use crate::supervisor::supervise;
use crate::task::Task;
use crate::transport::Transport;

/// What must be left of the time of a call for it to be sent again: a refusal is certain, and a
/// write without an answer is not.
const TIME_FOR_AN_ANSWER: Duration = Duration::from_millis(50);

/// One connection at a time, replaced for ever when it is lost.
///
/// Its task ends when the link is closed or dropped.
pub(crate) struct Link {
    shared: Arc<Shared>,
    task: Task,
}

/// What the calls and the task share.
pub(crate) struct Shared {
    pub(crate) transport: Arc<Transport>,
    /// One for each call that may be in flight. A call has it also while it waits for a connection,
    /// so that a server that is gone holds up no more calls than one that is slow, and leaves it
    /// with its request if it does not wait for the answer.
    permits: Permits,
    /// Those of questions for the health, as many, so that they are asked however many calls there are.
    questions: Permits,
    state: watch::Sender<State>,
}

/// Whether there is a connection.
#[derive(Clone)]
pub(crate) enum State {
    Up(Arc<Connection>),
    /// Being replaced; `generation` is that of the last one.
    Down {
        cause: Failure,
        generation: u64,
    },
    Closed {
        generation: u64,
    },
}

impl Link {
    /// Connects once, and from then on keeps a connection for `purpose`.
    ///
    /// # Errors
    ///
    /// What kept the first attempt from succeeding.
    pub(crate) async fn connect(transport: Arc<Transport>, purpose: Purpose) -> Result<Self> {
        let mut lane = Lane::new(Arc::clone(&transport), purpose);
        let socket = lane.open().await.map_err(Failure::into_error)?;
        let (connection, wire) = Connection::new(socket, 1);
        let shared = Arc::new(Shared {
            permits: Permits::new(transport.options.max_in_flight),
            questions: Permits::new(transport.options.max_in_flight),
            state: watch::Sender::new(State::Up(Arc::clone(&connection))),
            transport,
        });
        let task = Task::spawn(supervise(Arc::clone(&shared), lane, connection, wire));
        Ok(Self { shared, task })
    }

    /// Sends what `request` makes and reads the answer with `read`, within the call timeout in all.
    ///
    /// The request is made when it can be sent, so that calls that wait for a permit hold nothing.
    /// It is sent again, within the same deadline, where an answer proves that nothing was executed
    /// and the reason may pass; and once more where it only reads and its connection was lost.
    /// Nothing else is ever sent twice: even a plain `SET` would, a second time, undo what another
    /// client has written in between.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nothing was sent or nothing can have been applied, `Indeterminate` if a
    /// write was sent and no answer came, the server's own refusals, `Closed`.
    pub(crate) async fn call<'a, T>(
        &self,
        request: impl FnOnce() -> Request<'a>,
        read: impl FnOnce(Frame<'_>) -> Result<T, Refusal>,
    ) -> Result<T> {
        let (value, _) = self.call_on(None, request, read).await?;
        Ok(value)
    }

    /// As [`call`](Self::call), but on no other connection than that of `generation`, if one is
    /// given. Answers the generation as well.
    ///
    /// # Errors
    ///
    /// Also `Unavailable` if that connection was replaced.
    pub(crate) async fn call_on<'a, T>(
        &self,
        generation: Option<u64>,
        request: impl FnOnce() -> Request<'a>,
        read: impl FnOnce(Frame<'_>) -> Result<T, Refusal>,
    ) -> Result<(T, u64)> {
        let deadline = Instant::now() + self.shared.transport.options.call_timeout;
        let permit = self.permit(deadline).await?;
        // Boxed since it is large, and the calls that still wait for a permit may be many.
        Box::pin(self.exchange(deadline, permit, generation, request(), read)).await
    }

    /// Whether the link is still there.
    ///
    /// # Errors
    ///
    /// `Closed`.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.shared.permits.is_closed() {
            true => Err(error::closed()),
            false => Ok(()),
        }
    }

    async fn exchange<T>(
        &self,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
        generation: Option<u64>,
        request: Request<'_>,
        read: impl FnOnce(Frame<'_>) -> Result<T, Refusal>,
    ) -> Result<(T, u64)> {
        let options = &self.shared.transport.options;
        let Request {
            payload,
            effect,
            shape,
        } = request;
        let mut permit = Some(permit);
        let mut may_repeat = effect == Effect::None;
        let mut script_is_unknown = false;
        let mut lost_generation = 0;
        let mut backoff = Backoff::new();
        loop {
            let connection = self.connection(deadline, lost_generation).await?;
            if generation.is_some_and(|generation| generation != connection.generation) {
                return Err(error::scan_interrupted());
            }
            let packed = payload.packed(script_is_unknown);
            let sent = connection.send(packed, shape, &mut permit, deadline);
            let answer = match sent.await {
                Ok(answer) => answer,
                Err(Silence::Lost(Loss::Unsent)) => {
                    lost_generation = connection.generation;
                    continue;
                }
                Err(Silence::Lost(Loss::Unanswered)) if may_repeat => {
                    may_repeat = false;
                    lost_generation = connection.generation;
                    continue;
                }
                Err(Silence::Lost(Loss::Unanswered)) => return Err(error::lost(effect)),
                Err(Silence::Late { was_sent }) => {
                    connection.suspected.notify_one();
                    return Err(match was_sent {
                        true => error::timed_out(effect, options.call_timeout),
                        false => error::not_sent(options.call_timeout),
                    });
                }
            };
            let Some(answer) = shape.answer(&answer) else {
                return Err(error::malformed(effect));
            };
            if !script_is_unknown && payload.is_unknown_script(&answer) {
                // It was not run, so sending it again applies it once.
                script_is_unknown = true;
                continue;
            }
            match error::remedy(&answer, &payload) {
                Some(Remedy::Reconnect) if !options.allow_replica => {
                    connection.demote();
                    lost_generation = connection.generation;
                    continue;
                }
                Some(Remedy::Wait) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let left = left.saturating_sub(TIME_FOR_AN_ANSWER);
                    if !left.is_zero() {
                        // Not given up before: it may pass until then.
                        sleep(backoff.next_wait().min(left)).await;
                        continue;
                    }
                }
                _ => {}
            }
            return match read(answer) {
                Ok(value) => Ok((value, connection.generation)),
                Err(Refusal::Error(error)) => Err(error),
                Err(Refusal::Malformed) => Err(error::malformed(effect)),
            };
        }
    }

    /// The state of the connection, asked for with a `PING`, which needs no permit of the calls.
    pub(crate) async fn health(&self) -> Health {
        let state = self.shared.state.borrow().clone();
        let health = match state {
            State::Closed { .. } => Health::closed(),
            State::Down { cause, .. } => Health::down(cause.to_string()),
            State::Up(connection) => self.ask(&connection).await,
        };
        let generation = self.shared.generation();
        health.with_connection(generation, generation.saturating_sub(1))
    }

    async fn ask(&self, connection: &Connection) -> Health {
        let options = &self.shared.transport.options;
        let call_timeout = options.call_timeout;
        let start = Instant::now();
        let deadline = start + call_timeout;
        let permit = match self.shared.questions.acquire(deadline).await {
            Ok(permit) => permit,
            Err(NoPermit::Closed) => return Health::closed(),
            // The others have it looked into.
            Err(NoPermit::Late) => {
                return Health::down(error::too_many_calls(options).to_string());
            }
        };
        // Not for the role, which a server also says while it is busy or loads.
        let asked = connection.ask(command::ping(), Some(permit), reply::pong, deadline);
        match asked.await {
            Ok(Ok(())) => Health::up(start.elapsed()),
            Ok(Err(Refusal::Error(error))) => Health::down(error.to_string()),
            Ok(Err(Refusal::Malformed)) => {
                Health::down("Redis gave an answer that does not fit the command")
            }
            Err(Silence::Lost(_)) => match &*self.shared.state.borrow() {
                State::Closed { .. } => Health::closed(),
                State::Down { cause, .. } => Health::down(cause.to_string()),
                State::Up(_) => Health::down("the connection was lost and is being replaced"),
            },
            Err(Silence::Late { .. }) => {
                connection.suspected.notify_one();
                Health::down(format!("Redis did not answer within {call_timeout:?}"))
            }
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        self.shared.transport.options.patience()
    }

    /// Ends the connection and the task; calls under way end at once.
    pub(crate) async fn close(&self) {
        self.shared.close();
        self.task.end().await;
    }

    /// As [`close`](Self::close), without waiting for the end.
    pub(crate) fn abort(&self) {
        self.shared.close();
        self.task.abort();
    }

    /// The right to have a call in flight, waited for until `deadline`.
    async fn permit(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let acquired = self.shared.permits.acquire(deadline).await;
        acquired.map_err(|none| match (none, &*self.shared.state.borrow()) {
            (NoPermit::Closed, _) => error::closed(),
            (NoPermit::Late, State::Down { cause, .. }) => self.no_connection(cause),
            (NoPermit::Late, _) => error::too_many_calls(&self.shared.transport.options),
        })
    }

    /// A connection newer than the generation `lost`, waited for until `deadline`.
    async fn connection(&self, deadline: Instant, lost: u64) -> Result<Arc<Connection>> {
        if let Some(ready) = usable(&self.shared.state.borrow(), lost) {
            return ready;
        }
        let mut state = self.shared.state.subscribe();
        let waited = timeout_at(deadline, async {
            loop {
                if let Some(ready) = usable(&state.borrow_and_update(), lost) {
                    return ready;
                }
                if state.changed().await.is_err() {
                    return Err(error::closed());
                }
            }
        });
        if let Ok(ready) = waited.await {
            return ready;
        }
        Err(match &*self.shared.state.borrow() {
            State::Down { cause, .. } => self.no_connection(cause),
            State::Up(connection) => self.no_connection(&match connection.is_demoted() {
                true => error::replica(&self.shared.transport.options),
                false => error::connection_lost("no answer"),
            }),
            State::Closed { .. } => error::closed(),
        })
    }

    fn no_connection(&self, cause: &Failure) -> Error {
        let options = &self.shared.transport.options;
        error::no_connection(&options.address, options.call_timeout, cause)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.shared.state.borrow() {
            State::Up(_) => "up",
            State::Down { .. } => "down",
            State::Closed { .. } => "closed",
        };
        f.debug_struct("Link")
            .field("options", &self.shared.transport.options)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// The connection of `state` if it is newer than `lost`; `None` says to wait.
fn usable(state: &State, lost: u64) -> Option<Result<Arc<Connection>>> {
    match state {
        State::Up(connection) if connection.generation > lost && !connection.is_demoted() => {
            Some(Ok(Arc::clone(connection)))
        }
        State::Up(_) | State::Down { .. } => None,
        State::Closed { .. } => Some(Err(error::closed())),
    }
}

impl Shared {
    fn generation(&self) -> u64 {
        match &*self.state.borrow() {
            State::Up(connection) => connection.generation,
            State::Down { generation, .. } | State::Closed { generation } => *generation,
        }
    }

    /// Changes the state, unless the link was closed.
    pub(crate) fn enter(&self, next: State) {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed { .. });
            if open {
                *state = next;
            }
            open
        });
    }

    /// Closes the link when what is answered is dropped: with the task, and so with the runtime if
    /// that ends first. Nobody would replace the connection any more.
    pub(crate) fn end_with_the_task(self: &Arc<Self>) -> impl Sized + use<> {
        struct End(Arc<Shared>);
        impl Drop for End {
            fn drop(&mut self) {
                self.0.close();
            }
        }
        End(Arc::clone(self))
    }

    fn close(&self) {
        let generation = self.generation();
        self.enter(State::Closed { generation });
        self.permits.close();
        self.questions.close();
    }
}

#[cfg(test)]
mod tests;
