//! A host name that leads to another server than before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store_conformance::server::{RedisOptions as ServerOptions, RedisServer, or_skip};
use store_core::{ErrorKind, StoreAdapter};
use store_redis::{RedisDriver, RedisOptions};

use crate::hosts::{NAME, with_hosts};
use crate::support::{at_most, connect, lasting, next_text, recovery, server};

/// Where the name leads later.
const ELSEWHERE: &str = "127.0.0.2";
/// Where no server is.
const NOWHERE: &str = "127.0.0.3";

/// F24
#[test]
fn a_name_is_resolved_at_each_attempt() {
    with_hosts("names::a_name_is_resolved_at_each_attempt", async |hosts| {
        let Some((old, new, driver)) = two_servers().await else {
            return;
        };
        let mut subscription = driver.subscribe("c").await.unwrap();
        old.kill9();
        refused(&driver).await;
        let began = Instant::now();
        hosts.lead_to(ELSEWHERE);
        at_most(
            "F24: the first write to where the name leads now",
            recovery(&driver).await,
            Duration::from_secs(1),
        );
        assert_eq!(new.command(&["GET", "probe"]).unwrap(), "1");
        assert_eq!(next_text(&mut subscription).await, "Reconnected None");
        at_most(
            "F24: until it is subscribed there",
            began.elapsed(),
            Duration::from_secs(1),
        );
        new.command(&["PUBLISH", "c", "after"]).unwrap();
        assert_eq!(next_text(&mut subscription).await, "after");
    });
}

/// F7, F24
#[test]
fn a_name_is_resolved_when_a_write_meets_a_replica() {
    with_hosts(
        "names::a_name_is_resolved_when_a_write_meets_a_replica",
        async |hosts| {
            let Some((old, new, driver)) = two_servers().await else {
                return;
            };
            let nobody = ["REPLICAOF", NOWHERE, &old.port().to_string()];
            old.command(&nobody).unwrap();
            refused(&driver).await;
            hosts.lead_to(ELSEWHERE);
            at_most(
                "F7, F24: the first write to the new master",
                recovery(&driver).await,
                Duration::from_secs(1),
            );
            assert_eq!(new.command(&["GET", "probe"]).unwrap(), "1");
            assert_eq!(old.command(&["EXISTS", "probe"]).unwrap(), "0");
        },
    );
}

/// The server that the name leads to, one on the same port of the second address, and a driver that
/// knows the name alone.
async fn two_servers() -> Option<(RedisServer, RedisServer, Arc<RedisDriver>)> {
    let old = server(&[])?;
    let new = or_skip(ServerOptions::new().address(ELSEWHERE, old.port()).spawn())?;
    let driver = connect(RedisOptions::new().address(NAME, old.port())).await;
    driver.increment("n", 1, None).await.unwrap();
    assert_eq!(old.command(&["GET", "n"]).unwrap(), "1");
    Some((old, new, driver))
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
