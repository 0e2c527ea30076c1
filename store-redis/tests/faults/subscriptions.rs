//! Messages, and what is said of those that are lost.

use std::time::{Duration, Instant};

use store_conformance::server::RedisServer;
use store_core::{HealthState, StoreAdapter};
use store_redis::Protocol;

use crate::follower::{Follower, Ledger};
use crate::numbers::{Listener, Publisher, check, publish_next};
use crate::support::{
    at_most, connect, connect_through_proxy, next_event, next_text, options, patient_options,
    server, settled, until,
};

/// F14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_in_silence_under_resp3() {
    no_message_is_lost_in_silence(Protocol::Resp3).await;
}

/// F14
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_in_silence_under_resp2() {
    no_message_is_lost_in_silence(Protocol::Resp2).await;
}

async fn no_message_is_lost_in_silence(protocol: Protocol) {
    const CHANNELS: [&str; 3] = ["a", "b", "c"];
    let Some(server) = server(&[]) else { return };
    let (proxy, driver) = connect_through_proxy(&server, options(&server).protocol(protocol)).await;
    // Publishes past the proxy, so that it goes on while the subscriptions are cut off.
    let sender = connect(options(&server)).await;
    let mut subscriptions = Vec::new();
    for channel in CHANNELS {
        subscriptions.push((channel, driver.subscribe(channel).await.unwrap()));
    }
    let patterns = driver.as_patterns().unwrap();
    subscriptions.push(("c", patterns.subscribe_pattern("[c]").await.unwrap()));
    let publishers = CHANNELS.map(|channel| (channel, Publisher::start(&sender, channel)));
    let mut listeners = Vec::new();
    for (channel, subscription) in subscriptions {
        let (_, publisher) = publishers
            .iter()
            .find(|(name, _)| *name == channel)
            .unwrap();
        listeners.push(Listener::start(subscription, &publisher.ledger));
    }
    for fault in 1..=17 {
        match fault {
            1..=10 => {
                let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
                server.command(&kill).unwrap();
            }
            11..=15 => proxy.reset().await,
            16 => proxy.stall_existing(),
            _ => server.restart().unwrap(),
        }
        for listener in &listeners {
            until("a gap", || listener.gaps() >= fault).await;
            listener.hears().await;
        }
    }
    for (channel, publisher) in publishers {
        let ledger = publisher.stop().await;
        println!(
            "F14, {protocol:?}: {channel}: {} sent, {} in doubt",
            ledger.next(),
            ledger.doubtful()
        );
        // One at the end that is not in doubt.
        publish_next(&sender, channel, &ledger).await;
    }
    for listener in listeners {
        let follower = listener.finish().await;
        check("F14", &follower);
        assert!(
            follower.holes > 0,
            "nothing was lost, so nothing was tested"
        );
    }
}

/// F15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_refused_after_a_reconnect_is_told_and_retried_under_resp3() {
    a_subscription_that_is_refused_after_a_reconnect_is_told_and_retried(Protocol::Resp3).await;
}

/// F15
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_refused_after_a_reconnect_is_told_and_retried_under_resp2() {
    a_subscription_that_is_refused_after_a_reconnect_is_told_and_retried(Protocol::Resp2).await;
}

async fn a_subscription_that_is_refused_after_a_reconnect_is_told_and_retried(protocol: Protocol) {
    let Some(server) = server(&[]) else { return };
    let user = ["ACL", "SETUSER", "u", "on", ">pw", "+@all", "~*", "&c"];
    server.command(&user).unwrap();
    let options = patient_options(&server).protocol(protocol);
    let driver = connect(options.username("u").password("pw")).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    // The server drops the connection of a user that may no longer listen.
    server
        .command(&["ACL", "SETUSER", "u", "resetchannels"])
        .unwrap();
    let began = Instant::now();
    assert_eq!(next_text(&mut subscription).await, "Refused None");
    at_most(
        "F15: until the subscriber is told",
        began.elapsed(),
        Duration::from_secs(2),
    );
    let health = driver.health().await;
    assert_eq!(health.state, HealthState::Down);
    assert!(
        health
            .cause
            .unwrap()
            .contains("Redis refuses a subscription")
    );
    until("the third refusal", || refusals(&server) >= 3).await;
    server.command(&["ACL", "SETUSER", "u", "&c"]).unwrap();
    assert_eq!(next_text(&mut subscription).await, "Reconnected None");
    assert!(driver.health().await.is_up());
    driver.publish("c", b"after").await.unwrap();
    assert_eq!(next_text(&mut subscription).await, "after");
}

/// How often the server refused to subscribe somebody.
fn refusals(server: &RedisServer) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).unwrap();
    let mut lines = stats.lines();
    let line = lines.find(|line| line.starts_with("cmdstat_subscribe:"));
    let (_, rejected) = line.unwrap().split_once("rejected_calls=").unwrap();
    rejected.split(',').next().unwrap().parse().unwrap()
}

/// F17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overflow_of_the_servers_buffer_is_a_gap_under_resp3() {
    an_overflow_of_the_servers_buffer_is_a_gap(Protocol::Resp3).await;
}

/// F17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overflow_of_the_servers_buffer_is_a_gap_under_resp2() {
    an_overflow_of_the_servers_buffer_is_a_gap(Protocol::Resp2).await;
}

async fn an_overflow_of_the_servers_buffer_is_a_gap(protocol: Protocol) {
    /// 64 messages of 64 KiB in one step, which the server has no time to write.
    const BURST: &str = "for number = 0, 63 do
            redis.call('PUBLISH', 'c', number .. ' ' .. string.rep('x', 65536))
        end";
    let Some(server) = server(&[]) else { return };
    let limit = "client-output-buffer-limit";
    server
        .command(&["CONFIG", "SET", limit, "pubsub 1mb 1mb 1"])
        .unwrap();
    let driver = connect(patient_options(&server).protocol(protocol)).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    driver.increment("n", 1, None).await.unwrap();
    let ledger = Ledger::default();
    let mut follower = Follower::default();
    server.command(&["EVAL", BURST, "0"]).unwrap();
    let began = Instant::now();
    for _ in 0..64 {
        ledger.record(&Ok(())).unwrap();
    }
    while follower.gaps_seen == 0 {
        follower.take(&next_event(&mut subscription).await, &ledger);
    }
    at_most(
        "F17: until it is subscribed again",
        began.elapsed(),
        Duration::from_secs(1),
    );
    publish_next(&driver, "c", &ledger).await;
    while follower.next() < ledger.next() {
        follower.take(&next_event(&mut subscription).await, &ledger);
    }
    check("F17", &follower);
    assert_eq!((follower.gaps_seen, follower.holes), (1, 1));
    // The commands were not disturbed.
    assert_eq!(driver.health().await.reconnects, 0);
    settled(&server, 2).await;
}
