//! A server that is not the master any more.

use std::time::{Duration, Instant};

use store_conformance::server::RedisServer;
use store_core::{ErrorKind, StoreAdapter};
use store_redis::{Protocol, RedisDriver};

use crate::load::Load;
use crate::support::{
    at_most, connect_through_proxy, lasting, next_text, options, publish, recovery, server,
    settled, soon, until,
};

/// F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_is_left_and_nothing_is_lost() {
    let (Some(old), Some(new)) = (server(&[]), server(&[])) else {
        return;
    };
    new.command(&["REPLICAOF", "127.0.0.1", &old.port().to_string()])
        .unwrap();
    until("the replica is in step", || {
        let info = new.command(&["INFO", "replication"]).unwrap();
        info.contains("master_link_status:up")
    })
    .await;
    let (proxy, driver) = connect_through_proxy(&old, options(&old)).await;
    let load = Load::start(&driver).await;
    lasting(Duration::from_millis(300)).await;
    // The replica gets all there is before the roles change.
    let failover = ["FAILOVER", "TO", "127.0.0.1", &new.port().to_string()];
    old.command(&failover).unwrap();
    until("the roles have changed", || {
        let role = |server: &RedisServer| server.command(&["INFO", "replication"]).unwrap();
        role(&old).contains("role:slave") && role(&new).contains("role:master")
    })
    .await;
    let demoted = Instant::now();
    let error = soon("READONLY", async {
        loop {
            if let Err(error) = driver.increment("probe", 1, None).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("replica"), "{error}");
    // Until the waits between the attempts are as long as they get.
    lasting(Duration::from_secs(1)).await;
    proxy.retarget(new.address());
    let led_elsewhere = Instant::now();
    at_most(
        "F7: the first write to the new master",
        recovery(&driver).await,
        Duration::from_secs(1),
    );
    lasting(Duration::from_millis(300)).await;
    let mut report = load.stop().await;
    report.check("F7", &new);
    let meanwhile = report.failed().filter(|call| call.began > demoted);
    for call in meanwhile.filter(|call| call.ended < led_elsewhere) {
        assert_eq!(call.kind, ErrorKind::Unavailable);
    }
}

/// F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_that_refuses_a_write_keeps_no_subscriber() {
    // The write that measures the recovery is the first one that it refuses.
    subscribers_follow(Protocol::Resp3, async |_driver, _old| {}, writes).await;
}

/// F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_that_a_new_connection_meets_keeps_no_subscriber() {
    let meet = async |driver: &RedisDriver, old: &RedisServer| {
        old.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        let met = async {
            let cause = async || driver.health().await.cause.unwrap_or_default();
            while !cause().await.contains("is a replica") {}
        };
        soon("the replica is met", met).await;
    };
    subscribers_follow(Protocol::Resp3, meet, writes).await;
}

/// F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_is_left_by_who_never_writes() {
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        subscribers_follow(protocol, async |_driver, _old| {}, reads).await;
    }
}

/// F7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_leaves_a_replica_that_the_commands_never_met() {
    let (Some(old), Some(new)) = (server(&[]), server(&[])) else {
        return;
    };
    new.command(&["SET", "new", "1"]).unwrap();
    let (proxy, driver) = connect_through_proxy(&old, options(&old)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    // Behind one address, so that nothing tells the two servers apart.
    proxy.retarget(new.address());
    old.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    reads(&driver).await;
    settled(&old, 1).await;
    old.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    let demoted = Instant::now();
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    at_most(
        "F7: until it is subscribed at the new master",
        demoted.elapsed(),
        Duration::from_secs(1),
    );
    publish(&driver, "after").await;
    assert_eq!(next_text(&mut subscription).await, "after");
    settled(&old, 0).await;
    settled(&new, 2).await;
}

async fn writes(driver: &RedisDriver) {
    recovery(driver).await;
}

/// Reads until the answer is that of the new master. A replica refuses neither reads nor messages.
async fn reads(driver: &RedisDriver) {
    let there = async { while !matches!(driver.get("new").await, Ok(Some(_))) {} };
    soon("the new master is read from", there).await;
}

/// A master becomes a replica that is cut off from its master, so that nothing arrives there any
/// more; after `meanwhile`, new connections lead to another master, which the commands `reach`.
async fn subscribers_follow(
    protocol: Protocol,
    meanwhile: impl AsyncFnOnce(&RedisDriver, &RedisServer),
    reach: impl AsyncFnOnce(&RedisDriver),
) {
    let (Some(old), Some(new)) = (server(&[]), server(&[])) else {
        return;
    };
    new.command(&["SET", "new", "1"]).unwrap();
    let options = options(&old).protocol(protocol);
    let (proxy, driver) = connect_through_proxy(&old, options).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    publish(&driver, "before").await;
    assert_eq!(next_text(&mut subscription).await, "before");
    old.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    meanwhile(&driver, &old).await;
    proxy.retarget(new.address());
    let led_elsewhere = Instant::now();
    reach(&driver).await;
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    at_most(
        "F7: until it is subscribed at the new master",
        led_elsewhere.elapsed(),
        Duration::from_secs(1),
    );
    publish(&driver, "after").await;
    assert_eq!(next_text(&mut subscription).await, "after");
    settled(&old, 0).await;
    settled(&new, 2).await;
}
