//! Entries of the driver, where the conformance suite cannot look: memory, closing, cursors.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test may panic as the test may"
)]

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use store_core::{Condition, ErrorKind, Expiry, HealthState, Scan, StoreAdapter, Ttl, TtlMillis};
use store_memory::{MemoryDriver, MemoryOptions};

async fn set(driver: &MemoryDriver, key: &str, value: &[u8], expiry: Expiry) {
    assert!(
        driver
            .set(key, value, expiry, Condition::Always)
            .await
            .unwrap()
    );
}

fn after(ttl: Duration) -> Expiry {
    Expiry::After(TtlMillis::new(ttl).unwrap())
}

async fn scan(driver: &MemoryDriver, prefix: &str, page_size: usize) -> HashMap<String, usize> {
    let mut seen = HashMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = driver
            .scan_page(prefix, cursor.as_deref(), page_size)
            .await
            .unwrap();
        for key in page.keys {
            *seen.entry(key).or_insert(0) += 1;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return seen;
        }
    }
}

#[test]
fn the_driver_is_made_and_used_without_a_runtime() {
    fn is_shared<T: std::fmt::Debug + Send + Sync + 'static>(_: &T) {}
    let driver = MemoryDriver::new();
    is_shared(&driver);
    is_shared(&MemoryOptions::new());
    let value = driver.get("key").now_or_never();
    assert_eq!(value.unwrap().unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_expired_entry_is_absent_to_the_nanosecond() {
    let driver = MemoryDriver::new();
    set(&driver, "key", b"value", after(Duration::from_millis(1))).await;
    tokio::time::advance(Duration::from_nanos(999_999)).await;
    assert!(driver.has("key").await.unwrap());
    assert_eq!(
        driver.ttl("key").await.unwrap(),
        Ttl::Left(Duration::from_millis(1))
    );
    tokio::time::advance(Duration::from_nanos(1)).await;
    assert_eq!(driver.get("key").await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_get_goes_by_the_time_at_which_it_is_polled() {
    const MINUTE: Duration = Duration::from_secs(60);
    let driver = MemoryDriver::new();
    for (key, ttl) in [("live", 2 * MINUTE), ("dead", MINUTE), ("renewed", MINUTE)] {
        set(&driver, key, b"1", after(ttl)).await;
    }
    let [live, dead, renewed] = ["live", "dead", "renewed"].map(|key| driver.get(key));
    tokio::time::advance(MINUTE).await;
    set(&driver, "renewed", b"2", Expiry::Never).await;
    assert_eq!(live.await.unwrap().unwrap(), "1");
    assert_eq!(dead.await.unwrap(), None);
    // At no time was it absent.
    assert_eq!(renewed.await.unwrap().unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn every_write_finds_an_expired_entry_absent() {
    let driver =
        MemoryDriver::with_options(MemoryOptions::new().sweep_interval(Duration::from_secs(3600)));
    let ttl = TtlMillis::new(Duration::from_millis(1)).unwrap();
    let keys = [
        "take",
        "delete",
        "increment",
        "absent",
        "present",
        "equals",
        "other",
        "keep",
        "expire",
    ];
    for key in keys {
        set(&driver, key, b"7", Expiry::After(ttl)).await;
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(driver.live_entries(), keys.len());

    assert_eq!(driver.take("take").await.unwrap(), None);
    assert!(!driver.delete("delete").await.unwrap());
    assert!(!driver.expire("expire", ttl).await.unwrap());
    assert!(!driver.persist("expire").await.unwrap());
    assert!(!driver.compare_and_delete("equals", b"7").await.unwrap());
    let held = driver.live_entries();
    assert!(!driver.compare_and_delete("other", b"8").await.unwrap());
    assert_eq!(driver.live_entries(), held - 1);
    let write = |key, condition| driver.set(key, b"8", Expiry::Keep, condition);
    assert!(!write("present", Condition::IfPresent).await.unwrap());
    assert!(!write("equals", Condition::IfEquals(b"7")).await.unwrap());
    assert!(write("absent", Condition::IfAbsent).await.unwrap());
    assert_eq!(
        driver.replace("keep", b"8", Expiry::Keep).await.unwrap(),
        None
    );
    assert_eq!(driver.increment("increment", 1, None).await.unwrap(), 1);
    for key in ["absent", "keep", "increment"] {
        assert_eq!(driver.ttl(key).await.unwrap(), Ttl::Forever, "{key}");
    }
    assert!(scan(&driver, "", 100).await.len() == 3);
}

#[tokio::test]
async fn rewriting_and_deleting_keeps_no_memory() {
    let driver = MemoryDriver::new();
    for _ in 0..10_000 {
        set(&driver, "key", b"value", after(Duration::from_secs(3600))).await;
        driver
            .expire("key", TtlMillis::new(TtlMillis::MAX).unwrap())
            .await
            .unwrap();
        driver.delete("key").await.unwrap();
    }
    assert_eq!(driver.live_entries(), 0);
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused_whole() {
    let driver = MemoryDriver::with_options(MemoryOptions::new().max_value_len(4));
    assert_eq!(driver.max_value_len(), Some(4));
    set(&driver, "key", b"1234", Expiry::Never).await;
    let kind = |error: store_core::Error| error.kind();
    let never = Expiry::Never;
    let refusals = [
        driver
            .set("key", b"12345", never, Condition::Always)
            .await
            .unwrap_err(),
        driver.replace("key", b"12345", never).await.unwrap_err(),
        driver
            .set_many(&[("other", b"1"), ("key", b"12345")], None)
            .await
            .unwrap_err(),
        driver.publish("channel", b"12345").await.unwrap_err(),
    ];
    assert!(
        refusals
            .map(kind)
            .iter()
            .all(|kind| *kind == ErrorKind::TooLarge)
    );
    assert_eq!(driver.get("key").await.unwrap().unwrap(), "1234");
    assert!(!driver.has("other").await.unwrap());
}

#[tokio::test]
async fn a_scan_comes_to_every_key_once_whatever_the_page_size() {
    let driver = MemoryDriver::new();
    for number in 0..3_000 {
        set(&driver, &format!("in:{number}"), b"", Expiry::Never).await;
        set(&driver, &format!("out:in:{number}"), b"", Expiry::Never).await;
    }
    for page_size in [0, 1, 7, 2_999, 3_000, 3_001, usize::MAX] {
        let seen = scan(&driver, "in:", page_size).await;
        assert_eq!(seen.len(), 3_000);
        assert!(
            seen.iter()
                .all(|(key, times)| key.starts_with("in:") && *times == 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_misses_no_key_that_stays_while_others_come_and_go() {
    let driver = MemoryDriver::new();
    for number in 0..500 {
        set(&driver, &format!("stays:{number}"), b"", Expiry::Never).await;
    }
    let churn = tokio::spawn({
        let driver = driver.clone();
        async move {
            for number in 0..60_000 {
                set(&driver, &format!("goes:{number}"), b"", Expiry::Never).await;
                if number % 3 > 0 {
                    driver
                        .delete(&format!("goes:{}", number / 2))
                        .await
                        .unwrap();
                }
            }
        }
    });
    while !churn.is_finished() {
        assert_eq!(scan(&driver, "stays:", 10).await.len(), 500);
    }
    churn.await.unwrap();
}

#[tokio::test]
async fn a_page_ends_although_no_key_has_the_prefix() {
    let driver = MemoryDriver::new();
    for number in 0..20_000 {
        set(&driver, &format!("{number}"), b"", Expiry::Never).await;
    }
    let page = driver.scan_page("none", None, 10).await.unwrap();
    assert!(page.keys.is_empty() && page.cursor.is_some());
    assert!(scan(&driver, "none", 10).await.is_empty());
}

#[tokio::test]
async fn a_cursor_that_was_never_given_out_is_invalid() {
    let driver = MemoryDriver::new();
    for cursor in [
        "",
        "0",
        "-1",
        "+1",
        "01",
        "256",
        "x",
        "1 ",
        "99999999999999999999",
    ] {
        let error = driver.scan_page("", Some(cursor), 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{cursor:?}");
    }
    assert!(driver.scan_page("", Some("255"), 10).await.is_ok());
}

#[tokio::test]
async fn after_close_every_operation_is_refused() {
    let driver = MemoryDriver::new();
    set(&driver, "key", b"1", Expiry::Never).await;
    assert!(driver.health().await.is_up());
    driver.close().await.unwrap();
    driver.close().await.unwrap();
    assert_eq!(driver.health().await.state, HealthState::Closed);
    assert_eq!(driver.live_entries(), 0);

    let ttl = TtlMillis::new(Duration::from_secs(1)).unwrap();
    let patterns = driver.as_patterns().unwrap();
    let errors = [
        driver.get("key").await.err(),
        driver
            .set("key", b"", Expiry::Never, Condition::Always)
            .await
            .err(),
        driver.delete("key").await.err(),
        driver.has("key").await.err(),
        driver.increment("key", 1, None).await.err(),
        driver.expire("key", ttl).await.err(),
        driver.persist("key").await.err(),
        driver.ttl("key").await.err(),
        driver.get_many(&[]).await.err(),
        driver.set_many(&[], None).await.err(),
        driver.delete_many(&[]).await.err(),
        driver.take("key").await.err(),
        driver.replace("key", b"", Expiry::Never).await.err(),
        driver.compare_and_delete("key", b"").await.err(),
        driver.publish("channel", b"").await.err(),
        driver.subscribe("channel").await.err(),
        patterns.subscribe_pattern("*").await.err(),
        driver.scan_page("", None, 1).await.err(),
    ];
    for (index, error) in errors.into_iter().enumerate() {
        assert_eq!(
            error.unwrap().kind(),
            ErrorKind::Closed,
            "operation {index}"
        );
    }
}

/// What is there until the driver is closed is absent at no time.
#[test]
fn who_looks_beside_a_close_finds_what_is_there_or_that_it_is_closed() {
    type Look = fn(&MemoryDriver) -> store_core::Result<bool>;
    fn now<T>(call: impl Future<Output = T>) -> T {
        call.now_or_never().unwrap()
    }
    let looks: [Look; 8] = [
        |driver| now(driver.has("k")),
        |driver| now(driver.get("k")).map(|value| value.is_some()),
        |driver| now(driver.get_many(&["k"])).map(|values| values[0].is_some()),
        |driver| now(driver.ttl("k")).map(|ttl| ttl == Ttl::Forever),
        |driver| now(driver.set("k", b"v", Expiry::Never, Condition::IfPresent)),
        |driver| now(driver.set("k", b"v", Expiry::Keep, Condition::IfEquals(b"v"))),
        |driver| now(driver.scan_page("k", None, 10)).map(|page| page.keys == ["k"]),
        |driver| now(driver.expire("k", TtlMillis::new(TtlMillis::MAX)?)),
    ];
    for look in looks {
        for _ in 0..100 {
            let driver = MemoryDriver::new();
            now(set(&driver, "k", b"v", Expiry::Never));
            thread::scope(|scope| {
                scope.spawn(|| now(driver.close()).unwrap());
                loop {
                    match look(&driver) {
                        Ok(is_there) => assert!(is_there),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Closed);
                            break;
                        }
                    }
                }
            });
        }
    }
}

#[test]
fn a_write_that_races_with_close_leaves_nothing() {
    for _ in 0..50 {
        let driver = MemoryDriver::new();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let driver = driver.clone();
                thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        for number in 0.. {
                            let key = format!("{writer}:{number}");
                            let ttl = after(Duration::from_secs(3600));
                            if driver.set(&key, b"", ttl, Condition::Always).await.is_err() {
                                return;
                            }
                        }
                    });
                })
            })
            .collect();
        while driver.live_entries() < 100 {
            thread::yield_now();
        }
        driver.close().now_or_never().unwrap().unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(driver.live_entries(), 0);
    }
}

#[test]
fn increments_of_many_threads_all_count() {
    let driver = MemoryDriver::new();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let sum = driver.increment("key", 1, None);
                    sum.now_or_never().unwrap().unwrap();
                }
            });
        }
    });
    let value = driver.get("key").now_or_never();
    assert_eq!(value.unwrap().unwrap().unwrap(), "20000");
}

#[tokio::test]
async fn the_driver_says_what_it_is_and_what_it_holds() {
    let driver = MemoryDriver::new();
    set(&driver, "key", b"value", Expiry::Never).await;
    let _subscription = driver.subscribe("channel").await.unwrap();
    assert_eq!(driver.name(), "memory");
    assert_eq!(
        format!("{driver:?}"),
        "MemoryDriver { entries: 1, channels: 1, .. }"
    );
}

#[test]
fn the_shortest_sweep_interval_is_a_millisecond() {
    let every = |millis| MemoryOptions::new().sweep_interval(Duration::from_millis(millis));
    assert_eq!(every(0), every(1));
    assert_ne!(every(1), every(2));
}
