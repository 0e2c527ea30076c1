//! A host name that leads to another server than before.

use std::time::{Duration, Instant};

use store_conformance::server::{RedisOptions as ServerOptions, RedisServer};
use store_core::{ErrorKind, StoreAdapter};
use store_redis::{RedisDriver, RedisOptions};

use crate::hosts::{Hosts, NAME, with_hosts};
use crate::support::{at_most, connect, lasting, next_text, publish, recovery, server, settled};

/// Where the name leads later.
const ELSEWHERE: &str = "127.0.0.2";
/// Where no server is.
const NOWHERE: &str = "127.0.0.3";

/// F24
#[test]
fn a_name_is_resolved_at_each_attempt() {
    with_hosts("names::a_name_is_resolved_at_each_attempt", async |hosts| {
        follows("F24", &hosts, RedisServer::kill9).await
    });
}

/// F7, F24
#[test]
fn a_name_is_resolved_when_a_write_meets_a_replica() {
    let demote = |server: &RedisServer| {
        let nobody = ["REPLICAOF", NOWHERE, &server.port().to_string()];
        server.command(&nobody).unwrap();
    };
    with_hosts(
        "names::a_name_is_resolved_when_a_write_meets_a_replica",
        async |hosts| follows("F7, F24", &hosts, demote).await,
    );
}

/// F24
#[test]
fn subscriptions_go_where_the_commands_went() {
    with_hosts(
        "names::subscriptions_go_where_the_commands_went",
        async |hosts| {
            let Some(old) = server(&[]) else { return };
            let new = ServerOptions::new().address(ELSEWHERE, old.port());
            let new = new.spawn().unwrap();
            let driver = connect(RedisOptions::new().address(NAME, old.port())).await;
            let mut subscription = driver.subscribe("c").await.unwrap();
            // The connection of the commands alone is lost: once where the name still leads to the
            // same server, which costs no message, and once where it does not.
            let lose = || old.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
            lose();
            recovery(&driver).await;
            publish(&driver, "before").await;
            assert_eq!(next_text(&mut subscription).await, "before");
            hosts.lead_to(ELSEWHERE);
            lose();
            recovery(&driver).await;
            assert_eq!(new.command(&["GET", "probe"]).unwrap(), "1");
            assert_eq!(next_text(&mut subscription).await, "Reconnected None");
            publish(&driver, "after").await;
            assert_eq!(next_text(&mut subscription).await, "after");
            settled(&old, 0).await;
            settled(&new, 2).await;
        },
    );
}

/// A server ends as a master by `leave`, and the name then leads to another one.
async fn follows(fault: &str, hosts: &Hosts, leave: impl FnOnce(&RedisServer)) {
    let Some(old) = server(&[]) else { return };
    let new = ServerOptions::new().address(ELSEWHERE, old.port());
    let new = new.spawn().unwrap();
    let driver = connect(RedisOptions::new().address(NAME, old.port())).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    driver.increment("n", 1, None).await.unwrap();
    assert_eq!(old.command(&["GET", "n"]).unwrap(), "1");
    leave(&old);
    refused(&driver).await;
    let began = Instant::now();
    hosts.lead_to(ELSEWHERE);
    at_most(
        &format!("{fault}: the first write to where the name leads now"),
        recovery(&driver).await,
        Duration::from_secs(1),
    );
    assert_eq!(new.command(&["GET", "probe"]).unwrap(), "1");
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    at_most(
        &format!("{fault}: until it is subscribed there"),
        began.elapsed(),
        Duration::from_secs(1),
    );
    new.command(&["PUBLISH", "c", "after"]).unwrap();
    assert_eq!(next_text(&mut subscription).await, "after");
}

/// Waits until writes are refused, and then until the waits between the attempts to connect are as
/// long as they get.
async fn refused(driver: &RedisDriver) {
    let mut error = driver.increment("doubtful", 1, None).await.unwrap_err();
    // The first one may meet the connection before its loss is noticed.
    while error.kind() == ErrorKind::Indeterminate {
        error = driver.increment("doubtful", 1, None).await.unwrap_err();
    }
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    lasting(Duration::from_secs(1)).await;
}
