//! Channels of the driver, where the conformance suite cannot look: memory, exact loss, the end.

use std::thread;

use futures_util::{FutureExt, StreamExt};
use store_core::{Gap, GapReason, Patterns, RawEvent, RawSubscription, StoreAdapter};
use store_memory::{MemoryDriver, MemoryOptions};

fn message(channel: &str, text: &str) -> RawEvent {
    RawEvent::Message {
        channel: channel.into(),
        message: text.to_owned().into(),
    }
}

/// What can be read without waiting: everything up to the end or to the last message sent.
fn read_all(subscription: &mut RawSubscription) -> Vec<RawEvent> {
    let mut events = Vec::new();
    while let Some(Some(event)) = subscription.next().now_or_never() {
        events.push(event);
    }
    events
}

#[tokio::test]
async fn a_channel_takes_memory_only_while_somebody_is_subscribed() {
    let driver = MemoryDriver::new();
    driver.publish("channel", b"unheard").await.unwrap();
    assert_eq!(driver.live_channels(), 0);

    let first = driver.subscribe("channel").await.unwrap();
    let second = driver.subscribe("channel").await.unwrap();
    let pattern = driver.subscribe_pattern("ch*").await.unwrap();
    assert_eq!(
        (driver.live_channels(), driver.live_subscriptions()),
        (2, 3)
    );
    drop(first);
    assert_eq!(
        (driver.live_channels(), driver.live_subscriptions()),
        (2, 2)
    );
    drop(second);
    assert_eq!(
        (driver.live_channels(), driver.live_subscriptions()),
        (1, 1)
    );
    drop(pattern);
    assert_eq!(
        (driver.live_channels(), driver.live_subscriptions()),
        (0, 0)
    );
}

#[tokio::test]
async fn a_subscription_that_is_dropped_while_it_waits_is_gone() {
    let driver = MemoryDriver::new();
    let mut subscription = driver.subscribe("channel").await.unwrap();
    assert!(subscription.next().now_or_never().is_none());
    drop(subscription);
    assert_eq!(driver.live_channels(), 0);
}

#[tokio::test]
async fn a_slow_reader_learns_exactly_how_much_it_missed() {
    let driver = MemoryDriver::with_options(MemoryOptions::new().channel_capacity(8));
    let mut exact = driver.subscribe("channel").await.unwrap();
    let mut pattern = driver.subscribe_pattern("*").await.unwrap();
    for number in 0..20 {
        let text = number.to_string();
        driver.publish("channel", text.as_bytes()).await.unwrap();
    }
    let mut expected = vec![RawEvent::Gap(Gap::counted(GapReason::Lagged, 12))];
    expected.extend((12..20).map(|number: u32| message("channel", &number.to_string())));
    assert_eq!(read_all(&mut exact), expected);
    assert_eq!(read_all(&mut pattern), expected);
}

#[tokio::test]
async fn no_capacity_is_too_small_or_too_large() {
    for capacity in [0, 1, 3, usize::MAX] {
        let options = MemoryOptions::new().channel_capacity(capacity);
        let driver = MemoryDriver::with_options(options);
        let mut subscription = driver.subscribe("channel").await.unwrap();
        driver.publish("channel", b"1").await.unwrap();
        assert_eq!(read_all(&mut subscription), [message("channel", "1")]);
    }
}

#[tokio::test]
async fn a_pattern_hears_each_message_once_and_in_order() {
    let driver = MemoryDriver::new();
    let mut all = driver.subscribe_pattern("a*").await.unwrap();
    let mut same = driver.subscribe_pattern("a*").await.unwrap();
    let mut other = driver.subscribe_pattern("?2").await.unwrap();
    let mut exact = driver.subscribe("a2").await.unwrap();
    for channel in ["a1", "a2", "b2", "a1"] {
        driver.publish(channel, b"x").await.unwrap();
    }
    let of = |channels: &[&str]| -> Vec<_> {
        channels
            .iter()
            .map(|channel| message(channel, "x"))
            .collect()
    };
    assert_eq!(read_all(&mut all), of(&["a1", "a2", "a1"]));
    assert_eq!(read_all(&mut same), of(&["a1", "a2", "a1"]));
    assert_eq!(read_all(&mut other), of(&["a2", "b2"]));
    assert_eq!(read_all(&mut exact), of(&["a2"]));
}

#[tokio::test]
async fn closing_ends_every_subscription_after_what_it_was_sent() {
    let driver = MemoryDriver::new();
    let mut exact = driver.subscribe("channel").await.unwrap();
    let mut pattern = driver.subscribe_pattern("*").await.unwrap();
    driver.publish("channel", b"last").await.unwrap();
    driver.close().await.unwrap();
    assert_eq!(
        (driver.live_channels(), driver.live_subscriptions()),
        (0, 0)
    );
    for subscription in [&mut exact, &mut pattern] {
        assert_eq!(subscription.next().await, Some(message("channel", "last")));
        assert_eq!(subscription.next().await, None);
        assert_eq!(subscription.next().now_or_never(), Some(None));
    }
}

#[tokio::test]
async fn closing_wakes_a_reader_that_waits() {
    let driver = MemoryDriver::new();
    let mut subscription = driver.subscribe("channel").await.unwrap();
    let reader = tokio::spawn(async move { subscription.next().await });
    tokio::task::yield_now().await;
    driver.close().await.unwrap();
    assert_eq!(reader.await.unwrap(), None);
}

#[tokio::test]
async fn a_subscription_ends_with_the_last_handle_of_the_driver() {
    let driver = MemoryDriver::new();
    let mut subscription = driver.subscribe("channel").await.unwrap();
    let handle = driver.clone();
    drop(driver);
    assert!(subscription.next().now_or_never().is_none());
    drop(handle);
    assert_eq!(subscription.next().await, None);
}

#[tokio::test]
async fn a_publisher_that_never_waits_still_lets_its_reader_run() {
    let driver = MemoryDriver::new();
    let mut subscription = driver.subscribe("channel").await.unwrap();
    let reader = tokio::spawn(async move {
        let mut texts = Vec::new();
        while texts.len() < 20_000 {
            let Some(RawEvent::Message { message, .. }) = subscription.next().await else {
                break;
            };
            texts.push(message);
        }
        texts.len()
    });
    for number in 0..20_000 {
        driver
            .publish("channel", number.to_string().as_bytes())
            .await
            .unwrap();
    }
    assert_eq!(reader.await.unwrap(), 20_000);
}

#[test]
fn subscribing_is_confirmed_although_others_come_and_go() {
    // More than all messages of this test, so that none is lost.
    let options = MemoryOptions::new().channel_capacity(4096);
    let driver = MemoryDriver::with_options(options);
    thread::scope(|scope| {
        for subscriber in 0..3 {
            let driver = &driver;
            scope.spawn(move || {
                for round in 0..1_300 {
                    let text = format!("{subscriber}:{round}");
                    let subscribe = async {
                        if round % 2 == 0 {
                            driver.subscribe("channel").await
                        } else {
                            driver.subscribe_pattern("chan*").await
                        }
                    };
                    let mut subscription = subscribe.now_or_never().unwrap().unwrap();
                    let mut publish = driver.publish("channel", text.as_bytes());
                    // It yields first where another thread, which the machine holds up, is far behind.
                    let published = loop {
                        match (&mut publish).now_or_never() {
                            Some(published) => break published,
                            None => thread::yield_now(),
                        }
                    };
                    published.unwrap();
                    let own = message("channel", &text);
                    assert!(read_all(&mut subscription).contains(&own));
                }
            });
        }
    });
    assert_eq!(
        (driver.live_channels(), driver.live_subscriptions()),
        (0, 0)
    );
}
