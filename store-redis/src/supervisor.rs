//! The task behind a link: it drives one connection after the other, and replaces what is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::connection::{Condemned, Connection, Silence};
use crate::error::{self, Failure};
use crate::link::{Shared, State};
use crate::transport::Purpose;
use crate::wire::Wire;

/// How often the server is asked whether it is still there, busy or idle.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A connection that was good for this long was a good one.
const SETTLED: Duration = Duration::from_secs(1);

/// Runs for ever. Dropping this future closes the socket.
pub(crate) async fn supervise(
    shared: Arc<Shared>,
    mut connection: Arc<Connection>,
    mut wire: Wire,
) {
    let mut backoff = Backoff::new();
    loop {
        let began = Instant::now();
        let cause = until_lost(&shared, &connection, &mut wire).await;
        let generation = connection.generation;
        shared.enter(State::Down { cause, generation });
        // The socket is closed before the next one is opened.
        drop(wire);
        // A replica that can be told from a master only by writing must not be tried without pause.
        let was_demoted = connection.condemned() == Some(Condemned::Demoted);
        if was_demoted {
            shared.transport.replica_met.send_replace(());
        }
        if !was_demoted || began.elapsed() > SETTLED {
            backoff = Backoff::new();
        }
        (connection, wire) = replace(&shared, generation, &mut backoff).await;
        shared.enter(State::Up(Arc::clone(&connection)));
    }
}

/// Drives `connection` until it must be given up, and answers why.
async fn until_lost(shared: &Shared, connection: &Connection, wire: &mut Wire) -> Failure {
    let patience = shared.transport.options.patience();
    let watch = async {
        tokio::select! {
            reason = connection.condemnation() => match reason {
                Condemned::Spoilt => error::connection_lost("an answer did not fit its command"),
                Condemned::Demoted => {
                    // The server answers in order, so with this answer all calls have theirs.
                    let _ = connection.ping(Instant::now() + patience).await;
                    error::replica(&shared.transport.options)
                }
            },
            () = silence(connection, patience) => {
                error::connection_lost("the server did not answer")
            }
        }
    };
    tokio::select! {
        // Reading first: what has arrived counts before what seems to be missing.
        biased;
        cause = wire => error::connection_lost(&cause),
        cause = watch => cause,
    }
}

/// Resolves once the server has left a `PING` unanswered for longer than `patience`.
async fn silence(connection: &Connection, patience: Duration) {
    loop {
        // At once where a call has waited in vain.
        let _ = timeout(HEARTBEAT, connection.suspected.notified()).await;
        let answer = connection.ping(Instant::now() + patience).await;
        if let Err(Silence::Late { .. }) = answer {
            return;
        }
    }
}

/// Tries to connect until it succeeds.
async fn replace(
    shared: &Shared,
    generation: u64,
    backoff: &mut Backoff,
) -> (Arc<Connection>, Wire) {
    let mut wait = backoff.next_wait();
    loop {
        sleep(wait).await;
        match shared.transport.open(Purpose::Commands).await {
            Ok(socket) => return Connection::new(socket, generation + 1),
            Err(cause) => {
                if cause.is_replica {
                    shared.transport.replica_met.send_replace(());
                }
                wait = backoff.next_wait_after(&cause);
                shared.enter(State::Down { cause, generation });
            }
        }
    }
}
