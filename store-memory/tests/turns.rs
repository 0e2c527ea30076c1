//! Tasks on one thread: nobody is starved by one that never waits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use futures_util::StreamExt;
use store_core::{Condition, Expiry, Patterns, RawEvent, StoreAdapter};
use store_memory::{MemoryDriver, MemoryOptions};

/// How often `operation` is done until another task of the thread has its turn.
async fn operations_in_a_turn(operation: impl AsyncFn()) -> usize {
    let is_done = Arc::new(AtomicBool::new(false));
    let other = {
        let is_done = Arc::clone(&is_done);
        tokio::spawn(async move { is_done.store(true, Ordering::Relaxed) })
    };
    let mut operations = 0;
    while !is_done.load(Ordering::Relaxed) && operations < 1_000_000 {
        operation().await;
        operations += 1;
    }
    assert!(other.await.is_ok());
    operations
}

#[tokio::test]
async fn a_loop_of_calls_lets_others_go_first() {
    let driver = MemoryDriver::new();
    let key = "key";
    driver
        .set(key, b"1", Expiry::Never, Condition::Always)
        .await
        .unwrap();
    let keys = [key; 100];
    let many = [key; 10_000];
    let turns = [
        operations_in_a_turn(async || drop(driver.get(key).await)).await,
        operations_in_a_turn(async || drop(driver.increment(key, 1, None).await)).await,
        operations_in_a_turn(async || drop(driver.publish(key, b"").await)).await,
        operations_in_a_turn(async || drop(driver.get_many(&keys).await)).await,
        operations_in_a_turn(async || drop(driver.get_many(&many).await)).await,
    ];
    // As the documentation of the driver says, or sooner, as others may have begun the turn.
    for (operations, most) in turns.into_iter().zip([8_300, 8_300, 8_300, 83, 2]) {
        assert!(operations <= most, "{operations} operations, of {most}");
    }
}

#[tokio::test]
async fn a_publisher_lets_others_go_first_once_half_of_a_ring_is_unread() {
    for (capacity, turn) in [(1, 1), (100, 64), (256, 128), (1024, 512), (4096, 2048)] {
        let options = MemoryOptions::new().channel_capacity(capacity);
        let driver = MemoryDriver::with_options(options);
        let publish = async || driver.publish("channel", b"").await.unwrap();
        let subscriptions = [
            driver.subscribe("channel").await,
            driver.subscribe_pattern("*").await,
        ];
        for subscription in subscriptions {
            let _unread = subscription.unwrap();
            assert_eq!(operations_in_a_turn(publish).await, turn, "of {capacity}");
        }
    }
}

#[tokio::test]
async fn subscribers_keep_up_with_a_publisher_on_their_thread() {
    const MESSAGES: usize = 20_000;
    for capacity in [1, 2, 10, 128, 1024, 65_536] {
        let options = MemoryOptions::new().channel_capacity(capacity);
        let driver = MemoryDriver::with_options(options);
        let mut readers = Vec::new();
        for _ in 0..3 {
            let mut subscription = driver.subscribe("channel").await.unwrap();
            readers.push(tokio::spawn(async move {
                for number in 0..MESSAGES {
                    match subscription.next().await {
                        Some(RawEvent::Message { message, .. }) => {
                            assert_eq!(message, number.to_string());
                        }
                        other => panic!("{other:?} instead of message {number} of {capacity}"),
                    }
                }
            }));
        }
        for number in 0..MESSAGES {
            let message = number.to_string();
            driver.publish("channel", message.as_bytes()).await.unwrap();
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

#[test]
fn a_turn_needs_no_runtime() {
    let driver = MemoryDriver::with_options(MemoryOptions::new().channel_capacity(1));
    let mut publisher = pin!(async {
        let _unread = driver.subscribe("channel").await.unwrap();
        for _ in 0..10_000 {
            driver.publish("channel", b"").await.unwrap();
        }
    });
    let mut context = Context::from_waker(Waker::noop());
    while publisher.as_mut().poll(&mut context).is_pending() {}
}
