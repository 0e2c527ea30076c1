//! The bound on calls in flight.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::support::{Answer, FakeServer, Server, soon};
use futures_util::FutureExt;
use futures_util::future::join_all;
use store_core::{ErrorKind, StoreAdapter};
use store_redis::RedisDriver;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, yield_now};

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_and_never_sent() {
    let answers = std::iter::repeat_with(|| Answer::Nothing);
    let answers = answers.take(50).collect();
    let mut server = FakeServer::start(answers).await;
    let options = server.options.clone().max_in_flight(2);
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let calls = (0..50).map(|_| driver.increment("n", 1, None));
    let outcomes = join_all(calls).await;
    let (mut indeterminate, mut refused) = (0, 0);
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        match error.kind() {
            ErrorKind::Indeterminate => indeterminate += 1,
            ErrorKind::Unavailable => {
                assert!(error.to_string().contains("max_in_flight"), "{error}");
                refused += 1;
            }
            _ => panic!("{error}"),
        }
    }
    // A permit that comes free shortly before a deadline still counts as sent.
    assert_eq!(indeterminate + refused, 50);
    assert!(indeterminate >= 2 && refused > 0, "{refused} refused");
    driver.close().await.unwrap();
    let sent = server.seen().len();
    assert!(
        sent <= indeterminate,
        "{sent} sent, {indeterminate} in doubt"
    );
}

#[tokio::test]
async fn calls_beyond_the_bound_wait_for_their_turn() {
    let server = Server::start(&[]);
    let options = server.options().max_in_flight(1);
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let calls = (0..200).map(|_| driver.increment("n", 1, None));
    for outcome in join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!(driver.increment("n", 0, None).await.unwrap(), 200);
}

#[tokio::test]
async fn a_dropped_call_gives_its_permit_back() {
    let server = Server::start(&[]);
    let options = server.options().max_in_flight(3);
    let driver = RedisDriver::connect_with(options).await.unwrap();
    for _ in 0..100 {
        let mut calls: Vec<_> = (0..5).map(|_| driver.get("k")).collect();
        for call in &mut calls {
            assert!(call.now_or_never().is_none());
        }
    }
    for outcome in join_all((0..3).map(|_| driver.get("k"))).await {
        assert_eq!(outcome.unwrap(), None);
    }
}

#[tokio::test]
async fn closing_ends_the_calls_that_wait() {
    let mut server = FakeServer::start(vec![Answer::Nothing]).await;
    let options = server.options.clone().max_in_flight(1);
    let driver = Arc::new(RedisDriver::connect_with(options).await.unwrap());
    let mut first = driver.increment("n", 1, None);
    assert!((&mut first).now_or_never().is_none());
    let mut second = driver.increment("n", 1, None);
    assert!((&mut second).now_or_never().is_none());
    while server.seen().is_empty() {
        yield_now().await;
    }
    driver.close().await.unwrap();
    let error = soon("the end of the first", first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    let error = soon("the end of the second", second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

/// Requests wait for those of others that were answered with them; one of these does something else
/// and keeps a thread of the runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_a_thread_after_an_answer_holds_up_nobodys_next_request() {
    const CALLERS: usize = 12;
    let server = Server::start(&[]);
    let options = server.options().call_timeout(Duration::from_secs(10));
    let driver = Arc::new(RedisDriver::connect_with(options).await.unwrap());
    for _ in 0..200 {
        let start = Arc::new(Barrier::new(CALLERS));
        let answered_together = || {
            let (driver, start) = (Arc::clone(&driver), Arc::clone(&start));
            async move {
                start.wait().await;
                driver.get("k").await.unwrap();
                driver
            }
        };
        let (answered, is_answered) = mpsc::channel();
        let (first_of_busy, first_of_asking) = (answered_together(), answered_together());
        let mut callers = JoinSet::new();
        callers.spawn(async move {
            first_of_busy.await;
            is_answered.recv_timeout(Duration::from_secs(5)).unwrap();
        });
        callers.spawn(async move {
            let driver = first_of_asking.await;
            driver.get("k").await.unwrap();
            answered.send(()).unwrap();
        });
        for _ in 2..CALLERS {
            let only = answered_together();
            callers.spawn(async move { drop(only.await) });
        }
        callers.join_all().await;
    }
}
