//! Masters and replicas.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{Server, free_port, soon};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use store_core::{
    Condition, ErrorKind, Expiry, Gap, GapReason, HealthState, RawEvent, StoreAdapter,
};
use store_redis::{Protocol, RedisDriver, RedisOptions};

/// Makes a server a replica of nobody that is there.
fn replica_of_nothing() -> [String; 3] {
    let port = free_port().to_string();
    ["REPLICAOF".to_owned(), "127.0.0.1".to_owned(), port]
}

fn demote(server: &Server) {
    let command = replica_of_nothing();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    server.admin().run(&command);
}

fn promote(server: &Server) {
    server.admin().run(&["REPLICAOF", "NO", "ONE"]);
}

#[tokio::test]
async fn a_replica_is_connected_to_only_where_it_is_allowed() {
    let server = Server::start(&[]);
    server.admin().run(&["SET", "k", "v"]);
    demote(&server);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let error = RedisDriver::connect_with(options.clone())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("is a replica"), "{error}");
        let driver = RedisDriver::connect_with(options.allow_replica())
            .await
            .unwrap();
        assert_eq!(driver.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        let error = driver.delete("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("read-only replica"), "{error}");
        assert_eq!(driver.health().await.generation, 1, "no needless reconnect");
        driver.subscribe("c").await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_is_allowed_is_kept() {
    let server = Server::start(&[]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol).allow_replica();
        stays_with_a_demoted(&server, options).await;
    }
}

#[tokio::test]
async fn who_may_not_ask_for_the_role_stays_and_asks_once_a_connection() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    admin.run(&[
        "ACL", "SETUSER", "app", "on", ">pw", "+@all", "-role", "~*", "&*",
    ]);
    let options = server.options().protocol(Protocol::Resp2);
    stays_with_a_demoted(&server, options.username("app").password("pw")).await;
    let statistics = admin.text(&["INFO", "commandstats"]);
    let role = statistics.lines().find(|line| line.contains("_role:"));
    // The handshake and the first heartbeat: each refusal is an entry in the server's log.
    assert!(role.unwrap().contains("rejected_calls=2"), "{role:?}");
}

/// Checks that a driver stays connected while its server is demoted, for some heartbeats, each a
/// `PING`.
async fn stays_with_a_demoted(server: &Server, options: RedisOptions) {
    let driver = RedisDriver::connect_with(options).await.unwrap();
    demote(server);
    let mut admin = server.admin();
    let mut pings = || {
        let statistics = admin.text(&["INFO", "commandstats"]);
        let calls = statistics.split_once("cmdstat_ping:calls=").unwrap().1;
        calls.split_once(',').unwrap().0.parse::<u64>().unwrap()
    };
    let before = pings();
    let heartbeats = async {
        while pings() < before + 3 {
            tokio::task::yield_now().await;
        }
    };
    soon("three heartbeats", heartbeats).await;
    assert_eq!(driver.get("k").await.unwrap(), None);
    assert_eq!(driver.health().await.generation, 1, "no needless reconnect");
    promote(server);
}

#[tokio::test]
async fn subscriptions_come_back_to_a_master_only() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    // Without +role, which RESP3 does not need.
    admin.run(&[
        "ACL", "SETUSER", "app", "on", ">pw", "+@all", "-role", "~*", "&*",
    ]);
    let plain = server.options();
    for options in [
        plain.clone().protocol(Protocol::Resp2),
        plain.username("app").password("pw"),
    ] {
        let driver = RedisDriver::connect_with(options).await.unwrap();
        let mut subscription = driver.subscribe("c").await.unwrap();
        demote(&server);
        admin.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let refused = async {
            let cause = async || driver.health().await.cause.unwrap_or_default();
            while !cause().await.contains("is a replica") {}
        };
        soon("the replica is refused", refused).await;
        assert!(subscription.next().now_or_never().is_none());
        promote(&server);
        let event = soon("an event", subscription.next()).await;
        let reconnected = Gap::uncounted(GapReason::Reconnected);
        assert_eq!(event, Some(RawEvent::Gap(reconnected)));
        assert_eq!(driver.health().await.generation, 1, "of the commands");
    }
}

#[tokio::test]
async fn a_demoted_server_is_unavailable_and_nothing_is_in_doubt() {
    let server = Server::start(&[]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let driver = RedisDriver::connect_with(options).await.unwrap();
        driver.delete("n").await.unwrap();
        driver.increment("n", 1, None).await.unwrap();
        demote(&server);
        let calls = (0..64).map(|_| driver.increment("n", 1, None));
        for outcome in join_all(calls).await {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains("replica"), "{error}");
        }
        promote(&server);
        let again = async {
            loop {
                if let Ok(sum) = driver.increment("n", 1, None).await {
                    return sum;
                }
            }
        };
        assert_eq!(soon("the server is a master again", again).await, 2);
    }
}

#[tokio::test]
async fn a_write_to_a_demoted_server_goes_to_the_new_master() {
    let directory = std::env::temp_dir().join(format!("store-redis-roles-{}", free_port()));
    std::fs::create_dir(&directory).unwrap();
    let path = |name: &str| directory.join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let old = Server::start(&["--unixsocket", &text(&path("old"))]);
    let new = Server::start(&["--unixsocket", &text(&path("new"))]);
    // A link stands for a name that resolves to the master of the moment.
    symlink(path("old"), path("master")).unwrap();
    let options = RedisOptions::new().unix_socket(path("master"));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    driver
        .set("k", b"old", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    symlink(path("new"), path("next")).unwrap();
    std::fs::rename(path("next"), path("master")).unwrap();
    demote(&old);
    let always = Condition::Always;
    let written = driver.set("k", b"new", Expiry::Never, always).await;
    assert!(written.unwrap(), "within the deadline of the same call");
    assert_eq!(new.admin().text(&["GET", "k"]), "new");
    assert_eq!(old.admin().text(&["GET", "k"]), "old");
    let health = driver.health().await;
    assert_eq!((health.state, health.reconnects), (HealthState::Up, 1));
    std::fs::remove_dir_all(&directory).unwrap();
}
