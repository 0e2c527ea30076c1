//! Checks the driver that fails on purpose.

use std::time::Duration;

use futures_util::StreamExt;
use store_conformance::chaos::Chaos;
use store_conformance::linearizability::{Call, History};
use store_conformance::reference::ReferenceDriver;
use store_core::{Bytes, ErrorKind, RawEvent, StoreAdapter};
use tokio::time::Instant;

fn chaos(seed: u64) -> Chaos<ReferenceDriver> {
    Chaos::new(ReferenceDriver::new(), seed)
}

async fn fates(driver: &Chaos<ReferenceDriver>) -> Vec<Option<ErrorKind>> {
    let mut fates = Vec::new();
    for _ in 0..500 {
        let fate = driver.increment("n", 1, None).await;
        fates.push(fate.err().map(|error| error.kind()));
    }
    fates
}

#[tokio::test]
async fn the_seed_decides_every_fate() {
    let driver = |seed| {
        chaos(seed)
            .unavailable(200)
            .answer_lost(200)
            .request_lost(100)
    };
    let first = fates(&driver(1)).await;
    assert_eq!(first, fates(&driver(1)).await);
    assert_ne!(first, fates(&driver(2)).await);
    let share = |kind| first.iter().filter(|fate| **fate == kind).count();
    assert!((60..140).contains(&share(Some(ErrorKind::Unavailable))));
    assert!((100..200).contains(&share(Some(ErrorKind::Indeterminate))));
}

#[tokio::test]
async fn each_fault_does_what_its_error_says() {
    for (driver, kind, applied) in [
        (chaos(1).unavailable(1_000), ErrorKind::Unavailable, false),
        (
            chaos(1).request_lost(1_000),
            ErrorKind::Indeterminate,
            false,
        ),
        (chaos(1).answer_lost(1_000), ErrorKind::Indeterminate, true),
    ] {
        let error = driver.increment("n", 1, None).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(driver.control().faults(), 1);
        driver.control().pause();
        assert_eq!(driver.has("n").await.unwrap(), applied);
        driver.control().resume();
        assert!(driver.get("n").await.is_err());
        assert!(driver.health().await.is_up());
    }
}

#[tokio::test]
async fn histories_under_chaos_are_explained() {
    let driver = chaos(3).unavailable(200).answer_lost(200).request_lost(200);
    let history = History::new();
    for step in 0..60 {
        let call = match step % 4 {
            0 => Call::Increment(1),
            1 => Call::Get,
            2 => Call::Take,
            _ => Call::SetIfAbsent(Bytes::from_static(b"7")),
        };
        let _ = history.run(&driver, "k", call).await;
    }
    history.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn delays_pass_on_the_clock_of_tokio() {
    let driver = chaos(4).delayed(500, Duration::from_secs(10));
    let mut delays = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        driver.get("k").await.unwrap();
        delays.push(begun.elapsed());
    }
    let delayed = delays.iter().filter(|delay| !delay.is_zero()).count();
    assert!((60..140).contains(&delayed), "{delayed}");
    assert!(
        delays
            .iter()
            .all(|delay| *delay <= Duration::from_millis(10_001))
    );
    assert!(delays.iter().any(|delay| *delay > Duration::from_secs(5)));
}

#[tokio::test]
async fn a_lost_message_leaves_a_gap_in_its_place() {
    let driver = chaos(5).message_lost(300);
    let mut exact = driver.subscribe("c").await.unwrap();
    let patterns = driver.as_patterns().unwrap();
    let mut pattern = patterns.subscribe_pattern("c*").await.unwrap();
    for number in 0..200_u8 {
        driver.publish("c", &[number]).await.unwrap();
    }
    for subscription in [&mut exact, &mut pattern] {
        let mut lost = 0;
        for number in 0..200_u8 {
            match subscription.next().await.unwrap() {
                RawEvent::Message { message, .. } => assert_eq!(message[..], [number]),
                RawEvent::Gap(gap) => {
                    assert_eq!(gap.missed, Some(1));
                    lost += 1;
                }
            }
        }
        assert!((30..90).contains(&lost), "{lost}");
    }
}
