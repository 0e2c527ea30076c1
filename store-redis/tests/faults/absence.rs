//! A server that is down for long.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use store_core::{ErrorKind, StoreAdapter};
use store_redis::Credentials;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::memory::Baseline;
use crate::process::in_a_process_of_its_own;
use crate::support::{
    CALL_TIMEOUT, at_most, connect, megabytes_at_most, options, recovery, server, until,
};

const DOWN: Duration = Duration::from_secs(30);
const CALLS_A_SECOND: u32 = 1000;
/// What the wait between two attempts is below.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// F6
#[test]
fn calls_to_a_server_that_is_down_end_in_time_and_pile_up_nowhere() {
    in_a_process_of_its_own(
        "absence::calls_to_a_server_that_is_down_end_in_time_and_pile_up_nowhere",
        async || scenario().await,
    );
}

async fn scenario() {
    let Some(server) = server(&[]) else { return };
    let attempts: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = Arc::clone(&attempts);
    // The provider is asked at each attempt to connect, which shows when they are.
    let options = options(&server).credentials_provider(move || {
        noted.lock().unwrap().push(Instant::now());
        async { Ok(Credentials::new("default", "any")) }
    });
    let driver = connect(options).await;
    assert_eq!(driver.increment("n", 1, None).await.unwrap(), 1);
    let baseline = Baseline::now().unwrap();
    server.kill9();
    let began = Instant::now();
    until("at least two attempts", || {
        attempts.lock().unwrap().len() > 2
    })
    .await;
    let mut calls = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CALLS_A_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut slowest = Duration::ZERO;
    let mut ended = 0;
    let mut check = |took: Duration| {
        slowest = slowest.max(took);
        ended += 1;
    };
    while began.elapsed() < DOWN {
        ticks.tick().await;
        let driver = Arc::clone(&driver);
        calls.spawn(async move {
            let began = Instant::now();
            let error = driver.increment("n", 1, None).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            began.elapsed()
        });
        while let Some(call) = calls.try_join_next() {
            check(call.unwrap());
        }
    }
    while let Some(call) = calls.join_next().await {
        check(call.unwrap());
    }
    at_most("F6: the slowest call", slowest, CALL_TIMEOUT);
    println!("F6: {ended} calls were refused");
    megabytes_at_most("F6: memory", baseline.peak().unwrap(), 20);
    waits_differ(&attempts.lock().unwrap());
    let restarted = Instant::now();
    server.restart().unwrap();
    recovery(&driver).await;
    at_most("F6: recovery", restarted.elapsed(), LONGEST_WAIT);
    // The server kept nothing, so what it counts now was sent after the restart.
    assert_eq!(driver.increment("n", 0, None).await.unwrap(), 0);
}

/// Checks that the waits between attempts grow to the longest one and are evenly spread.
fn waits_differ(attempts: &[Instant]) {
    let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The first ones are still growing.
    let waits = &waits[10..];
    let share = |below: Duration| {
        let shorter = waits.iter().filter(|wait| **wait < below).count();
        shorter as f64 / waits.len() as f64
    };
    let half = share(LONGEST_WAIT / 2);
    println!(
        "F6: {} attempts, {:.0} % of the waits below half of {LONGEST_WAIT:?}, longest {:.0?}",
        attempts.len(),
        half * 100.0,
        waits.iter().max().unwrap()
    );
    // Chance alone puts fewer than 5 of about 50 waits on one side once in 10^8 times.
    assert!(waits.len() >= 25, "only {} waits", waits.len());
    assert!((0.1..=0.9).contains(&half), "the waits are all alike");
    at_most(
        "F6: the longest wait",
        *waits.iter().max().unwrap(),
        LONGEST_WAIT,
    );
}
