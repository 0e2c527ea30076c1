//! More calls than a server that hangs will ever answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store_core::{ErrorKind, StoreAdapter};
use tokio::task::JoinSet;

use crate::memory::Baseline;
use crate::process::in_a_process_of_its_own;
use crate::support::{connect, options, recovery, server, settled};

const CALLS: usize = 50_000;

/// F13
#[test]
fn calls_to_a_server_that_hangs_take_bounded_memory_and_refused_ones_never_happen() {
    in_a_process_of_its_own(
        "silence::calls_to_a_server_that_hangs_take_bounded_memory_and_refused_ones_never_happen",
        async || scenario().await,
    );
}

async fn scenario() {
    let Some(server) = server(&[]) else { return };
    let driver = connect(options(&server)).await;
    assert_eq!(driver.increment("n", 0, None).await.unwrap(), 0);
    server.stop().unwrap();
    let baseline = Baseline::now();
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let driver = Arc::clone(&driver);
        calls.spawn(async move {
            let began = Instant::now();
            let outcome = driver.increment("n", 1, None).await;
            (outcome.unwrap_err().kind(), began.elapsed())
        });
    }
    let (mut indeterminate, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    while let Some(call) = calls.join_next().await {
        let (kind, took) = call.unwrap();
        slowest = slowest.max(took);
        match kind {
            ErrorKind::Indeterminate => indeterminate += 1,
            ErrorKind::Unavailable => refused += 1,
            kind => panic!("{kind:?}"),
        }
    }
    baseline.grew_at_most("F13: memory", 50);
    println!("F13: the slowest call: {} ms", slowest.as_millis());
    assert_eq!(indeterminate + refused, CALLS);
    server.cont().unwrap();
    recovery(&driver).await;
    // The connection that hung is gone, so nothing of what it held is still to come.
    settled(&server, 1).await;
    let executed: usize = server.command(&["GET", "n"]).unwrap().parse().unwrap();
    println!("F13: {refused} refused, {indeterminate} in doubt, {executed} executed");
    assert!(refused > 0, "nothing was refused");
    assert!(executed <= indeterminate, "what was refused was executed");
}
