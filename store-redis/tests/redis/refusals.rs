//! Refusals that prove that nothing was executed, and what is sent again.

use std::time::{Duration, Instant};

use crate::support::{Answer, FakeServer, Server};
use futures_util::FutureExt;
use store_core::{ErrorKind, StoreAdapter, TtlMillis};
use store_redis::RedisDriver;

#[tokio::test]
async fn what_was_certainly_not_executed_is_sent_again() {
    for refusal in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-BUSY Redis is busy running a script\r\n",
        "-MASTERDOWN Link with MASTER is down\r\n",
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
    ] {
        let answers = vec![
            Answer::Send(refusal),
            Answer::Send(refusal),
            Answer::Send(":1\r\n"),
        ];
        let mut server = FakeServer::start(answers).await;
        let driver = RedisDriver::connect_with(server.options.clone())
            .await
            .unwrap();
        let sum = driver.increment("n", 1, None).await;
        assert_eq!(sum.unwrap(), 1, "{refusal}");
        assert_eq!(server.seen(), ["INCRBY", "INCRBY", "INCRBY"]);
        assert_eq!(driver.health().await.generation, 1, "{refusal}");
    }
}

#[tokio::test]
async fn other_refusals_are_answered_at_once() {
    for (refusal, kind) in [
        ("-OOM command not allowed\r\n", ErrorKind::Unavailable),
        ("-NOREPLICAS Not enough\r\n", ErrorKind::Unavailable),
        ("-MISCONF Redis is configured\r\n", ErrorKind::Unavailable),
        ("-NOPERM this user\r\n", ErrorKind::PermissionDenied),
        ("-ERR something\r\n", ErrorKind::Backend),
    ] {
        let mut server = FakeServer::start(vec![Answer::Send(refusal)]).await;
        let driver = RedisDriver::connect_with(server.options.clone())
            .await
            .unwrap();
        let error = driver.increment("n", 1, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{refusal}");
        assert_eq!(server.seen(), ["INCRBY"], "{refusal}");
        assert_eq!(driver.health().await.generation, 1, "{refusal}");
    }
}

#[tokio::test]
async fn a_pipeline_is_sent_again_only_if_all_of_it_was_refused() {
    let minute = TtlMillis::new(Duration::from_secs(60)).unwrap();
    let entries: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    // The two commands may arrive one after the other, and are answered together.
    let both_refused = Answer::Send("-LOADING a\r\n-LOADING b\r\n");
    let one_refused = Answer::Send("+OK\r\n-LOADING b\r\n");
    let answers = vec![both_refused, Answer::Nothing, one_refused, Answer::Nothing];
    let mut server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    let error = driver.set_many(&entries, Some(minute)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert!(error.to_string().contains("1 of 2"), "{error}");
    assert_eq!(server.seen(), ["SET", "SET", "SET", "SET"]);
}

#[tokio::test]
async fn a_call_waits_for_the_script_of_another_client() {
    let server = Server::start(&["--lua-time-limit", "1"]);
    let mut admin = server.admin();
    let mut other = server.admin();
    let options = server.options().call_timeout(Duration::from_secs(10));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let script = std::thread::spawn(move || other.try_run(&["EVAL", "while true do end", "0"]));
    admin.until("the server is busy", |admin| {
        let refused = admin.try_run(&["GET", "k"]).err();
        refused.is_some_and(|error| error.code() == Some("BUSY"))
    });
    let mut call = driver.increment("n", 1, None);
    assert!((&mut call).now_or_never().is_none());
    // Answers come in order: the call was refused as well.
    let health = driver.health().await;
    assert!(health.cause.unwrap().contains("busy"));
    admin.run(&["SCRIPT", "KILL"]);
    assert_eq!(call.await.unwrap(), 1);
    assert!(script.join().unwrap().is_err());
    assert_eq!(driver.health().await.generation, 1, "no needless reconnect");
}

#[tokio::test]
async fn a_server_that_stays_busy_is_unavailable_at_the_deadline() {
    let busy = || Answer::Send("-BUSY Redis is busy running a script\r\n");
    let answers = std::iter::repeat_with(busy).take(1_000).collect();
    let server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    let start = Instant::now();
    let error = driver.increment("n", 1, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("busy"), "{error}");
    assert!(
        start.elapsed() >= Duration::from_millis(30),
        "it was tried again"
    );
    assert_eq!(driver.health().await.generation, 1);
}
