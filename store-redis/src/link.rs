//! The connection that commands share, and its replacement when it is lost.
//!
//! A call knows nothing of connections: it hands over a request and gets an answer or an error
//! within one deadline.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, ServerErrorKind, Value};
use store_core::{Error, ErrorKind, Health, Result};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::command::{self, Effect, Payload, Request};
use crate::error::{self, Failure};
use crate::options::RedisOptions;
use crate::reply::{self, Refusal};
use crate::transport::{self, Purpose, Socket};

/// How many requests may wait to be written; more wait in their callers, up to their deadlines.
const WRITE_QUEUE: usize = 1024;

/// The handshake is this crate's own, so nothing is left for the redis crate to send.
static HANDSHAKE: LazyLock<RedisConnectionInfo> =
    LazyLock::new(|| RedisConnectionInfo::default().set_skip_set_lib_name());

/// Moves requests and answers between a connection and its socket, until either is gone.
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One connection at a time, replaced for ever when it is lost.
///
/// Its task ends when the link is closed or dropped.
pub(crate) struct Link {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    options: Arc<RedisOptions>,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
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

/// A connection, from its handshake to its loss.
struct Connection {
    generation: u64,
    pipe: MultiplexedConnection,
    /// Somebody waits for an answer in vain: see whether there is still anybody there.
    suspected: Notify,
    /// Answers and requests no longer belong together.
    spoilt: AtomicBool,
}

impl Link {
    /// Connects once, and from then on keeps a connection.
    ///
    /// # Errors
    ///
    /// What kept the first attempt from succeeding.
    pub(crate) async fn connect(options: Arc<RedisOptions>) -> Result<Self> {
        let socket = transport::open(&options, Purpose::Commands)
            .await
            .map_err(Failure::into_error)?;
        let (connection, driver) = establish(socket, 1).await.map_err(Failure::into_error)?;
        let shared = Arc::new(Shared {
            options,
            state: watch::Sender::new(State::Up(Arc::clone(&connection))),
        });
        let task = tokio::spawn(supervise(Arc::clone(&shared), connection, driver));
        Ok(Self {
            shared,
            task: Mutex::new(Some(task)),
        })
    }

    /// Sends `request` and reads the answer with `read`, within the call timeout in all.
    ///
    /// What only reads is sent once more if its connection was lost; nothing else is ever sent
    /// twice.
    ///
    /// # Errors
    ///
    /// `Unavailable` if nothing was sent or nothing can have been applied, `Indeterminate` if a
    /// write was sent and no answer came, the server's own refusals, `Closed`.
    pub(crate) async fn call<T>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(Value) -> Result<T, Refusal>,
    ) -> Result<T> {
        let call_timeout = self.shared.options.call_timeout;
        let deadline = Instant::now() + call_timeout;
        let mut lost_generation = 0;
        loop {
            let connection = self.connection(deadline, lost_generation).await?;
            let answer = match timeout_at(deadline, connection.send(&request.payload)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(cause)) => {
                    if request.effect == Effect::None && lost_generation == 0 {
                        lost_generation = connection.generation;
                        continue;
                    }
                    return Err(error::lost(request.effect, &cause));
                }
                Err(_elapsed) => {
                    connection.suspected.notify_one();
                    return Err(error::timed_out(request.effect, call_timeout));
                }
            };
            return match read(answer) {
                // It may be the answer to another request.
                _ if connection.is_spoilt() => Err(error::malformed(request.effect)),
                Ok(value) => Ok(value),
                Err(Refusal::Error(error)) => Err(error),
                Err(Refusal::Malformed) => {
                    connection.spoilt.store(true, Ordering::Release);
                    connection.suspected.notify_one();
                    Err(error::malformed(request.effect))
                }
            };
        }
    }

    /// The state of the connection, asked for with a `PING`.
    pub(crate) async fn health(&self) -> Health {
        let start = Instant::now();
        let answer = match &*self.shared.state.borrow() {
            State::Closed { .. } => Some(Health::closed()),
            State::Down { cause, .. } => Some(Health::down(cause.to_string())),
            State::Up(_) => None,
        };
        let health = match answer {
            Some(health) => health,
            None => match self.call(command::ping(), reply::pong).await {
                Ok(()) => Health::up(start.elapsed()),
                Err(error) if error.kind() == ErrorKind::Closed => Health::closed(),
                Err(error) => Health::down(error.to_string()),
            },
        };
        let generation = self.shared.generation();
        health.with_connection(generation, generation.saturating_sub(1))
    }

    /// Ends the connection and the task; calls under way end at once.
    pub(crate) async fn close(&self) {
        self.shared.close();
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            task.abort();
            // Its end is the end of the socket; that it was cancelled is no news.
            let _ = task.await;
        }
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
                    return Err(Error::closed());
                }
            }
        });
        if let Ok(ready) = waited.await {
            return ready;
        }
        let cause = match &*self.shared.state.borrow() {
            State::Down { cause, .. } => cause.clone(),
            _ => error::connection_lost("no answer"),
        };
        let options = &self.shared.options;
        Err(error::no_connection(
            &options.address,
            options.call_timeout,
            &cause,
        ))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.close();
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
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
            .field("options", &self.shared.options)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}

/// The connection of `state` if it is newer than `lost`; `None` says to wait.
fn usable(state: &State, lost: u64) -> Option<Result<Arc<Connection>>> {
    match state {
        State::Up(connection) if connection.generation > lost && !connection.is_spoilt() => {
            Some(Ok(Arc::clone(connection)))
        }
        State::Up(_) | State::Down { .. } => None,
        State::Closed { .. } => Some(Err(Error::closed())),
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
    fn enter(&self, next: State) {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed { .. });
            if open {
                *state = next;
            }
            open
        });
    }

    fn close(&self) {
        let generation = self.generation();
        self.enter(State::Closed { generation });
    }
}

impl Connection {
    fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }

    /// Sends and waits for the answer, however long it takes. An error is the loss of the
    /// connection; what the server refuses is an answer.
    async fn send(&self, payload: &Payload<'_>) -> Result<Value, RedisError> {
        let mut pipe = self.pipe.clone();
        match payload {
            Payload::One(command) => pipe.send_packed_command(command).await,
            Payload::Many(pipeline) => pipe
                .send_packed_commands(pipeline, 0, pipeline.len())
                .await
                .map(Value::Array),
            Payload::Script(script) => {
                let answer = pipe.send_packed_command(&script.by_hash()).await?;
                match &answer {
                    // It was not run, so sending it again applies it once.
                    Value::ServerError(error)
                        if error.kind() == Some(ServerErrorKind::NoScript) =>
                    {
                        pipe.send_packed_command(&script.by_code()).await
                    }
                    _ => Ok(answer),
                }
            }
        }
    }
}

/// Makes a connection of a socket whose handshake is done, and the future that drives it.
async fn establish(
    socket: Box<dyn Socket>,
    generation: u64,
) -> Result<(Arc<Connection>, Driver), Failure> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(WRITE_QUEUE);
    let (pipe, driver) = MultiplexedConnection::new_with_config(&HANDSHAKE, socket, config)
        .await
        .map_err(|cause| error::connection_lost(&cause.to_string()))?;
    let connection = Connection {
        generation,
        pipe,
        suspected: Notify::new(),
        spoilt: AtomicBool::new(false),
    };
    Ok((Arc::new(connection), Box::pin(driver)))
}

/// Drives one connection after the other. Dropping this future closes the socket.
async fn supervise(shared: Arc<Shared>, mut connection: Arc<Connection>, mut driver: Driver) {
    loop {
        let cause = tokio::select! {
            () = &mut driver => "it was closed by the server or by the network",
            cause = watch(&connection, shared.options.call_timeout) => cause,
        };
        let generation = connection.generation;
        shared.enter(State::Down {
            cause: error::connection_lost(cause),
            generation,
        });
        // The socket is closed before the next one is opened.
        drop(driver);
        (connection, driver) = replace(&shared, generation).await;
        shared.enter(State::Up(Arc::clone(&connection)));
    }
}

/// Resolves once the connection must be given up, with the reason.
async fn watch(connection: &Connection, patience: Duration) -> &'static str {
    loop {
        connection.suspected.notified().await;
        if connection.is_spoilt() {
            return "an answer did not fit its command";
        }
        let Payload::One(ping) = command::ping().payload else {
            continue;
        };
        let mut pipe = connection.pipe.clone();
        // An error reply, such as BUSY or LOADING, is a sign of life too.
        if timeout(patience, pipe.send_packed_command(&ping))
            .await
            .is_err()
        {
            return "the server did not answer";
        }
    }
}

/// Tries to connect until it succeeds.
async fn replace(shared: &Shared, generation: u64) -> (Arc<Connection>, Driver) {
    let mut backoff = Backoff::new();
    loop {
        sleep(backoff.next_wait()).await;
        let attempt = async {
            let socket = transport::open(&shared.options, Purpose::Commands).await?;
            establish(socket, generation + 1).await
        };
        match attempt.await {
            Ok(established) => return established,
            Err(cause) => shared.enter(State::Down { cause, generation }),
        }
    }
}
