//! A reader that does not read.

use std::sync::Arc;
use std::time::Duration;

use store_core::{RawEvent, StoreAdapter};
use store_redis::Protocol;

use crate::follower::{Follower, Ledger};
use crate::memory::Baseline;
use crate::numbers::{Listener, check};
use crate::process::in_a_process_of_its_own;
use crate::support::{
    connect, megabytes_at_most, next_event, next_text, options, patient_options, publish, server,
};

const MESSAGE_LEN: usize = 64 << 10;
const MESSAGES: u64 = 3200;
/// How far the quick readers may be behind, which is less than their buffers hold.
const AHEAD: u64 = 64;

/// F16
#[test]
fn a_slow_reader_takes_bounded_memory_and_nothing_from_the_others_under_resp3() {
    in_a_process_of_its_own(
        "slow_reader::a_slow_reader_takes_bounded_memory_and_nothing_from_the_others_under_resp3",
        async || slow_reader(Protocol::Resp3).await,
    );
}

/// F16
#[test]
fn a_slow_reader_takes_bounded_memory_and_nothing_from_the_others_under_resp2() {
    in_a_process_of_its_own(
        "slow_reader::a_slow_reader_takes_bounded_memory_and_nothing_from_the_others_under_resp2",
        async || slow_reader(Protocol::Resp2).await,
    );
}

async fn slow_reader(protocol: Protocol) {
    let Some(server) = server(&[]) else { return };
    let driver = connect(patient_options(&server).protocol(protocol)).await;
    let sender = connect(patient_options(&server)).await;
    let mut slow = driver.subscribe("c").await.unwrap();
    let quick = driver.subscribe("c").await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let quick = Listener::start(quick, &ledger);
    let filling = "x".repeat(MESSAGE_LEN);
    let baseline = Baseline::now().unwrap();
    for number in 0..MESSAGES {
        let message = format!("{number} {filling}");
        let outcome = sender.publish("c", message.as_bytes()).await;
        ledger.record(&outcome).unwrap();
        while quick.next() + AHEAD < number {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!((ledger.next(), ledger.doubtful()), (MESSAGES, 0));
    let quick = quick.finish().await;
    megabytes_at_most("F16: memory", baseline.peak().unwrap(), 80);
    check("F16, quick", &quick);
    assert_eq!((quick.seen, quick.gaps_seen), (MESSAGES, 0));
    let mut follower = Follower::default();
    let mut missed = 0;
    while follower.next() < MESSAGES {
        let event = next_event(&mut slow).await;
        if let RawEvent::Gap(gap) = event {
            missed += gap.missed.unwrap();
        }
        follower.take(&event, &ledger);
    }
    check("F16, slow", &follower);
    assert_eq!(follower.gaps_seen, 1);
    assert_eq!(follower.seen + missed, MESSAGES);
}

/// F16
#[test]
fn a_large_message_leaves_no_memory_taken() {
    in_a_process_of_its_own(
        "slow_reader::a_large_message_leaves_no_memory_taken",
        async || large_message().await,
    );
}

async fn large_message() {
    const LEN: usize = 256 * 65536;
    let Some(server) = server(&[]) else { return };
    let limit = "client-output-buffer-limit";
    let unlimited = ["CONFIG", "SET", limit, "pubsub 0 0 0"];
    server.command(&unlimited).unwrap();
    // The server says nothing while it makes the message.
    let driver = connect(options(&server).call_timeout(Duration::from_secs(15))).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    driver.increment("n", 1, None).await.unwrap();
    let baseline = Baseline::now().unwrap();
    // Made by the server, so that nothing else here is as large; of long pieces, which takes it little
    // time.
    let code = "local piece = string.rep('x', 65536)
        return redis.call('PUBLISH', 'c', string.rep(piece, 256))";
    assert_eq!(server.command(&["EVAL", code, "0"]).unwrap(), "1");
    match next_event(&mut subscription).await {
        RawEvent::Message { message, .. } => assert_eq!(message.len(), LEN),
        RawEvent::Gap(gap) => panic!("{gap:?}"),
    }
    publish(&driver, "after").await;
    assert_eq!(next_text(&mut subscription).await, "after");
    megabytes_at_most("F16: memory", baseline.kept().unwrap(), 8);
}
