//! Pub/sub against a real server.

use std::time::{Duration, Instant};

use crate::support::{Answer, FakeServer, Server, soon};
use futures_util::{FutureExt, StreamExt};
use store_core::{Bytes, ErrorKind, Gap, HealthState, RawEvent, RawSubscription, StoreAdapter};
use store_redis::{Protocol, RedisDriver};

/// The next event as text: `channel message`, or `reason missed`.
async fn next(subscription: &mut RawSubscription) -> String {
    match soon("an event", subscription.next()).await {
        Some(RawEvent::Message { channel, message }) => {
            format!("{channel} {}", String::from_utf8_lossy(&message))
        }
        Some(RawEvent::Gap(Gap { reason, missed, .. })) => format!("{reason:?} {missed:?}"),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn what_is_published_after_subscribing_arrives_and_nothing_else() {
    let server = Server::start(&[]);
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let options = server.options().protocol(protocol);
        let driver = RedisDriver::connect_with(options).await.unwrap();
        driver.publish("c", b"before").await.unwrap();
        let mut first = driver.subscribe("c").await.unwrap();
        driver.publish("c", b"1").await.unwrap();
        let mut second = driver.subscribe("c").await.unwrap();
        driver.publish("cc", b"other").await.unwrap();
        driver.publish("c", b"\xff\0\r\n").await.unwrap();
        driver.publish("c", b"").await.unwrap();
        assert_eq!(next(&mut first).await, "c 1");
        for subscription in [&mut first, &mut second] {
            let Some(RawEvent::Message { message, .. }) = subscription.next().await else {
                panic!("a message");
            };
            assert_eq!(message, Bytes::from_static(b"\xff\0\r\n"));
            assert_eq!(next(subscription).await, "c ");
        }
    }
}

#[tokio::test]
async fn local_subscribers_share_the_servers_subscription_until_the_last_one_drops() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let first = driver.subscribe("c").await.unwrap();
    let second = driver.subscribe("c").await.unwrap();
    assert_eq!(admin.subscribers("c"), 1);
    drop(first);
    driver.subscribe("barrier").await.unwrap();
    assert_eq!(admin.subscribers("c"), 1);
    drop(second);
    driver.subscribe("barrier").await.unwrap();
    assert_eq!(admin.subscribers("c"), 0);
    let patterns = driver.as_patterns().unwrap();
    let pattern = patterns.subscribe_pattern("c*").await.unwrap();
    assert_eq!(admin.patterns(), 1);
    drop(pattern);
    driver.subscribe("barrier").await.unwrap();
    assert_eq!(admin.patterns(), 0);
    for round in 0..50 {
        let mut again = driver.subscribe("c").await.unwrap();
        driver
            .publish("c", round.to_string().as_bytes())
            .await
            .unwrap();
        assert_eq!(next(&mut again).await, format!("c {round}"));
    }
}

#[tokio::test]
async fn a_subscribe_that_is_dropped_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let _other = driver.subscribe("other").await.unwrap();
    for _ in 0..20 {
        assert!(driver.subscribe("c").now_or_never().is_none());
    }
    driver.subscribe("barrier").await.unwrap();
    assert_eq!(admin.subscribers("c"), 0);
}

#[tokio::test]
async fn a_slow_reader_loses_its_oldest_and_reads_how_many() {
    let server = Server::start(&[]);
    let options = server.options().subscription_buffer(10);
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let mut slow = driver.subscribe("c").await.unwrap();
    let mut quick = driver.subscribe("c").await.unwrap();
    for n in 0..3_000 {
        driver.publish("c", n.to_string().as_bytes()).await.unwrap();
        assert_eq!(next(&mut quick).await, format!("c {n}"));
    }
    assert_eq!(next(&mut slow).await, "Lagged Some(2990)");
    for n in 2_990..3_000 {
        assert_eq!(next(&mut slow).await, format!("c {n}"));
    }
    driver.publish("c", b"on").await.unwrap();
    assert_eq!(next(&mut slow).await, "c on");
}

#[tokio::test]
async fn patterns_follow_redis_and_name_the_channel() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let patterns = driver.as_patterns().unwrap();
    let mut pattern = patterns.subscribe_pattern("n[e-g]*").await.unwrap();
    let mut exact = driver.subscribe("news").await.unwrap();
    driver.publish("no", b"0").await.unwrap();
    driver.publish("news", b"1").await.unwrap();
    driver.publish("nfc", b"2").await.unwrap();
    assert_eq!(next(&mut pattern).await, "news 1");
    assert_eq!(next(&mut pattern).await, "nfc 2");
    assert_eq!(next(&mut exact).await, "news 1");
    // No text names this channel: it is not UTF-8.
    admin.run(&["EVAL", "return redis.call('PUBLISH', 'ne\\255', 'x')", "0"]);
    driver.publish("next", b"3").await.unwrap();
    assert_eq!(next(&mut pattern).await, "UnnamableChannel Some(1)");
    assert_eq!(next(&mut pattern).await, "next 3");
}

#[tokio::test]
async fn a_lost_connection_is_one_gap_before_the_next_message() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let mut exact = driver.subscribe("c").await.unwrap();
    let mut pattern = driver
        .as_patterns()
        .unwrap()
        .subscribe_pattern("?")
        .await
        .unwrap();
    for round in 0..5 {
        driver.publish("c", b"before").await.unwrap();
        assert_eq!(next(&mut exact).await, "c before");
        assert_eq!(next(&mut pattern).await, "c before");
        admin.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(next(&mut exact).await, "Reconnected None", "round {round}");
        assert_eq!(
            next(&mut pattern).await,
            "Reconnected None",
            "round {round}"
        );
    }
    driver.publish("c", b"after").await.unwrap();
    assert_eq!(next(&mut exact).await, "c after");
    assert_eq!(next(&mut pattern).await, "c after");
    assert_eq!(admin.subscribers("c"), 1);
    assert!(driver.health().await.is_up());
}

#[tokio::test]
async fn a_refused_subscription_is_denied() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let user = [
        "ACL",
        "SETUSER",
        "u",
        "on",
        ">pw",
        "allcommands",
        "allkeys",
        "&ok*",
    ];
    admin.run(&user);
    let options = server.options().username("u").password("pw");
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let mut allowed = driver.subscribe("ok").await.unwrap();
    let error = driver.subscribe("no").await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    driver.publish("ok", b"1").await.unwrap();
    assert_eq!(next(&mut allowed).await, "ok 1");
}

#[tokio::test]
async fn a_subscription_refused_after_a_reconnect_hears_of_it_and_comes_back() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let user = [
        "ACL",
        "SETUSER",
        "u",
        "on",
        ">pw",
        "allcommands",
        "allkeys",
        "&c",
    ];
    admin.run(&user);
    let options = server.options().username("u").password("pw");
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let mut subscription = driver.subscribe("c").await.unwrap();
    // The server drops the connection of a user that may no longer listen.
    admin.run(&["ACL", "SETUSER", "u", "resetchannels"]);
    assert_eq!(next(&mut subscription).await, "Refused None");
    let health = driver.health().await;
    assert_eq!(health.state, HealthState::Down);
    assert!(health.cause.unwrap().contains("refuses a subscription"));
    admin.run(&["ACL", "SETUSER", "u", "&c"]);
    assert_eq!(next(&mut subscription).await, "Reconnected None");
    driver.publish("c", b"1").await.unwrap();
    assert_eq!(next(&mut subscription).await, "c 1");
    assert!(driver.health().await.is_up());
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_without_any_message() {
    let confirmed = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
    let message = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n\
                   >3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n";
    let answers = vec![
        Answer::Send(confirmed),
        Answer::Nothing,
        Answer::Send(message),
        Answer::Nothing,
    ];
    let mut server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    let mut subscription = driver.subscribe("c").await.unwrap();
    assert_eq!(next(&mut subscription).await, "Reconnected None");
    assert_eq!(next(&mut subscription).await, "c 1");
    assert_eq!(server.seen(), ["SUBSCRIBE", "HELLO", "SUBSCRIBE"]);
}

#[tokio::test]
async fn a_server_that_confirms_and_hangs_up_is_asked_less_and_less() {
    // What comes behind the confirmation is not the protocol.
    let answer = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\nhello\r\n";
    let answers = (0..100).map(|_| Answer::Send(answer)).collect();
    let mut server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    let began = Instant::now();
    let _subscription = driver.subscribe("c").await.unwrap();
    for _ in 0..20 {
        let command = soon("the next connection", server.commands.recv()).await;
        assert_eq!(command.as_deref(), Some("SUBSCRIBE"));
    }
    // The last 14 of 19 waits are random ones up to 250 ms; those that begin anew each time are up to 10 ms.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_replaces_the_connection() {
    for garbage in [
        ">3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
        ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:1\r\n",
        "+OK\r\n",
        "hello\r\n",
    ] {
        let answers = vec![
            Answer::Send(garbage),
            Answer::Send(">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
        ];
        let mut server = FakeServer::start(answers).await;
        let driver = RedisDriver::connect_with(server.options.clone())
            .await
            .unwrap();
        driver.subscribe("c").await.unwrap();
        assert_eq!(
            server.seen()[..2],
            ["SUBSCRIBE", "SUBSCRIBE"],
            "{garbage:?}"
        );
    }
}

#[tokio::test]
async fn an_overflow_of_the_servers_buffer_is_a_gap() {
    let server = Server::start(&[]);
    let mut admin = server.admin();
    let driver = server.connect().await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    let limit = "client-output-buffer-limit";
    admin.run(&["CONFIG", "SET", limit, "pubsub 1mb 1mb 1"]);
    driver.publish("c", &vec![b'x'; 8 << 20]).await.unwrap();
    assert_eq!(next(&mut subscription).await, "Reconnected None");
    driver.publish("c", b"1").await.unwrap();
    assert_eq!(next(&mut subscription).await, "c 1");
    assert_eq!(admin.subscribers("c"), 1);
}

#[tokio::test]
async fn health_is_up_again_once_nobody_wants_what_could_not_be_had() {
    let server = Server::start(&["--maxclients", "2"]);
    let _admin = server.admin();
    let driver = server.connect().await;
    let error = driver.subscribe("c").await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let health = driver.health().await;
    assert_eq!(health.state, HealthState::Up, "{health:?}");
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_for_a_subscription() {
    for refusal in [
        "-BUSY Redis is busy running a script\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
    ] {
        let confirmation = ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n";
        let message = ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n1\r\n";
        let answers = vec![
            Answer::Send(refusal),
            Answer::Send(refusal),
            Answer::Send(confirmation),
            Answer::Send(message),
        ];
        let mut server = FakeServer::start(answers).await;
        let driver = RedisDriver::connect_with(server.options.clone())
            .await
            .unwrap();
        let mut subscription = driver.subscribe("c").await.unwrap();
        assert_eq!(server.seen(), ["SUBSCRIBE"; 3], "{refusal}");
        // The heartbeat is what comes next.
        assert_eq!(next(&mut subscription).await, "c 1");
    }
}

#[tokio::test]
async fn others_have_their_turns_while_much_is_delivered() {
    const SUBSCRIBERS: usize = 100;
    const MESSAGES: usize = 20_000;
    let server = Server::start(&[]);
    let driver = server.connect().await;
    let mut subscriptions = Vec::new();
    for _ in 0..SUBSCRIBERS {
        subscriptions.push(driver.subscribe("c").await.unwrap());
    }
    let mut last = driver.subscribe("last").await.unwrap();
    let mut publish = redis::pipe();
    for _ in 0..MESSAGES {
        publish.cmd("PUBLISH").arg("c").arg("message");
    }
    publish.cmd("PUBLISH").arg("last").arg("message");
    // On this thread, so that all of it has been sent before any is read.
    server.admin().send(&publish);
    let mut turns = 0;
    let others = async {
        loop {
            tokio::task::yield_now().await;
            turns += 1;
        }
    };
    tokio::select! {
        event = next(&mut last) => assert_eq!(event, "last message"),
        () = others => {}
    }
    // At 4,096 deliveries each, and as few as reads of 64 KiB without that: about 15.
    assert!(turns > SUBSCRIBERS * MESSAGES / 4096 / 2, "{turns} turns");
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again_to_forget_a_subscription() {
    let answers = vec![
        Answer::Send(">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
        Answer::Send("-BUSY Redis is busy running a script\r\n"),
        Answer::Send(">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n"),
    ];
    let mut server = FakeServer::start(answers).await;
    let driver = RedisDriver::connect_with(server.options.clone())
        .await
        .unwrap();
    drop(driver.subscribe("c").await.unwrap());
    for expected in ["SUBSCRIBE", "UNSUBSCRIBE", "UNSUBSCRIBE"] {
        let command = soon("a command", server.commands.recv()).await;
        assert_eq!(command.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn subscriptions_that_were_given_up_on_a_silent_server_are_bounded() {
    let answers = vec![
        Answer::Send(">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
        Answer::Nothing,
        Answer::Nothing,
        Answer::Nothing,
    ];
    let mut server = FakeServer::start(answers).await;
    let options = server.options.clone().max_in_flight(1);
    let options = options.call_timeout(Duration::from_millis(100));
    let driver = RedisDriver::connect_with(options).await.unwrap();
    let _subscription = driver.subscribe("c").await.unwrap();
    assert!(driver.subscribe("given up").now_or_never().is_none());
    let error = driver.subscribe("next").await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("max_in_flight"), "{error}");
    for expected in ["SUBSCRIBE", "SUBSCRIBE", "UNSUBSCRIBE"] {
        let command = soon("a command", server.commands.recv()).await;
        assert_eq!(command.as_deref(), Some(expected));
    }
}
