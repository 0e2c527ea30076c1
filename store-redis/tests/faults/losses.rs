//! Connections that are lost, and servers that die and come back.

use std::time::{Duration, Instant};

use store_core::{ErrorKind, StoreAdapter};

use crate::load::Load;
use crate::support::{
    after, at_most, connect, connect_through_proxy, connections, durable_server, lasting,
    next_text, options, publish, recovery, server, settled, soon,
};

/// F1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_it_acknowledged() {
    let Some(server) = durable_server() else {
        return;
    };
    let driver = connect(options(&server)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    publish(&driver, "before").await;
    assert_eq!(next_text(&mut subscription).await, "before");
    let load = Load::start(&driver).await;
    lasting(Duration::from_millis(300)).await;
    server.kill9();
    lasting(Duration::from_millis(1500)).await;
    let restarted = Instant::now();
    server.restart().unwrap();
    recovery(&driver).await;
    // The start of the server included.
    at_most(
        "F1: the first write after the restart",
        restarted.elapsed(),
        Duration::from_millis(1500),
    );
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    publish(&driver, "after").await;
    assert_eq!(next_text(&mut subscription).await, "after");
    load.stop().await.check("F1", &server);
}

/// F2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_connection_is_replaced_at_once_twenty_times() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(options(&server)).await;
    let load = Load::start(&driver).await;
    let baseline = connections(&server);
    let mut slowest = Duration::ZERO;
    for killed in 1..=20 {
        server
            .command(&["CLIENT", "KILL", "TYPE", "normal"])
            .unwrap();
        slowest = slowest.max(recovery(&driver).await);
        assert_eq!(driver.health().await.reconnects, killed);
    }
    at_most(
        "F2: the slowest recovery",
        slowest,
        Duration::from_millis(300),
    );
    let mut report = load.stop().await;
    settled(&server, baseline).await;
    report.check("F2", &server);
}

/// F3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_is_given_up_and_then_nothing_more_is_in_doubt() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(options(&server)).await;
    let load = Load::start(&driver).await;
    let baseline = connections(&server);
    lasting(Duration::from_millis(300)).await;
    server.stop().unwrap();
    let stopped = Instant::now();
    lasting(Duration::from_secs(3)).await;
    let before_it_went_on = Instant::now();
    server.cont().unwrap();
    let recovery = recovery(&driver).await;
    at_most(
        "F3: the first write after the hang",
        recovery,
        Duration::from_millis(500),
    );
    let mut report = load.stop().await;
    settled(&server, baseline).await;
    report.check("F3", &server);
    // The connection is given up within a second; the calls after that are never sent.
    let given_up = after(stopped, Duration::from_secs(1));
    let later = report.failed().filter(|call| call.began > given_up);
    let later: Vec<_> = later
        .filter(|call| call.ended < before_it_went_on)
        .collect();
    assert!(!later.is_empty(), "no call was refused");
    for call in later {
        assert_eq!(call.kind, ErrorKind::Unavailable);
    }
}

/// F4, busy
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_noticed_by_the_calls_and_replaced() {
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, options(&server)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    let load = Load::start(&driver).await;
    let baseline = connections(&server);
    lasting(Duration::from_millis(300)).await;
    proxy.stall_existing();
    at_most(
        "F4: a new connection in place of a black hole, busy",
        recovery(&driver).await,
        Duration::from_millis(1500),
    );
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    lasting(Duration::from_millis(300)).await;
    let mut report = load.stop().await;
    // What the network held back arrives after all.
    proxy.resume();
    settled(&server, baseline).await;
    report.check("F4", &server);
    publish(&driver, "after").await;
    assert_eq!(next_text(&mut subscription).await, "after");
}

/// F4, idle
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_noticed_without_any_call() {
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, options(&server)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    assert_eq!(proxy.accepted(), 2);
    proxy.stall_existing();
    let began = Instant::now();
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    let replaced = async {
        while proxy.accepted() < 4 {
            lasting(Duration::from_millis(5)).await;
        }
    };
    soon("new connections", replaced).await;
    at_most(
        "F4: new connections in place of a black hole, idle",
        began.elapsed(),
        Duration::from_millis(1500),
    );
    recovery(&driver).await;
    assert_eq!(driver.health().await.generation, 2);
    assert_eq!(proxy.accepted(), 4);
}
