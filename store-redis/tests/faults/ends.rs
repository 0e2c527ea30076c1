//! The end of a driver, with calls in flight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store_core::{ErrorKind, StoreAdapter};
use tokio::task::JoinSet;

use crate::load::{Load, TASKS};
use crate::support::{CALL_TIMEOUT, at_most, connect, lasting, options, server, settled, soon};

/// How soon the server must see that a driver is gone.
const GONE: Duration = Duration::from_secs(1);

/// F25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_under_load_ends_every_call_and_leaves_no_connection() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(options(&server)).await;
    let _subscription = driver.subscribe("c").await.unwrap();
    let load = Load::start(&driver).await;
    lasting(Duration::from_millis(300)).await;
    let closed = Instant::now();
    driver.close().await.unwrap();
    let mut report = soon("the end of all calls", load.ended()).await;
    at_most("F25: the last call", closed.elapsed(), CALL_TIMEOUT);
    settled(&server, 0).await;
    at_most("F25: the last connection", closed.elapsed(), GONE);
    report.check("F25", &server);
}

/// F25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_the_calls_that_a_hanging_server_holds() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(options(&server)).await;
    let _subscription = driver.subscribe("c").await.unwrap();
    server.stop().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..TASKS {
        let driver = Arc::clone(&driver);
        calls.spawn(async move { driver.increment("n", 1, None).await.unwrap_err().kind() });
    }
    // Until they are written, and not until their time is up.
    lasting(CALL_TIMEOUT / 4).await;
    let closed = Instant::now();
    driver.close().await.unwrap();
    let kinds = calls.join_all().await;
    assert_eq!(kinds, [ErrorKind::Indeterminate; TASKS]);
    at_most(
        "F25: the last call to a hanging server",
        closed.elapsed(),
        CALL_TIMEOUT,
    );
    server.cont().unwrap();
    let continued = Instant::now();
    settled(&server, 0).await;
    at_most("F25: the last connection", continued.elapsed(), GONE);
}

/// F25
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_driver_with_its_calls_leaves_no_connection() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(options(&server)).await;
    let subscription = driver.subscribe("c").await.unwrap();
    let load = Load::start(&driver).await;
    lasting(Duration::from_millis(300)).await;
    let dropped = Instant::now();
    drop(load);
    drop(driver);
    settled(&server, 0).await;
    at_most("F25: the last connection", dropped.elapsed(), GONE);
    drop(subscription);
}
