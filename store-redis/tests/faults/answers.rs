//! Answers that are lost, late, broken or nonsense.

use std::time::{Duration, Instant};

use store_conformance::faults::ReplyFault;
use store_conformance::server::RedisServer;
use store_core::{Condition, ErrorKind, Expiry, StoreAdapter};
use store_redis::RedisDriver;
use tokio::task::JoinSet;

use crate::counter::Counter;
use crate::load::{Load, begin};
use crate::support::{
    CALL_TIMEOUT, at_most, connect, connect_through_proxy, connections, lasting, next_text,
    options, patient_options, server, settled, soon,
};

/// F21
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_is_in_doubt_and_happens_once() {
    const DRIVERS: usize = 8;
    const CALLS: usize = 125;
    let Some(server) = server(&[]) else { return };
    let (proxy, first) = connect_through_proxy(&server, patient_options(&server)).await;
    let mut drivers = vec![first];
    for _ in 1..DRIVERS {
        let options = patient_options(&server).address("127.0.0.1", proxy.port());
        drivers.push(connect(options).await);
    }
    let cuts = (DRIVERS * CALLS) as u64;
    proxy.fault_replies_to("INCRBY", ReplyFault::Cut, cuts);
    let mut tasks = JoinSet::new();
    for driver in drivers {
        tasks.spawn(async move {
            let mut indeterminate = 0;
            for _ in 0..CALLS {
                let error = driver.increment("n", 1, None).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Indeterminate, "{error}");
                indeterminate += 1;
            }
            (driver, indeterminate)
        });
    }
    let done = tasks.join_all().await;
    let indeterminate: usize = done.iter().map(|(_, indeterminate)| indeterminate).sum();
    assert_eq!(proxy.faulty_replies(), cuts);
    let value = server.command(&["GET", "n"]).unwrap();
    println!("F21: {indeterminate} in doubt, {value} executed");
    assert_eq!((indeterminate, value.as_str()), (1000, "1000"));
}

/// F22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_in_small_pieces_are_the_same_answers() {
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, patient_options(&server)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    let text = "a text\r\n$3\r\n".repeat(20);
    let value = text.as_bytes();
    for size in [1, 2, 3, 7] {
        proxy.fragment(size, Duration::from_micros(1));
        let always = Condition::Always;
        assert!(driver.set("k", value, Expiry::Never, always).await.unwrap());
        assert_eq!(driver.get("k").await.unwrap().unwrap(), value);
        driver.publish("c", value).await.unwrap();
        assert_eq!(next_text(&mut subscription).await, text);
        proxy.whole();
        let load = Load::start(&driver).await;
        proxy.fragment(size, Duration::ZERO);
        lasting(Duration::from_millis(300)).await;
        proxy.whole();
        let mut report = load.stop().await;
        assert_eq!(report.indeterminate(), 0);
        report.check(&format!("F22, pieces of {size}"), &server);
    }
    assert_eq!(driver.health().await.reconnects, 0);
}

/// F22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_only_dribbles_is_replaced() {
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, options(&server)).await;
    let mut counter = begin(&driver, 0).await;
    // More often than a server may be silent, and each answer in longer than a call may take.
    proxy.fault_replies_to("INCRBY", ReplyFault::Dribble(CALL_TIMEOUT * 4 / 5), 1);
    let began = Instant::now();
    let outcome = driver.increment(&counter.key, 1, None).await;
    let kind = outcome.as_ref().unwrap_err().kind();
    assert_eq!(kind, ErrorKind::Indeterminate);
    counter.record(&outcome);
    at_most("F22: the call", began.elapsed(), CALL_TIMEOUT);
    let again = works_again(&driver, &mut counter);
    soon("a new connection", again).await;
    at_most("F22: a new connection", began.elapsed(), 4 * CALL_TIMEOUT);
    assert_eq!(driver.health().await.reconnects, 1);
    check_final(&mut counter, &server);
    settled(&server, 1).await;
}

/// F22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_ends_early_is_no_value() {
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, patient_options(&server)).await;
    let always = Condition::Always;
    driver
        .set("k", b"12345", Expiry::Never, always)
        .await
        .unwrap();
    let mut counter = begin(&driver, 0).await;
    let answer = "$5\r\n12345\r\n";
    for length in 0..answer.len() {
        let before = driver.health().await.reconnects;
        // A read is repeated once, so it needs two faults.
        proxy.fault_replies_to("$3\r\nGET", ReplyFault::Truncate(length), 2);
        let error = driver.get("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(driver.get("k").await.unwrap().unwrap(), "12345");
        assert_eq!(driver.health().await.reconnects, before + 2);
    }
    for length in 0..":1000000000001\r\n".len() {
        let before = driver.health().await.reconnects;
        proxy.fault_replies_to("INCRBY", ReplyFault::Truncate(length), 1);
        let outcome = driver.increment(&counter.key, 1, None).await;
        let kind = outcome.as_ref().unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Indeterminate);
        counter.record(&outcome);
        works_again(&driver, &mut counter).await;
        assert_eq!(driver.health().await.reconnects, before + 1);
    }
    check_final(&mut counter, &server);
    settled(&server, 1).await;
}

/// F22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_no_value_and_costs_the_connection() {
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, patient_options(&server)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    let baseline = connections(&server);
    let always = Condition::Always;
    driver
        .set("k", b"12345", Expiry::Never, always)
        .await
        .unwrap();
    let mut counter = begin(&driver, 0).await;
    for nonsense in nonsense() {
        let shown = String::from_utf8_lossy(&nonsense).into_owned();
        proxy.fault_replies_to("$3\r\nGET", ReplyFault::Replace(nonsense.clone()), 2);
        match driver.get("k").await {
            Ok(value) => assert_eq!(value.unwrap(), "12345", "{shown:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{shown:?}: {error}"),
        }
        let before = driver.health().await.reconnects;
        // The answer to a PING that is under way may be the one that is replaced.
        loop {
            proxy.fault_replies_to("INCRBY", ReplyFault::Replace(nonsense.clone()), 1);
            let outcome = driver.increment(&counter.key, 1, None).await;
            counter.record(&outcome);
            if let Err(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Indeterminate, "{shown:?}: {error}");
                break;
            }
        }
        works_again(&driver, &mut counter).await;
        assert_eq!(driver.get("k").await.unwrap().unwrap(), "12345");
        assert!(driver.health().await.reconnects > before, "{shown:?}");
    }
    println!("F22: {} answers were nonsense", proxy.faulty_replies());
    check_final(&mut counter, &server);
    assert_eq!(counter.refused, 0);
    proxy.fault_replies_to(
        "SUBSCRIBE",
        ReplyFault::Replace(b"+nonsense\r\n".to_vec()),
        1,
    );
    let mut other = driver.subscribe("d").await.unwrap();
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    for (channel, subscription) in [("c", &mut subscription), ("d", &mut other)] {
        driver.publish(channel, b"after").await.unwrap();
        assert_eq!(next_text(subscription).await, "after");
    }
    settled(&server, baseline).await;
}

/// Answers to neither GET nor INCRBY, none of which can be the beginning of one.
fn nonsense() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "hello\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "+OK\r\n",
        "*0\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "(99999999999999999999\r\n",
        "%1\r\n+a\r\n:1\r\n",
        ":12x\r\n",
        ":99999999999999999999\r\n",
        "$5x\r\n12345\r\n",
        "$2\r\n12345\r\n",
        "$-7\r\n",
        "*-7\r\n",
        "\r\n\r\n",
        "\0\0\0\0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    // And bytes that no server of any kind sends.
    for seed in 0..20_u32 {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        all.push(
            (0..40)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    (state >> 8) as u8 | 0x80
                })
                .collect(),
        );
    }
    all
}

/// Increments until it is acknowledged. A write that meets the broken connection before its loss is
/// noticed is in doubt as well.
async fn works_again(driver: &RedisDriver, counter: &mut Counter) {
    loop {
        let outcome = driver.increment(&counter.key, 1, None).await;
        counter.record(&outcome);
        if outcome.is_ok() {
            return;
        }
    }
}

fn check_final(counter: &mut Counter, server: &RedisServer) {
    let value = server.command(&["GET", &counter.key]).unwrap();
    counter.check_final(value.parse().unwrap());
    assert_eq!(counter.violations, [""; 0]);
}
