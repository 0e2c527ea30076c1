use std::future::ready;

use futures_util::FutureExt;
use store_core::{ErrorKind, HealthState};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{advance, sleep_until};

use super::*;
use crate::options::RedisOptions;

/// A link that nobody supervises, and the server's end of its connection.
fn linked(options: RedisOptions) -> (Link, DuplexStream) {
    let (connection, server) = connected(1);
    let shared = Arc::new(Shared {
        permits: Permits::new(options.max_in_flight),
        questions: Permits::new(options.max_in_flight),
        state: watch::Sender::new(State::Up(connection)),
        transport: Arc::new(Transport::new(options).unwrap()),
    });
    let task = Task::spawn(ready(()));
    (Link { shared, task }, server)
}

fn connected(generation: u64) -> (Arc<Connection>, DuplexStream) {
    let (client, server) = duplex(4096);
    let (connection, wire) = Connection::new(Box::new(client), generation);
    tokio::spawn(wire);
    (connection, server)
}

/// The connection of a link that is up, as nobody supervises it.
fn connection(link: &Link) -> Arc<Connection> {
    match &*link.shared.state.borrow() {
        State::Up(connection) => Arc::clone(connection),
        _ => panic!("the link is down"),
    }
}

async fn count(link: &Link, key: &str) -> Result<i64> {
    link.call(|| command::increment(key, 1), reply::counter)
        .await
}

/// What arrives next.
async fn arrives(server: &mut DuplexStream) -> String {
    let mut read = [0; 4096];
    let length = server.read(&mut read).await.unwrap();
    assert_ne!(length, 0, "the connection has ended");
    String::from_utf8_lossy(&read[..length]).into_owned()
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_permit_is_part_of_the_time_of_a_call() {
    let options = RedisOptions::new().max_in_flight(1);
    let timeout = options.call_timeout;
    let (link, mut server) = linked(options);
    let began = Instant::now();
    let serve = async {
        arrives(&mut server).await;
        sleep_until(began + timeout / 2).await;
        server.write_all(b":1\r\n").await.unwrap();
        arrives(&mut server).await;
    };
    let (first, second, ()) = tokio::join!(count(&link, "n"), count(&link, "n"), serve);
    assert_eq!(first.unwrap(), 1);
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Indeterminate);
    // Tokio's timers count in milliseconds.
    assert!(began.elapsed() <= timeout + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_comes_with_the_deadline_comes_too_late() {
    let options = RedisOptions::new().max_in_flight(1);
    let timeout = options.call_timeout;
    let (link, mut server) = linked(options);
    let permit = link.shared.permits.acquire(Instant::now()).await;
    let mut call = Box::pin(count(&link, "n"));
    assert!((&mut call).now_or_never().is_none());
    advance(timeout).await;
    drop(permit);
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("max_in_flight"), "{error}");
    assert!(arrives(&mut server).now_or_never().is_none());
    // The permit is there for the next one.
    assert!(link.shared.permits.acquire(Instant::now()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_again_has_time_for_an_answer() {
    for _ in 0..100 {
        let (link, mut server) = linked(RedisOptions::new());
        let deadline = Instant::now() + link.shared.transport.options.call_timeout;
        let mut sent = 0;
        let serve = async {
            loop {
                arrives(&mut server).await;
                let left = deadline - Instant::now();
                assert!(left >= TIME_FOR_AN_ANSWER, "sent with {left:?} left");
                sent += 1;
                server.write_all(b"-LOADING\r\n").await.unwrap();
            }
        };
        let answer = tokio::select! {
            () = serve => panic!("it serves for ever"),
            answer = count(&link, "n") => answer,
        };
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(sent > 1, "nothing was sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_for_most_of_the_time_of_a_call_answers_it() {
    for timeout in [500, 2_000]
        .repeat(100)
        .into_iter()
        .map(Duration::from_millis)
    {
        let (link, mut server) = linked(RedisOptions::new().call_timeout(timeout));
        let ready = Instant::now() + timeout * 4 / 5;
        let serve = async {
            loop {
                arrives(&mut server).await;
                let answer: &[u8] = match Instant::now() < ready {
                    true => b"-BUSY\r\n",
                    false => b":1\r\n",
                };
                server.write_all(answer).await.unwrap();
            }
        };
        let answer = tokio::select! {
            () = serve => panic!("it serves for ever"),
            answer = count(&link, "n") => answer,
        };
        assert_eq!(answer.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_sent_again_keeps_its_permit_meanwhile() {
    let (link, mut server) = linked(RedisOptions::new().max_in_flight(1));
    let serve = async {
        for (key, answer) in [
            ("first", "-LOADING\r\n"),
            ("first", ":1\r\n"),
            ("second", ":2\r\n"),
        ] {
            let request = arrives(&mut server).await;
            assert!(
                request.contains(key),
                "{request:?} is not that of the {key}"
            );
            server.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let (first, second, ()) = tokio::join!(count(&link, "first"), count(&link, "second"), serve);
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_an_answer_that_does_not_fit_is_no_answer() {
    let (link, mut server) = linked(RedisOptions::new());
    let serve = async {
        let mut requests = String::new();
        while requests.matches("INCRBY").count() < 2 {
            requests += &arrives(&mut server).await;
        }
        server.write_all(b"+OK\r\n:1\r\n").await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "it is left");
    };
    let (first, second, ()) = tokio::join!(count(&link, "n"), count(&link, "n"), serve);
    for outcome in [first, second] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Indeterminate);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_has_the_connection_looked_into() {
    let (link, _server) = linked(RedisOptions::new());
    let connection = connection(&link);
    let is_suspected = || connection.suspected.notified().now_or_never().is_some();
    assert!(!is_suspected());
    assert!(count(&link, "n").await.is_err());
    assert!(is_suspected(), "by a call");
    assert!(!link.health().await.is_up());
    assert!(is_suspected(), "by a question for the health");
}

#[tokio::test(start_paused = true)]
async fn questions_for_the_health_that_are_given_up_have_a_bound() {
    const QUESTIONS: usize = 64;
    let (link, mut server) = linked(RedisOptions::new().max_in_flight(QUESTIONS));
    let mut call = Box::pin(count(&link, "n"));
    assert!((&mut call).now_or_never().is_none());
    let mut pings = 0;
    for _ in 0..2 * QUESTIONS {
        let mut health = Box::pin(link.health());
        assert!((&mut health).now_or_never().is_none());
        for _ in 0..10 {
            tokio::task::yield_now().await;
            if let Some(arrived) = arrives(&mut server).now_or_never() {
                pings += arrived.matches("PING").count();
            }
        }
    }
    assert_eq!(pings, QUESTIONS);
    let health = link.health().await;
    assert!(health.cause.unwrap().contains("max_in_flight"));
    let is_suspected = connection(&link).suspected.notified().now_or_never();
    assert!(is_suspected.is_none(), "nobody has waited in vain");
    server.write_all(b":1\r\n").await.unwrap();
    server
        .write_all(&b"+PONG\r\n".repeat(QUESTIONS))
        .await
        .unwrap();
    tokio::task::yield_now().await;
    let pong = async {
        assert_eq!(arrives(&mut server).await, "*1\r\n$4\r\nPING\r\n");
        server.write_all(b"+PONG\r\n").await.unwrap();
    };
    let (health, ()) = tokio::join!(link.health(), pong);
    assert!(health.is_up(), "{health:?}");
    link.close().await;
    assert_eq!(link.health().await.state, HealthState::Closed);
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_replica_is_left_once_it_has_answered_what_it_was_asked() {
    // Nobody is there to be connected to afterwards.
    let options = RedisOptions::new().unix_socket("/no/such/socket");
    let (mut link, _nobody) = linked(options);
    let (client, mut server) = duplex(4096);
    let (connection, wire) = Connection::new(Box::new(client), 2);
    link.shared.enter(State::Up(Arc::clone(&connection)));
    let lane = Lane::new(Arc::clone(&link.shared.transport), Purpose::Commands);
    link.task = Task::spawn(supervise(Arc::clone(&link.shared), lane, connection, wire));
    let serve = async {
        let mut requests = String::new();
        while requests.matches("INCRBY").count() < 2 {
            requests += &arrives(&mut server).await;
        }
        server.write_all(b"-READONLY\r\n").await.unwrap();
        assert_eq!(arrives(&mut server).await, "*1\r\n$4\r\nPING\r\n");
        let health = link.health().await;
        assert!(health.cause.unwrap().contains("is a replica"));
        server.write_all(b":1\r\n+PONG\r\n").await.unwrap();
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "it is left");
    };
    let (refused, answered, ()) = tokio::join!(count(&link, "n"), count(&link, "n"), serve);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(answered.unwrap(), 1);
}
