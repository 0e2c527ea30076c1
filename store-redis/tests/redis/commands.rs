//! What the driver sends to a real server and makes of the answers.

use std::time::Duration;

use crate::support::{Admin, Server};
use store_core::{Bytes, Condition, ErrorKind, Expiry, StoreAdapter, Ttl, TtlMillis};
use store_redis::{Protocol, RedisDriver};

fn ttl_of(duration: Duration) -> TtlMillis {
    TtlMillis::new(duration).expect("a ttl in range")
}

fn minute() -> TtlMillis {
    ttl_of(Duration::from_secs(60))
}

/// The commands that `call` made the server run.
async fn counted<T>(admin: &mut Admin, call: impl Future<Output = T>) -> String {
    admin.run(&["CONFIG", "RESETSTAT"]);
    call.await;
    let counts = admin.command_counts();
    let counts = counts.iter().map(|(name, calls)| format!("{name} {calls}"));
    counts.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn every_call_is_one_command() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let scan = driver.as_scan().unwrap();
    let (after, keep) = (Expiry::After(minute()), Expiry::Keep);
    let entries: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    macro_rules! check {
        ($call:expr, $expected:expr) => {
            let sent = counted(&mut admin, async { $call.await.unwrap() }).await;
            assert_eq!(sent, $expected, stringify!($call));
        };
    }
    check!(driver.get("k"), "get 1");
    check!(
        driver.set("k", b"1", Expiry::Never, Condition::Always),
        "set 1"
    );
    check!(driver.set("k", b"1", after, Condition::IfAbsent), "set 1");
    check!(driver.set("k", b"1", keep, Condition::IfPresent), "set 1");
    check!(driver.has("k"), "exists 1");
    check!(driver.increment("n", 2, None), "incrby 1");
    check!(driver.expire("k", minute()), "pexpire 1");
    check!(driver.persist("k"), "persist 1");
    check!(driver.ttl("k"), "pttl 1");
    check!(driver.get_many(&["a", "b", "a"]), "mget 1");
    check!(driver.set_many(&entries, None), "mset 1");
    check!(driver.set_many(&entries, Some(minute())), "set 2");
    check!(driver.replace("k", b"v", after), "set 1");
    check!(driver.take("k"), "getdel 1");
    check!(driver.delete("k"), "del 1");
    check!(driver.delete_many(&["a", "b"]), "del 1");
    check!(driver.publish("c", b"m"), "publish 1");
    check!(scan.scan_page("p:", None, 10), "scan 1");
    check!(driver.get_many(&[]), "");
    check!(driver.set_many(&[], Some(minute())), "");
    check!(driver.delete_many(&[]), "");
}

#[tokio::test]
async fn a_script_is_one_call_once_the_server_knows_it() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let equals = Condition::IfEquals(b"old");
    let old = Condition::Always;
    // The first call makes the server remember the script, after a flush too.
    for sent in ["eval 1, evalsha 1", "evalsha 1", "eval 1, evalsha 1"] {
        if sent != "evalsha 1" {
            admin.run(&["SCRIPT", "FLUSH"]);
        }
        driver.set("k", b"old", Expiry::Never, old).await.unwrap();
        let set = driver.set("k", b"new", Expiry::After(minute()), equals);
        let expected = format!("{sent}, get 1, set 1");
        assert_eq!(
            counted(&mut admin, async { assert!(set.await.unwrap()) }).await,
            expected
        );
        let delete = driver.compare_and_delete("k", b"new");
        let expected = format!("del 1, {sent}, get 1");
        assert_eq!(
            counted(&mut admin, async { assert!(delete.await.unwrap()) }).await,
            expected
        );
        for expected in [
            format!("{sent}, get 1, set 1"),
            "evalsha 1, get 2, incrby 1".to_owned(),
        ] {
            let increment = driver.increment("n", 1, Some(minute()));
            assert_eq!(
                counted(&mut admin, async { increment.await.unwrap() }).await,
                expected
            );
        }
        driver.delete("n").await.unwrap();
    }
}

#[tokio::test]
async fn a_ttl_is_exact_at_both_ends() {
    let server = Server::start(&[]);
    let driver = server.connect().await;
    let longest = ttl_of(TtlMillis::MAX);
    let is_longest = |left: Ttl| {
        let left = left.left().expect("a ttl");
        left <= TtlMillis::MAX && left > TtlMillis::MAX - Duration::from_secs(60)
    };
    let always = Condition::Always;
    driver
        .set("k", b"v", Expiry::After(longest), always)
        .await
        .unwrap();
    assert!(is_longest(driver.ttl("k").await.unwrap()), "set");
    driver.persist("k").await.unwrap();
    assert_eq!(driver.ttl("k").await.unwrap(), Ttl::Forever);
    assert!(driver.expire("k", longest).await.unwrap());
    assert!(is_longest(driver.ttl("k").await.unwrap()), "expire");
    driver
        .set_many(&[("k", b"v")], Some(longest))
        .await
        .unwrap();
    assert!(is_longest(driver.ttl("k").await.unwrap()), "set_many");
    driver.increment("n", 1, Some(longest)).await.unwrap();
    assert!(is_longest(driver.ttl("n").await.unwrap()), "increment");
    let equals = Condition::IfEquals(b"v");
    driver.persist("k").await.unwrap();
    assert!(
        driver
            .set("k", b"w", Expiry::After(longest), equals)
            .await
            .unwrap()
    );
    assert!(is_longest(driver.ttl("k").await.unwrap()), "set if equals");
    driver
        .replace("k", b"v", Expiry::After(longest))
        .await
        .unwrap();
    assert!(is_longest(driver.ttl("k").await.unwrap()), "replace");

    let shortest = ttl_of(Duration::from_nanos(1));
    driver
        .set("k", b"v", Expiry::After(shortest), always)
        .await
        .unwrap();
    while driver.has("k").await.unwrap() {}
    assert_eq!(driver.ttl("k").await.unwrap(), Ttl::Missing);
    assert!(!driver.expire("k", longest).await.unwrap());
}

#[tokio::test]
async fn expiry_is_replaced_kept_or_removed_as_asked() {
    let server = Server::start(&[]);
    let driver = server.connect().await;
    let after = Expiry::After(minute());
    let conditions = [
        Condition::Always,
        Condition::IfPresent,
        Condition::IfEquals(b"v"),
    ];
    for condition in conditions {
        driver
            .set("k", b"v", after, Condition::Always)
            .await
            .unwrap();
        assert!(
            driver
                .set("k", b"v", Expiry::Keep, condition)
                .await
                .unwrap()
        );
        assert!(
            driver.ttl("k").await.unwrap().left().is_some(),
            "{condition:?} keeps"
        );
        assert!(
            driver
                .set("k", b"v", Expiry::Never, condition)
                .await
                .unwrap()
        );
        assert_eq!(
            driver.ttl("k").await.unwrap(),
            Ttl::Forever,
            "{condition:?} removes"
        );
        assert!(driver.set("k", b"v", after, condition).await.unwrap());
        assert!(
            driver.ttl("k").await.unwrap().left().is_some(),
            "{condition:?} sets"
        );
    }
    for condition in [Condition::IfAbsent, Condition::IfEquals(b"x")] {
        assert!(
            !driver
                .set("k", b"w", Expiry::Never, condition)
                .await
                .unwrap()
        );
        assert!(
            driver.ttl("k").await.unwrap().left().is_some(),
            "{condition:?} fails"
        );
    }
    let old = driver.replace("k", b"w", Expiry::Keep).await.unwrap();
    assert_eq!(old, Some(Bytes::from_static(b"v")));
    assert!(driver.ttl("k").await.unwrap().left().is_some());
    assert!(
        !driver
            .set("no", b"w", after, Condition::IfEquals(b""))
            .await
            .unwrap()
    );
    assert!(!driver.compare_and_delete("no", b"").await.unwrap());
    assert_eq!(
        driver.take("k").await.unwrap(),
        Some(Bytes::from_static(b"w"))
    );
    assert_eq!(driver.take("k").await.unwrap(), None);
}

#[tokio::test]
async fn counters_are_exact_above_two_to_the_53rd() {
    let server = Server::start(&[]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let driver = RedisDriver::connect_with(options).await.unwrap();
        let odd = (1 << 53) + 1;
        for ttl in [None, Some(minute())] {
            driver.delete("n").await.unwrap();
            assert_eq!(driver.increment("n", odd, ttl).await.unwrap(), odd);
            assert_eq!(driver.increment("n", 1, ttl).await.unwrap(), odd + 1);
            driver.delete("n").await.unwrap();
            assert_eq!(
                driver.increment("n", i64::MIN, ttl).await.unwrap(),
                i64::MIN
            );
            let error = driver.increment("n", -1, ttl).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Overflow);
            let text = driver.get("n").await.unwrap();
            assert_eq!(text, Some(Bytes::from(i64::MIN.to_string())));
            assert_eq!(
                driver.ttl("n").await.unwrap() == Ttl::Forever,
                ttl.is_none()
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_canonical_integer_is_no_counter() {
    let server = Server::start(&[]);
    let driver = server.connect().await;
    let texts = [
        " 5",
        "5 ",
        "+5",
        "05",
        "-0",
        "-",
        "5.0",
        "1e3",
        "",
        "\u{665}",
        "0x5",
        "5\0",
        "99999999999999999999",
        "9223372036854775808",
        "-9223372036854775809",
    ];
    for text in texts {
        let after = Expiry::After(minute());
        driver
            .set("n", text.as_bytes(), after, Condition::Always)
            .await
            .unwrap();
        for ttl in [None, Some(minute())] {
            for delta in [0, 1] {
                let error = driver.increment("n", delta, ttl).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::WrongType, "{text:?}");
            }
        }
        let kept = driver.get("n").await.unwrap();
        assert_eq!(kept.as_deref(), Some(text.as_bytes()));
        assert!(driver.ttl("n").await.unwrap().left().is_some());
    }
}

#[tokio::test]
async fn another_kind_of_value_is_a_wrong_type() {
    let server = Server::start(&[]);
    let driver = server.connect().await;
    server.admin().run(&["RPUSH", "list", "a"]);
    let equals = Condition::IfEquals(b"a");
    let never = Expiry::Never;
    for error in [
        driver.get("list").await.unwrap_err(),
        driver.take("list").await.unwrap_err(),
        driver.replace("list", b"", never).await.unwrap_err(),
        driver.increment("list", 1, None).await.unwrap_err(),
        driver
            .increment("list", 1, Some(minute()))
            .await
            .unwrap_err(),
        driver.set("list", b"", never, equals).await.unwrap_err(),
        driver.compare_and_delete("list", b"a").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::WrongType, "{error}");
    }
    assert_eq!(driver.get_many(&["list"]).await.unwrap(), [None]);
}

#[tokio::test]
async fn a_server_that_cannot_write_is_unavailable() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    driver
        .set("k", b"old", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    for (on, off) in [
        (
            ["CONFIG", "SET", "maxmemory", "1"],
            ["CONFIG", "SET", "maxmemory", "0"],
        ),
        (
            ["CONFIG", "SET", "min-replicas-to-write", "1"],
            ["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
    ] {
        admin.run(&on);
        let equals = Condition::IfEquals(b"old");
        let never = Expiry::Never;
        for error in [
            driver
                .set("k", b"v", never, Condition::Always)
                .await
                .unwrap_err(),
            driver.set("k", b"v", never, equals).await.unwrap_err(),
            driver.increment("n", 1, None).await.unwrap_err(),
            driver.increment("n", 1, Some(minute())).await.unwrap_err(),
            driver.set_many(&[("k", b"v")], None).await.unwrap_err(),
            driver
                .set_many(&[("k", b"v")], Some(minute()))
                .await
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{on:?}: {error}");
        }
        admin.run(&off);
    }
    // What frees memory is refused for the lack of replicas alone.
    admin.run(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    for error in [
        driver.delete("k").await.unwrap_err(),
        driver.compare_and_delete("k", b"old").await.unwrap_err(),
        driver.take("k").await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    admin.run(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(driver.get("k").await.unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(driver.health().await.generation, 1, "no needless reconnect");
}

#[tokio::test]
async fn the_largest_batch_is_taken_and_a_larger_one_is_not_sent() {
    const MOST: usize = 500_000;
    let server = Server::start(&[]);
    let options = server.options().call_timeout(Duration::from_secs(60));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let keys: Vec<String> = (0..=MOST).map(|number| number.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<(&str, &[u8])> = keys.iter().map(|key| (*key, key.as_bytes())).collect();
    for error in [
        driver.set_many(&entries, None).await.unwrap_err(),
        driver.get_many(&keys).await.map(drop).unwrap_err(),
        driver.delete_many(&keys).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let (keys, entries) = (&keys[1..], &entries[1..]);
    driver.set_many(entries, None).await.unwrap();
    let values = driver.get_many(keys).await.unwrap();
    let is_it = |(key, value): (&&str, &Option<Bytes>)| value.as_deref() == Some(key.as_bytes());
    assert!(keys.iter().zip(&values).all(is_it));
    assert_eq!(driver.delete_many(keys).await.unwrap(), MOST as u64);
    assert_eq!(driver.health().await.reconnects, 0);
}
