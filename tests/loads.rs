//! Values that are loaded where they are missing.
#![cfg(all(feature = "memory", feature = "json"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use igniter_store::{Error, ErrorKind, MemoryDriver, Result, Store};
use tokio::time::timeout;

fn store() -> Store {
    Store::new(MemoryDriver::new())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_thousand_cold_callers_load_once() -> Result<()> {
    let store = store();
    let loads = Arc::new(AtomicUsize::new(0));
    let callers = (0..1_000).map(|_| {
        let (store, loads) = (store.clone(), Arc::clone(&loads));
        tokio::spawn(async move {
            store
                .get_or_load("k", SECOND, || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Error>("loaded".to_owned())
                })
                .await
        })
    });
    for answer in futures_util::future::join_all(callers).await {
        assert_eq!(answer.unwrap()?, "loaded");
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn a_load_that_fails_or_is_dropped_lets_the_next_caller_load() -> Result<()> {
    let store = store();
    let failed = store
        .get_or_load("k", SECOND, || async { Err::<i32, _>(Error::closed()) })
        .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Closed);
    let mut never = Box::pin(store.get_or_load("k", SECOND, || async {
        std::future::pending::<Result<i32, Error>>().await
    }));
    assert!((&mut never).now_or_never().is_none());
    let mut second = Box::pin(store.get_or_load("k", SECOND, || async { Ok::<_, Error>(2) }));
    assert!((&mut second).now_or_never().is_none());
    drop(never);
    assert_eq!(second.await?, 2);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_not_loaded() -> Result<()> {
    let store = store();
    store.close().await?;
    let load = || async { Err::<i32, _>(Error::new(ErrorKind::Overflow, "it was loaded")) };
    let error = store.get_or_load("k", SECOND, load).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_load_in_one_scope_is_not_waited_for_in_another() -> Result<()> {
    let root = store();
    let (first, second) = (root.scope("o", "1"), root.scope("o", "2"));
    let mut never = Box::pin(first.get_or_load("k", SECOND, || async {
        std::future::pending::<Result<i32, Error>>().await
    }));
    assert!((&mut never).now_or_never().is_none());
    let load = || async { Ok::<_, Error>(2) };
    // With a clock that is paused this ends as soon as nobody has anything to do.
    let answer = timeout(SECOND, second.get_or_load("k", SECOND, load)).await;
    assert_eq!(answer.expect("it loads its own")?, 2);
    Ok(())
}

#[tokio::test]
async fn an_undecodable_value_is_loaded_again() -> Result<()> {
    let store = store();
    store.set("k", "an older format").await?;
    let load = || async { Ok::<_, Error>(2) };
    assert_eq!(store.get_or_load("k", SECOND, load).await?, 2);
    assert_eq!(store.get("k").await?, Some(2));
    Ok(())
}
