//! Connecting, losing the connection, and closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Answer, FakeServer, Server};
use futures_util::{FutureExt, StreamExt};
use store_core::{Condition, ErrorKind, Expiry, HealthState, StoreAdapter, TtlMillis};
use store_redis::{Protocol, RedisDriver, RedisOptions};
use tokio::task::JoinSet;
use tokio::time::timeout;

#[tokio::test]
async fn a_refused_connection_is_unavailable_and_says_what_to_do() {
    let port = crate::support::free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let error = RedisDriver::connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(
        text.contains(&format!("redis-server --port {port}")),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_or_missing_credentials_are_denied_and_never_shown() {
    let server = Server::start(&["--requirepass", "right"]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let plain = server.options().protocol(protocol);
        let wrong = plain.clone().password("hunter2");
        let other = wrong.clone().username("hunter3");
        for options in [plain.clone(), wrong, other] {
            let error = RedisDriver::connect_with(options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(
                !format!("{error} {error:?}").contains("hunter"),
                "{error:?}"
            );
        }
        let right = plain.password("right");
        let driver = RedisDriver::connect_with(right).await.unwrap();
        assert!(driver.health().await.is_up());
        assert!(!format!("{driver:?}").contains("right\""));
    }
}

#[tokio::test]
async fn a_user_with_few_rights_connects_and_is_told_what_it_may_not_do() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    admin.run(&[
        "ACL", "SETUSER", "few", "on", ">pw", "~app:*", "+get", "+set",
    ]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let options = options.username("few").password("pw");
        let driver = RedisDriver::connect_with(options).await.unwrap();
        let always = Condition::Always;
        assert!(
            driver
                .set("app:k", b"v", Expiry::Never, always)
                .await
                .unwrap()
        );
        for error in [
            driver.delete("app:k").await.unwrap_err(),
            driver.get("secret-key").await.unwrap_err(),
            driver.publish("secret-key", b"").await.unwrap_err(),
            driver.subscribe("secret-key").await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(
                !format!("{error} {error:?}").contains("secret-key"),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_full_server_is_unavailable() {
    let server = Server::start(&["--maxclients", "1"]);
    let _admin = server.admin();
    let error = RedisDriver::connect_with(server.options())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("maxclients"), "{error}");
}

#[tokio::test]
async fn a_killed_connection_is_replaced() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    driver
        .set("k", b"v", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    for _ in 0..20 {
        admin.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        assert_eq!(driver.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    }
    let health = driver.health().await;
    assert_eq!((health.generation, health.reconnects), (21, 20));
    assert_eq!(admin.driver_connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_across_kills_are_applied_once_or_reported() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = Arc::new(server.connect().await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (driver, stop) = (Arc::clone(&driver), Arc::clone(&stop));
        tasks.spawn(async move {
            let (mut acknowledged, mut indeterminate) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match driver.increment("n", 1, None).await {
                    Ok(_) => acknowledged += 1,
                    Err(error) if error.kind() == ErrorKind::Indeterminate => indeterminate += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
            (acknowledged, indeterminate)
        });
    }
    for killed in 1..=20 {
        admin.run(&["CLIENT", "KILL", "TYPE", "normal"]);
        while driver.health().await.generation <= killed {}
        let before = driver.increment("n", 0, None).await.unwrap();
        // Calls get through again before the next kill.
        while driver.increment("n", 0, None).await.unwrap() == before {}
    }
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut indeterminate) = (0, 0);
    while let Some(counts) = tasks.join_next().await {
        let counts = counts.unwrap();
        acknowledged += counts.0;
        indeterminate += counts.1;
    }
    let sum = driver.increment("n", 0, None).await.unwrap();
    assert!(
        acknowledged <= sum && sum <= acknowledged + indeterminate,
        "{acknowledged} <= {sum} <= {acknowledged} + {indeterminate}"
    );
    assert_eq!(admin.driver_connections(), 1);
}

#[tokio::test]
async fn a_write_cut_before_its_answer_is_indeterminate_and_sent_once() {
    let mut server = FakeServer::start(vec![Answer::Cut]).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    let error = driver.increment("n", 1, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert_eq!(server.seen(), ["INCRBY"]);
}

#[tokio::test]
async fn a_script_cut_before_its_answer_is_indeterminate_also_where_it_was_unknown() {
    let unknown = Answer::Send("-NOSCRIPT No matching script\r\n");
    let answers = vec![unknown, Answer::Cut, Answer::Send("$1\r\n1\r\n")];
    let mut server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    let minute = TtlMillis::new(Duration::from_secs(60)).unwrap();
    let error = driver.increment("n", 1, Some(minute)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
    assert_eq!(server.seen(), ["EVALSHA", "EVAL"]);
}

#[tokio::test]
async fn a_read_cut_before_its_answer_is_sent_once_more() {
    let answers = vec![
        Answer::Cut,
        Answer::Send("$1\r\nv\r\n"),
        Answer::Cut,
        Answer::Cut,
    ];
    let mut server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    assert_eq!(driver.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(server.seen(), ["GET", "GET"]);
    let error = driver.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(server.seen(), ["GET", "GET"]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_an_error_and_a_new_connection() {
    for garbage in [":5\r\n", "+OK\r\n", "*0\r\n", "hello\r\n", "$1\r\nab\r\n"] {
        let answers = vec![Answer::Send(garbage), Answer::Send("$1\r\nv\r\n")];
        let server = FakeServer::start(answers).await;
        let driver = RedisDriver::connect_with(server.options.clone())
            .await
            .unwrap();
        match driver.get("k").await {
            // Not the protocol at all: the connection is lost, and the read is sent once more.
            Ok(value) => assert_eq!(value.as_deref(), Some(&b"v"[..]), "{garbage:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{garbage:?}: {error}");
                let next = driver.get("k").await;
                assert_eq!(next.unwrap().as_deref(), Some(&b"v"[..]), "{garbage:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_and_named() {
    let server = Server::start(&[]);
    let port = server.port;
    let driver = server.connect().await;
    drop(server);
    let mut error = driver.increment("n", 1, None).await.unwrap_err();
    // The first call may have been sent into the dying connection.
    if error.kind() == ErrorKind::Indeterminate {
        error = driver.increment("n", 1, None).await.unwrap_err();
    }
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert_eq!(driver.health().await.state, HealthState::Down);
}

#[tokio::test]
async fn closing_leaves_no_connection_and_refuses_what_comes() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    assert_eq!(admin.driver_connections(), 2);
    driver.close().await.unwrap();
    driver.close().await.unwrap();
    admin.until("no connection", |admin| admin.driver_connections() == 0);
    assert!(subscription.next().await.is_none());
    for error in [
        driver.get("k").await.unwrap_err(),
        driver.publish("c", b"").await.unwrap_err(),
        driver.subscribe("c").await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert_eq!(driver.health().await.state, HealthState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_leaves_no_connection() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    drop(driver);
    assert!(subscription.next().await.is_none());
    admin.until("no connection", |admin| admin.driver_connections() == 0);
}

#[tokio::test]
async fn a_dropped_call_does_not_shift_the_answers_of_others() {
    let server = Server::start(&[]);
    let driver = server.connect().await;
    for n in 0..100_u32 {
        let text = n.to_string();
        driver
            .set(&text, text.as_bytes(), Expiry::Never, Condition::Always)
            .await
            .unwrap();
    }
    for n in 0..1_000_u32 {
        let dropped = (n % 100).to_string();
        let kept = ((n + 1) % 100).to_string();
        {
            let mut call = driver.get(&dropped);
            assert!((&mut call).now_or_never().is_none());
        }
        let read = driver.get(&kept).await.unwrap();
        assert_eq!(read.as_deref(), Some(kept.as_bytes()));
    }
}

#[test]
fn options_and_driver_are_debug_send_and_sync() {
    fn check<T: std::fmt::Debug + Send + Sync>() {}
    check::<RedisDriver>();
    check::<RedisOptions>();
    check::<Protocol>();
}

#[tokio::test]
async fn a_server_that_greets_and_hangs_up_is_asked_less_and_less() {
    let mut server = FakeServer::start(Vec::new()).await;
    let options = server.options.clone().call_timeout(Duration::from_secs(1));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let reads = async {
        loop {
            let _lost = driver.get("k").await;
        }
    };
    let _for_a_second = timeout(Duration::from_secs(1), reads).await;
    // Each wait is shorter than 20 ms without backoff, and about a quarter of a second at last with it.
    let gets = server.seen().len();
    assert!(gets < 40, "{gets} requests");
    let refused = driver.subscribe("c").await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    let subscribes = server.seen().len();
    assert!(subscribes < 40, "{subscribes} requests");
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_asked_less_and_less() {
    // To no command is this an answer that fits.
    let nonsense = std::iter::repeat_with(|| Answer::Send("*0\r\n"));
    let mut server = FakeServer::start(nonsense.take(1_000).collect()).await;
    let options = server.options.clone().call_timeout(Duration::from_secs(1));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let reads = async {
        loop {
            assert!(driver.get("k").await.is_err());
        }
    };
    let _for_a_second = timeout(Duration::from_secs(1), reads).await;
    let gets = server.seen().len();
    assert!((2..40).contains(&gets), "{gets} requests");
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[test]
fn a_driver_whose_runtime_has_ended_is_closed() {
    let server = Server::start(&[]);
    let first = runtime();
    let (driver, mut subscription) = first.block_on(async {
        let driver = server.connect().await;
        let subscription = driver.subscribe("c").await.unwrap();
        (driver, subscription)
    });
    drop(first);
    runtime().block_on(async {
        for error in [
            driver.get("k").await.map(drop).unwrap_err(),
            driver.subscribe("c").await.map(drop).unwrap_err(),
            // Nothing is asked here, and the answer is the same.
            driver.get_many(&[]).await.map(drop).unwrap_err(),
            driver.set_many(&[], None).await.unwrap_err(),
            driver.delete_many(&[]).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            assert!(error.to_string().contains("runtime"), "{error}");
        }
        assert_eq!(driver.health().await.state, HealthState::Closed);
        assert!(subscription.next().await.is_none());
        driver.close().await.unwrap();
    });
}

#[test]
fn closing_beside_a_runtime_that_is_not_run_ends_and_says_so() {
    let server = Server::start(&[]);
    let first = runtime();
    let driver = first.block_on(server.connect());
    runtime().block_on(async {
        let (one, other) = tokio::join!(driver.close(), driver.close());
        for closed in [one, other] {
            let error = closed.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
            assert!(error.to_string().contains("runtime"), "{error}");
        }
        let refused = driver.get("k").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Closed, "{refused}");
    });
    first.block_on(driver.close()).unwrap();
}

#[test]
fn a_driver_is_closed_also_outside_of_a_runtime() {
    let server = Server::start(&[]);
    let runtime = runtime();
    let driver = runtime.block_on(server.connect());
    assert!(driver.close().now_or_never().is_none(), "its tasks run yet");
    let refused = runtime.block_on(driver.get("k")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed, "{refused}");
    drop(runtime);
    driver.close().now_or_never().unwrap().unwrap();
}

#[test]
fn outside_of_a_runtime_it_says_that_it_needs_one() {
    let connect = RedisDriver::connect("redis://127.0.0.1:6379");
    let error = connect.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}
