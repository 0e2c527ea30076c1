//! Servers that are there and refuse, and numbers that are easily spoilt.

use std::sync::Arc;
use std::time::Duration;

use store_conformance::server::RedisServer;
use store_core::{Condition, ErrorKind, Expiry, Result, StoreAdapter, TtlMillis};
use store_redis::RedisDriver;

use crate::support::{
    CALL_TIMEOUT, connect, connections, lasting, options, patient_options, recovery, server, soon,
};

/// The kind and the text of the error.
fn refused<T: std::fmt::Debug>(outcome: Result<T>) -> (ErrorKind, String) {
    let error = outcome.unwrap_err();
    (error.kind(), error.to_string())
}

/// Checks that the first connection is still the one.
async fn is_undisturbed(driver: &RedisDriver, server: &RedisServer) {
    let health = driver.health().await;
    assert_eq!((health.generation, health.is_up()), (1, true), "{health:?}");
    assert_eq!(connections(server), 1);
}

fn an_hour() -> Option<TtlMillis> {
    TtlMillis::new(Duration::from_secs(3600)).ok()
}

/// Increments until the error says why, which is then no doubt that nothing was executed. The call
/// is repeated up to its deadline, which may pass before the last answer comes: that is in doubt.
async fn is_refused_with(driver: &RedisDriver, reason: &str) {
    let refused = async {
        loop {
            let (kind, text) = refused(driver.increment("n", 1, None).await);
            if text.contains(reason) {
                return assert_eq!(kind, ErrorKind::Unavailable, "{text}");
            }
            let others = [
                "did not answer",
                "no connection",
                "connection to Redis was lost",
            ];
            assert!(others.iter().any(|other| text.contains(other)), "{text}");
        }
    };
    soon(reason, refused).await;
}

async fn set(driver: &RedisDriver, key: &str, value: &[u8]) -> Result<bool> {
    let always = Condition::Always;
    driver.set(key, value, Expiry::Never, always).await
}

/// F23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_refuses_writes_and_keeps_its_connections() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(patient_options(&server)).await;
    assert!(set(&driver, "k", b"1").await.unwrap());
    let bound = server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(bound.unwrap(), "OK");
    let equals = Condition::IfEquals(b"1");
    for (kind, text) in [
        refused(set(&driver, "k", b"2").await),
        refused(driver.set("k", b"2", Expiry::Never, equals).await),
        refused(driver.increment("k", 1, None).await),
        refused(driver.increment("k", 1, an_hour()).await),
    ] {
        assert_eq!(kind, ErrorKind::Unavailable, "{text}");
        assert!(text.contains("out of memory"), "{text}");
    }
    assert_eq!(driver.get("k").await.unwrap().unwrap(), "1");
    server
        .command(&["CONFIG", "SET", "maxmemory", "0"])
        .unwrap();
    assert_eq!(driver.increment("k", 1, an_hour()).await.unwrap(), 2);
    is_undisturbed(&driver, &server).await;
}

/// F23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_is_waited_for_and_keeps_its_connections() {
    let Some(server) = server(&["--busy-reply-threshold", "100"]) else {
        return;
    };
    let server = Arc::new(server);
    let driver = connect(options(&server).call_timeout(Duration::from_secs(1))).await;
    assert_eq!(driver.increment("n", 1, None).await.unwrap(), 1);
    let script = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || server.command(&["EVAL", "while true do end", "0"])
    });
    let busy = async {
        while server
            .command(&["GET", "n"])
            .is_ok_and(|value| value == "1")
        {
            tokio::task::yield_now().await;
        }
    };
    soon("the script runs", busy).await;
    // Longer than a connection to a server that says nothing is kept.
    for _ in 0..3 {
        is_refused_with(&driver, "busy with a script").await;
    }
    let (kind, text) = refused(driver.get("n").await);
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    server.command(&["SCRIPT", "KILL"]).unwrap();
    assert!(script.await.unwrap().is_err(), "it was killed");
    recovery(&driver).await;
    assert_eq!(driver.increment("n", 0, None).await.unwrap(), 1);
    is_undisturbed(&driver, &server).await;
}

/// F23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_is_waited_for_on_one_connection() {
    /// 3,000 keys at a millisecond each, with a look at the clients after each.
    const SLOWLY: [&str; 6] = [
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--rdbcompression",
        "no",
    ];
    const FILL: &str = "for n = 1, 3000 do
            redis.call('SET', 'key:' .. n, string.rep('x', 1024))
        end";
    let Some(server) = server(&SLOWLY) else {
        return;
    };
    let driver = connect(options(&server)).await;
    assert_eq!(driver.increment("n", 1, None).await.unwrap(), 1);
    server.command(&["EVAL", FILL, "0"]).unwrap();
    server.command(&["SAVE"]).unwrap();
    let server = Arc::new(server);
    server.kill9();
    // It returns when all is loaded.
    let restart = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || server.restart()
    });
    is_refused_with(&driver, "still loading").await;
    soon("it has loaded", restart).await.unwrap().unwrap();
    recovery(&driver).await;
    assert_eq!(driver.increment("n", 0, None).await.unwrap(), 1);
    assert_eq!(driver.health().await.reconnects, 1);
    assert_eq!(connections(&server), 1);
}

/// F23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_type_is_told_and_changes_nothing() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(patient_options(&server)).await;
    server.command(&["RPUSH", "list", "1"]).unwrap();
    assert!(set(&driver, "text", b"text").await.unwrap());
    let equals = Condition::IfEquals(b"1");
    for (kind, text) in [
        refused(driver.get("list").await),
        refused(driver.take("list").await),
        refused(driver.set("list", b"", Expiry::Never, equals).await),
        refused(driver.compare_and_delete("list", b"1").await),
        refused(driver.increment("list", 1, None).await),
        refused(driver.increment("list", 1, an_hour()).await),
        refused(driver.increment("text", 1, None).await),
        refused(driver.increment("text", 1, an_hour()).await),
    ] {
        assert_eq!(kind, ErrorKind::WrongType, "{text}");
    }
    assert_eq!(server.command(&["LRANGE", "list", "0", "-1"]).unwrap(), "1");
    assert_eq!(driver.get("text").await.unwrap().unwrap(), "text");
    assert_eq!(server.command(&["TTL", "text"]).unwrap(), "-1");
    is_undisturbed(&driver, &server).await;
}

/// F23
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_are_exact_in_all_their_bits() {
    const EXACT_IN_A_DOUBLE: i64 = 1 << 53;
    let Some(server) = server(&[]) else { return };
    let driver = connect(patient_options(&server)).await;
    for ttl in [None, an_hour()] {
        for sign in [1, -1] {
            let begin = sign * EXACT_IN_A_DOUBLE;
            driver.delete("n").await.unwrap();
            for n in 0..10 {
                let sum = driver.increment("n", if n == 0 { begin } else { sign }, ttl);
                assert_eq!(sum.await.unwrap(), begin + sign * n);
            }
        }
        for (end, step) in [(i64::MAX, 1), (i64::MIN, -1)] {
            driver.delete("n").await.unwrap();
            let near = driver.increment("n", end - step, ttl).await;
            assert_eq!(near.unwrap(), end - step);
            assert_eq!(driver.increment("n", step, ttl).await.unwrap(), end);
            for _ in 0..2 {
                let (kind, text) = refused(driver.increment("n", step, ttl).await);
                assert_eq!(kind, ErrorKind::Overflow, "{text}");
            }
            let stored = server.command(&["GET", "n"]).unwrap();
            assert_eq!(stored, end.to_string());
        }
    }
    is_undisturbed(&driver, &server).await;
    // Long enough for what would have ended the connection later.
    lasting(2 * CALL_TIMEOUT).await;
    is_undisturbed(&driver, &server).await;
}
