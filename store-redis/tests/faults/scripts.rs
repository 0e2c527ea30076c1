//! Operations that are scripts, on servers that forget scripts or allow little.

use std::sync::Arc;
use std::time::Duration;

use store_core::{Condition, Expiry, StoreAdapter, TtlMillis};
use store_redis::Protocol;
use tokio::task::JoinSet;

use crate::load::{Load, TASKS, Work};
use crate::support::{
    connect, durable_server, lasting, options, patient_options, recovery, server, settled,
};

/// F19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_forgets_run_once_all_the_same() {
    let Some(server) = durable_server() else {
        return;
    };
    let driver = connect(patient_options(&server)).await;
    let load = Load::start_with(&driver, Work::Script).await;
    for _ in 0..200 {
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
        lasting(Duration::from_millis(5)).await;
    }
    let mut report = load.stop().await;
    report.check("F19, SCRIPT FLUSH", &server);
    assert_eq!(report.failed().count(), 0);
    assert_eq!(driver.health().await.reconnects, 0);

    server.restart().unwrap();
    recovery(&driver).await;
    let load = Load::start_with(&driver, Work::Script).await;
    lasting(Duration::from_millis(300)).await;
    let mut report = load.stop().await;
    report.check("F19, after a restart", &server);
    assert_eq!(report.failed().count(), 0);
}

/// F19
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_across_a_restart_are_applied_once_or_reported() {
    let Some(server) = durable_server() else {
        return;
    };
    let driver = connect(options(&server)).await;
    let load = Load::start_with(&driver, Work::Script).await;
    for _ in 0..3 {
        lasting(Duration::from_millis(200)).await;
        server.restart().unwrap();
        recovery(&driver).await;
    }
    let mut report = load.stop().await;
    settled(&server, 1).await;
    report.check("F19, restarts", &server);
}

/// F20
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_atomic_is_so_for_a_user_without_multi_role_and_info() {
    const ROUNDS: i64 = 20;
    let Some(server) = server(&[]) else { return };
    let rights = "on >pw +@all -multi -exec -watch -role -info -client -config ~* &*";
    let user: Vec<&str> = ["ACL", "SETUSER", "few"]
        .into_iter()
        .chain(rights.split(' '))
        .collect();
    server.command(&user).unwrap();
    let hour = TtlMillis::new(Duration::from_secs(3600)).unwrap();
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = patient_options(&server).protocol(protocol);
        let driver = connect(options.username("few").password("pw")).await;
        driver
            .delete_many(&["counter", "register", "token"])
            .await
            .unwrap();
        let always = Condition::Always;
        for key in ["register", "token"] {
            driver
                .set(key, b"0", Expiry::After(hour), always)
                .await
                .unwrap();
        }
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let driver = Arc::clone(&driver);
            tasks.spawn(async move {
                for _ in 0..ROUNDS {
                    driver.increment("counter", 1, Some(hour)).await.unwrap();
                    add_one(&driver, "register").await;
                }
                driver.compare_and_delete("token", b"0").await.unwrap()
            });
        }
        let winners = tasks.join_all().await;
        assert_eq!(winners.iter().filter(|won| **won).count(), 1);
        let total = (TASKS as i64 * ROUNDS).to_string();
        for key in ["counter", "register"] {
            assert_eq!(server.command(&["GET", key]).unwrap(), total);
            assert!(driver.ttl(key).await.unwrap().left().is_some());
        }
        let health = driver.health().await;
        assert_eq!((health.generation, health.is_up()), (1, true), "{health:?}");
    }
}

/// Adds one by a set that takes place only if nobody else was quicker.
async fn add_one(driver: &store_redis::RedisDriver, key: &str) {
    loop {
        let current = driver.get(key).await.unwrap().unwrap();
        let number: i64 = std::str::from_utf8(&current).unwrap().parse().unwrap();
        let next = (number + 1).to_string();
        let equals = Condition::IfEquals(&current);
        let set = driver.set(key, next.as_bytes(), Expiry::Keep, equals);
        if set.await.unwrap() {
            return;
        }
    }
}
