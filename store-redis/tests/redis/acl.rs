//! The least rights that the README names are enough.

use std::time::Duration;

use crate::support::{Server, soon};
use futures_util::StreamExt;
use store_core::{Condition, ErrorKind, Expiry, RawEvent, StoreAdapter, Ttl, TtlMillis};
use store_redis::{Protocol, RedisDriver};

const README: &str = include_str!("../../README.md");

/// The command of the README that makes the user.
fn set_user() -> Vec<&'static str> {
    let mut lines = README.lines();
    let command = lines.find(|line| line.starts_with("ACL SETUSER app "));
    command.expect("the README has it").split(' ').collect()
}

#[tokio::test]
async fn the_least_user_of_the_readme_can_do_everything() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    admin.run(&set_user());
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let options = options.username("app").password("password");
        let driver = RedisDriver::connect_with(options).await.unwrap();
        every_operation(&driver).await;
        let denied = driver.get("other:k").await.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{denied}");
        let denied = driver.subscribe("other:c").await.map(drop).unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::PermissionDenied, "{denied}");
        assert!(driver.health().await.is_up());
    }
    let mut with_patterns = set_user();
    with_patterns.extend(["+psubscribe", "+punsubscribe"]);
    admin.run(&with_patterns);
    let options = server.options().username("app").password("password");
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let patterns = driver.as_patterns().unwrap();
    let mut pattern = patterns.subscribe_pattern("app:*").await.unwrap();
    driver.publish("app:c", b"m").await.unwrap();
    let event = soon("a message", pattern.next()).await;
    assert!(matches!(event, Some(RawEvent::Message { .. })), "{event:?}");
}

async fn every_operation(driver: &RedisDriver) {
    let minute = TtlMillis::new(Duration::from_secs(60)).unwrap();
    let after = Expiry::After(minute);
    let always = Condition::Always;
    let equals = Condition::IfEquals(b"1");
    assert!(driver.set("app:k", b"1", after, always).await.unwrap());
    assert!(driver.set("app:k", b"2", after, equals).await.unwrap());
    assert!(driver.has("app:k").await.unwrap());
    assert!(driver.get("app:k").await.unwrap().is_some());
    assert_eq!(driver.increment("app:k", 3, None).await.unwrap(), 5);
    assert!(driver.persist("app:k").await.unwrap());
    assert!(driver.expire("app:k", minute).await.unwrap());
    assert!(driver.ttl("app:k").await.unwrap().left().is_some());
    let old = driver.replace("app:k", b"v", after).await.unwrap();
    assert_eq!(old.as_deref(), Some(&b"5"[..]));
    assert!(driver.compare_and_delete("app:k", b"v").await.unwrap());
    let sum = driver.increment("app:n", 1, Some(minute)).await.unwrap();
    assert_eq!(sum, 1);
    assert_ne!(driver.ttl("app:n").await.unwrap(), Ttl::Forever);
    let entries: [(&str, &[u8]); 2] = [("app:a", b"1"), ("app:b", b"2")];
    driver.set_many(&entries, None).await.unwrap();
    driver.set_many(&entries, Some(minute)).await.unwrap();
    let values = driver.get_many(&["app:a", "app:b"]).await.unwrap();
    assert!(values.iter().all(Option::is_some));
    let scan = driver.as_scan().unwrap();
    scan.scan_page("app:", None, 100).await.unwrap();
    assert!(driver.take("app:n").await.unwrap().is_some());
    let deleted = driver.delete_many(&["app:a", "app:b"]).await.unwrap();
    assert_eq!(deleted, 2);
    assert!(!driver.delete("app:k").await.unwrap());
    let mut subscription = driver.subscribe("app:c").await.unwrap();
    driver.publish("app:c", b"m").await.unwrap();
    let event = soon("a message", subscription.next()).await;
    assert!(matches!(event, Some(RawEvent::Message { .. })), "{event:?}");
}

#[tokio::test]
async fn a_script_that_lacks_a_right_applies_nothing() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    admin.run(&set_user());
    let options = server.options().username("app").password("password");
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let minute = TtlMillis::new(Duration::from_secs(60)).unwrap();
    for (missing, before, operation) in [
        ("-get", None, "increment"),
        ("-get", Some("1"), "increment"),
        ("-get", Some("1"), "set"),
        ("-get", Some("1"), "delete"),
        ("-set", None, "increment"),
        ("-set", Some("1"), "set"),
        ("-incrby", Some("1"), "increment"),
        ("-del", Some("1"), "delete"),
    ] {
        admin.run(&[&set_user()[..], &[missing]].concat());
        admin.run(&["DEL", "app:k"]);
        if let Some(before) = before {
            admin.run(&["SET", "app:k", before]);
        }
        let equals = Condition::IfEquals(b"1");
        let outcome = match operation {
            "increment" => driver.increment("app:k", 1, Some(minute)).await.map(drop),
            "set" => driver
                .set("app:k", b"2", Expiry::Never, equals)
                .await
                .map(drop),
            _ => driver.compare_and_delete("app:k", b"1").await.map(drop),
        };
        let error = outcome.unwrap_err();
        let case = format!("{missing} {before:?} {operation}");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{case}: {error}");
        let after: Option<String> = redis::from_redis_value(admin.run(&["GET", "app:k"])).unwrap();
        assert_eq!(after.as_deref(), before, "{case}");
    }
}
