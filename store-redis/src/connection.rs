//! One connection for commands, from the end of its handshake to its loss.

use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;

use crate::command::{self, Payload};
use crate::error::{self, Failure};
use crate::transport::Socket;

/// How many requests may wait to be written; more wait in their callers, up to their deadlines.
const WRITE_QUEUE: usize = 1024;

/// The handshake is this crate's own, so nothing is left for the redis crate to send.
static HANDSHAKE: LazyLock<RedisConnectionInfo> =
    LazyLock::new(|| RedisConnectionInfo::default().set_skip_set_lib_name());

/// Moves requests and answers between a connection and its socket, until either is gone. Dropping
/// it closes the socket.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What requests are sent through.
pub(crate) struct Connection {
    /// From 1, counted up with each connection of a link.
    pub(crate) generation: u64,
    pipe: MultiplexedConnection,
    /// Somebody waits for an answer in vain: see whether there is still anybody there.
    pub(crate) suspected: Notify,
    condemned: OnceLock<Condemned>,
    condemnation: Notify,
}

/// Why a connection must not be used any more, although it still works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condemned {
    /// Answers and requests no longer belong together.
    Spoilt,
    /// The server is a replica now.
    Demoted,
}

impl Connection {
    /// Makes a connection of a socket whose handshake is done.
    pub(crate) async fn establish(
        socket: Box<dyn Socket>,
        generation: u64,
    ) -> Result<(Arc<Self>, Driver), Failure> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WRITE_QUEUE);
        let (pipe, driver) = MultiplexedConnection::new_with_config(&HANDSHAKE, socket, config)
            .await
            .map_err(|cause| error::connection_lost(&cause.to_string()))?;
        let connection = Self {
            generation,
            pipe,
            suspected: Notify::new(),
            condemned: OnceLock::new(),
            condemnation: Notify::new(),
        };
        Ok((Arc::new(connection), Box::pin(driver)))
    }

    /// Sends and waits for the answer, however long it takes. An error is the loss of the
    /// connection; what the server refuses is an answer.
    pub(crate) async fn send(&self, payload: &Payload<'_>) -> Result<Value, RedisError> {
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

    /// Asks for a sign of life. An error reply, such as `BUSY` or `LOADING`, is one too.
    pub(crate) async fn ping(&self) -> Result<Value, RedisError> {
        self.pipe
            .clone()
            .send_packed_command(&command::ping())
            .await
    }

    /// Keeps further calls from using this connection, and has it replaced.
    pub(crate) fn condemn(&self, reason: Condemned) {
        // The first reason stands.
        if self.condemned.set(reason).is_ok() {
            self.condemnation.notify_one();
        }
    }

    pub(crate) fn condemned(&self) -> Option<Condemned> {
        self.condemned.get().copied()
    }

    /// Resolves once the connection is condemned.
    pub(crate) async fn condemnation(&self) -> Condemned {
        loop {
            if let Some(reason) = self.condemned() {
                return reason;
            }
            self.condemnation.notified().await;
        }
    }
}
