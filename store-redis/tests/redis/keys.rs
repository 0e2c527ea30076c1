//! Which keys and values there may be, and where they are.

use std::time::Duration;

use crate::support::Server;
use store_core::{Bytes, Condition, ErrorKind, Expiry, StoreAdapter};
use store_redis::{RedisDriver, RedisOptions};

#[tokio::test]
async fn a_scan_lists_the_prefix_and_nothing_else() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    for prefix in ["p:", "*", "a[b-d]?", "\\", "^", "]", "{t}\r\n"] {
        admin.run(&["FLUSHALL"]);
        let mut expected: Vec<String> = (0..30).map(|n| format!("{prefix}{n}")).collect();
        expected.push(prefix.to_owned());
        let neighbours = [
            format!("x{prefix}"),
            "ab?".to_owned(),
            "p".to_owned(),
            "P:1".to_owned(),
        ];
        for key in expected.iter().chain(&neighbours) {
            driver
                .set(key, b"", Expiry::Never, Condition::Always)
                .await
                .unwrap();
        }
        let scan = driver.as_scan().unwrap();
        for page_size in [0, 1, 7, 1_000] {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let page = scan
                    .scan_page(prefix, cursor.as_deref(), page_size)
                    .await
                    .unwrap();
                seen.extend(page.keys);
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            seen.sort();
            seen.dedup();
            expected.sort();
            assert_eq!(seen, expected, "{prefix:?}");
        }
    }
    let error = driver.as_scan().unwrap().scan_page("", Some("x"), 1).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn any_bytes_are_a_value_and_any_text_a_key() {
    let server = Server::start(&[]);
    let driver = server.connect().await;
    let keys = [
        "a", "A", "a ", "a\0", "{a}", "a\r\n", "*", "\u{e9}", "e\u{301}",
    ];
    let long = vec![0xff; (1 << 20) + 1];
    let values: [&[u8]; 4] = [b"", b"\0", b"$-1\r\n", &long];
    for value in values {
        for key in keys {
            let marked = [key.as_bytes(), value].concat();
            driver
                .set(key, &marked, Expiry::Never, Condition::Always)
                .await
                .unwrap();
        }
        let read = driver.get_many(&keys).await.unwrap();
        for (key, read) in keys.iter().zip(read) {
            assert_eq!(read, Some(Bytes::from([key.as_bytes(), value].concat())));
        }
    }
    assert_eq!(driver.delete_many(&["a", "a", "no", "A"]).await.unwrap(), 2);
    driver
        .set("e", b"", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    assert_eq!(driver.get("e").await.unwrap(), Some(Bytes::new()));
    driver
        .set_many(&[("d", b"1"), ("d", b"2")], None)
        .await
        .unwrap();
    assert_eq!(driver.get("d").await.unwrap().as_deref(), Some(&b"2"[..]));
}

#[tokio::test]
async fn a_unix_socket_and_a_database_are_reached_by_url() {
    let port = crate::support::free_port();
    let path = std::env::temp_dir().join(format!("store-redis-{port}.sock"));
    let path = path.to_str().unwrap();
    let server = Server::start(&["--unixsocket", path]);
    let driver = RedisDriver::connect(&format!("redis+unix://{path}?db=3"))
        .await
        .unwrap();
    driver
        .set("k", b"v", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    let url = format!("redis://127.0.0.1:{}/3?protocol=resp2", server.port);
    let other = RedisDriver::connect(&url).await.unwrap();
    assert_eq!(other.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    let elsewhere = server.connect().await;
    assert_eq!(elsewhere.get("k").await.unwrap(), None);
    let options: RedisOptions = server.options().database(99);
    let error = RedisDriver::connect_with(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_scan_does_not_go_on_over_another_connection() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut admin = server.admin();
    admin.run(&["DEBUG", "POPULATE", "5000"]);
    let driver = server.connect().await;
    let scan = driver.as_scan().unwrap();
    let first = scan.scan_page("", None, 100).await.unwrap();
    admin.run(&["CLIENT", "KILL", "TYPE", "normal"]);
    // A restarted server would take the cursor, and leave out what it likes.
    let error = scan.scan_page("", first.cursor.as_deref(), 100).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("begin it again"), "{error}");
    let again = scan.scan_page("", None, 100).await.unwrap();
    let cursor = again.cursor.as_deref();
    assert!(scan.scan_page("", cursor, 100).await.is_ok());
}

#[tokio::test]
async fn a_page_of_any_size_may_be_asked_for() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    // More than an answer may have elements.
    server
        .admin()
        .run(&["DEBUG", "POPULATE", "1200000", "k", "1"]);
    // How long such a page takes is not what this is about.
    let options = server.options().call_timeout(Duration::from_secs(10));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let scan = driver.as_scan().unwrap();
    for page_size in [2_000_000, usize::MAX] {
        let page = scan.scan_page("", None, page_size).await.unwrap();
        assert!(page.cursor.is_some());
    }
    assert_eq!(driver.health().await.reconnects, 0);
}
