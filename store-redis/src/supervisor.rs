//! The task behind a link: it drives one connection after the other, and replaces what is lost.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use store_core::ErrorKind;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::command;
use crate::connection::{Connection, Silence};
use crate::error::{self, Failure};
use crate::lane::Lane;
use crate::link::{Shared, State};
use crate::options::RedisOptions;
use crate::reply::{self, Refusal};
use crate::wire::Wire;

/// How often the server is asked whether it is still there, and a master, busy or idle.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A question is given up after so many times the patience, whatever else arrives. The calls before it
/// have ended by then, so what arrives so slowly is of use to nobody, and keeps from those behind it
/// what a new connection could give them.
const LATEST: u32 = 2;

/// Runs for ever. Dropping this future closes the socket.
pub(crate) async fn supervise(
    shared: Arc<Shared>,
    mut lane: Lane,
    mut connection: Arc<Connection>,
    mut wire: Wire,
) {
    let _end = shared.end_with_the_task();
    let mut backoff = Backoff::new();
    loop {
        let began = Instant::now();
        let cause = until_lost(&shared, &mut lane, &connection, &mut wire).await;
        let generation = connection.generation;
        shared.enter(State::Down { cause, generation });
        let is_demoted = connection.is_demoted();
        backoff.ended(wire.has_answered() && !is_demoted, began.elapsed());
        // The socket is closed before the next one is opened.
        drop(wire);
        if is_demoted {
            lane.met_replica();
        }
        (connection, wire) = replace(&shared, &mut lane, generation, &mut backoff).await;
        shared.enter(State::Up(Arc::clone(&connection)));
    }
}

/// Drives `connection` until it must be given up, and answers why.
async fn until_lost(
    shared: &Shared,
    lane: &mut Lane,
    connection: &Connection,
    wire: &mut Wire,
) -> Failure {
    let options = &shared.transport.options;
    let patience = options.patience();
    let watch = async {
        let cause = tokio::select! {
            () = connection.demotion() => error::replica(options),
            () = lane.must_leave() => error::commands_have_moved(),
            () = silence(connection, options) => {
                return error::connection_lost("the server did not answer");
            }
        };
        shared.enter(State::Down {
            cause: cause.clone(),
            generation: connection.generation,
        });
        // The server answers in order, so with this answer all calls have theirs.
        let deadline = Instant::now() + patience;
        let asked = connection.ask(command::ping(), None, reply::pong, deadline);
        let _ = asked.await;
        cause
    };
    tokio::select! {
        // Reading first: what has arrived counts before what seems to be missing.
        biased;
        cause = wire => error::connection_lost(&cause),
        cause = watch => cause,
    }
}

/// Resolves once the server has left a question unanswered for too long. Demotes the connection
/// where the answer is that the server is a replica: who only reads and publishes is refused nothing
/// there, and would go on in vain.
async fn silence(connection: &Connection, options: &RedisOptions) {
    let mut asks_role = !options.allow_replica;
    loop {
        // At once where a call has waited in vain.
        let _ = timeout(HEARTBEAT, connection.suspected.notified()).await;
        let asked = Instant::now();
        let latest = asked + LATEST * options.patience();
        let answer = async move {
            if asks_role {
                let role = command::role(options.protocol);
                connection.ask(role, None, reply::is_replica, latest).await
            } else {
                let pong = connection
                    .ask(command::ping(), None, reply::pong, latest)
                    .await;
                pong.map(|pong| pong.map(|()| false))
            }
        };
        // What arrives before it is a sign of life as well, such as a long answer to another question.
        let mut answer = pin!(answer);
        let answer = loop {
            let heard = connection.heard().map_or(asked, |heard| heard.max(asked));
            let deadline = heard + options.patience();
            match timeout_at(deadline, &mut answer).await {
                Ok(answer) => break answer,
                Err(_elapsed) if connection.heard() > Some(heard) => {}
                Err(_elapsed) => return,
            }
        };
        match answer {
            Err(Silence::Late { .. }) => return,
            Ok(Ok(true)) => connection.demote(),
            // Any error is a sign of life. One that will not pass, as for a user who may not ask, is
            // not asked for again, since the server may log each of them.
            Ok(Err(Refusal::Error(error))) if error.kind() != ErrorKind::Unavailable => {
                asks_role = false;
            }
            _ => {}
        }
    }
}

/// Tries to connect until it succeeds.
async fn replace(
    shared: &Shared,
    lane: &mut Lane,
    generation: u64,
    backoff: &mut Backoff,
) -> (Arc<Connection>, Wire) {
    let mut wait = backoff.next_wait();
    loop {
        lane.pause(wait).await;
        match lane.open().await {
            Ok(socket) => return Connection::new(socket, generation + 1),
            Err(cause) => {
                wait = backoff.next_wait_after(&cause);
                shared.enter(State::Down { cause, generation });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;
    use crate::options::Protocol;

    /// Resolves when a connection is given up whose first answer comes in pieces, one in each pause,
    /// and answers after how long.
    async fn lost_while_trickling(
        options: &RedisOptions,
        pieces: u32,
        pause: Duration,
    ) -> Duration {
        let (client, mut server) = duplex(64 << 10);
        let (connection, mut wire) = Connection::new(Box::new(client), 1);
        let deadline = Instant::now() + options.patience();
        let mut question = Box::pin(connection.ask(command::ping(), None, reply::pong, deadline));
        assert!((&mut question).now_or_never().is_none());
        assert!((&mut wire).now_or_never().is_none());
        // Who asked is gone, and the server answers all the same.
        drop(question);
        let trickle = async {
            server.write_all(b"$1000\r\n").await.unwrap();
            for _ in 0..pieces {
                sleep(pause).await;
                server.write_all(b"x").await.unwrap();
            }
            pending::<()>().await;
        };
        let began = Instant::now();
        tokio::select! {
            cause = &mut wire => panic!("{cause}"),
            () = silence(&connection, options) => began.elapsed(),
            () = trickle => Duration::ZERO,
        }
    }

    fn quick_and_slow() -> [RedisOptions; 2] {
        let options = RedisOptions::new();
        [
            options.clone(),
            options.call_timeout(Duration::from_secs(2)),
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_is_a_sign_of_life() {
        // However the end of it meets the questions.
        for (options, n) in quick_and_slow()
            .iter()
            .flat_map(|options| (1..20).map(move |n| (options, n)))
        {
            let pause = options.patience() * n / 20;
            let lost = lost_while_trickling(options, 1, pause).await;
            assert!(lost >= pause + options.patience(), "{lost:?}");
            assert!(lost <= pause + options.patience() + HEARTBEAT, "{lost:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_arrives_for_longer_than_calls_take_is_none() {
        for options in quick_and_slow() {
            let pause = options.patience() / 10;
            let lost = lost_while_trickling(&options, 1000, pause).await;
            let latest = LATEST * options.patience();
            assert!(lost >= latest, "{lost:?}");
            assert!(lost <= latest + HEARTBEAT + pause, "{lost:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_late_is_read() {
        let (client, mut server) = duplex(4096);
        let (connection, mut wire) = Connection::new(Box::new(client), 1);
        let options = RedisOptions::new().protocol(Protocol::Resp2);
        let serve = async {
            let mut question = [0; 64];
            assert_ne!(server.read(&mut question).await.unwrap(), 0);
            for _ in 0..2 {
                sleep(options.patience() * 4 / 5).await;
                server
                    .write_all(b">1\r\n+something else\r\n")
                    .await
                    .unwrap();
            }
            server.write_all(b"*1\r\n$5\r\nslave\r\n").await.unwrap();
            pending::<()>().await;
        };
        tokio::select! {
            () = connection.demotion() => {}
            cause = &mut wire => panic!("{cause}"),
            () = silence(&connection, &options) => panic!("lost"),
            () = serve => {}
        }
    }
}
