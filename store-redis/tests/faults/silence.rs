//! More calls than a server that hangs will ever answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store_core::{ErrorKind, StoreAdapter};
use tokio::task::JoinSet;

use crate::memory::Baseline;
use crate::process::in_a_process_of_its_own;
use crate::support::{
    CALL_TIMEOUT, at_most, connect, megabytes_at_most, options, recovery, server, settled,
};

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
    let keys: Arc<[String]> = (0..CALLS).map(|id| format!("n:{id}")).collect();
    assert_eq!(driver.get(&keys[0]).await.unwrap(), None);
    server.stop().unwrap();
    let baseline = Baseline::now().unwrap();
    let mut calls = JoinSet::new();
    for id in 0..CALLS {
        let (driver, keys) = (Arc::clone(&driver), Arc::clone(&keys));
        calls.spawn(async move {
            let began = Instant::now();
            let outcome = driver.increment(&keys[id], 1, None).await;
            (id, outcome.unwrap_err().kind(), began.elapsed())
        });
    }
    let (mut indeterminate, mut refused, mut slowest) = (0, Vec::new(), Duration::ZERO);
    while let Some(call) = calls.join_next().await {
        let (id, kind, took) = call.unwrap();
        slowest = slowest.max(took);
        match kind {
            ErrorKind::Indeterminate => indeterminate += 1,
            ErrorKind::Unavailable => refused.push(id),
            kind => panic!("{kind:?}"),
        }
    }
    megabytes_at_most("F13: memory", baseline.peak().unwrap(), 50);
    at_most("F13: the slowest call", slowest, CALL_TIMEOUT);
    assert_eq!(indeterminate + refused.len(), CALLS);
    server.cont().unwrap();
    recovery(&driver).await;
    // The connection that hung is gone, so nothing of what it held is still to come.
    settled(&server, 1).await;
    server.command(&["DEL", "probe"]).unwrap();
    let executed: usize = server.command(&["DBSIZE"]).unwrap().parse().unwrap();
    let count = refused.len();
    println!("F13: {count} refused, {indeterminate} in doubt, {executed} executed");
    assert!(count > 0, "nothing was refused");
    assert!(executed <= indeterminate, "what was refused was executed");
    for some in refused.chunks(1_000) {
        let keys: Vec<&str> = some.iter().map(|id| keys[*id].as_str()).collect();
        let values = driver.get_many(&keys).await.unwrap();
        let done = values.iter().flatten().count();
        assert_eq!(done, 0, "what was refused was executed");
    }
}
