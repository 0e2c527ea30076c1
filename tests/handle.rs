//! What the handle does itself, the same for every driver; on memory, with the clock paused.
#![cfg(all(feature = "memory", feature = "json"))]

use std::time::Duration;

use igniter_store::{
    Error, ErrorKind, IncrementOptions, MemoryDriver, Result, SetOptions, Store, Ttl,
};
use tokio::time::advance;

fn store() -> Store {
    Store::new(MemoryDriver::new())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn entries_expire_by_advancing_the_clock() -> Result<()> {
    let store = store();
    store.set_with("k", &1, SECOND).await?;
    advance(SECOND - Duration::from_millis(1)).await;
    assert_eq!(store.get("k").await?, Some(1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(store.get::<i32>("k").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_counter_moves_by_what_it_is_told() -> Result<()> {
    let store = store();
    assert_eq!(store.increment("n").await?, 1);
    assert_eq!(store.increment_by("n", 6).await?, 7);
    assert_eq!(store.increment_by("n", -2).await?, 5);
    assert_eq!(store.decrement("n").await?, 4);
    assert_eq!(store.decrement_by("n", 9).await?, -5);
    let three = IncrementOptions::new().by(3);
    assert_eq!(store.increment_with("n", three).await?, -2);
    assert_eq!(store.get("n").await?, Some(-2));
    let error = store.decrement_by("n", i64::MIN).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_counter_has_the_ttl_of_the_call_that_makes_it() -> Result<()> {
    let store = store();
    let options = |ttl| IncrementOptions::new().initial_ttl(ttl);
    assert_eq!(store.increment_with("n", options(SECOND)).await?, 1);
    assert_eq!(store.increment_with("n", options(2 * SECOND)).await?, 2);
    assert_eq!(store.ttl("n").await?, Ttl::Left(SECOND));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_written_over_keeps_its_ttl_where_it_is_told_to() -> Result<()> {
    let store = store();
    let keep = SetOptions::new().keep_ttl();
    store.set_with("k", &1, SECOND).await?;
    assert_eq!(store.replace_with("k", &2, keep).await?, Some(1));
    assert_eq!(store.ttl("k").await?, Ttl::Left(SECOND));
    assert!(store.compare_and_set_with("k", &2, &3, keep).await?);
    assert_eq!(store.ttl("k").await?, Ttl::Left(SECOND));
    store.replace("k", &4).await?;
    assert_eq!(store.ttl("k").await?, Ttl::Forever);
    store.set_with("k", &5, SECOND).await?;
    store.set("k", &6).await?;
    assert_eq!(store.ttl("k").await?, Ttl::Forever);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_or_a_load_writes_has_the_ttl_it_was_told() -> Result<()> {
    let store = store();
    store.set_many_with(&[("a", 1), ("b", 2)], SECOND).await?;
    let load = || async { Ok::<_, Error>(3) };
    assert_eq!(store.get_or_load("c", SECOND, load).await?, 3);
    for key in ["a", "b", "c"] {
        assert_eq!(store.ttl(key).await?, Ttl::Left(SECOND), "{key}");
    }
    store.set_many(&[("a", 1)]).await?;
    assert_eq!(store.ttl("a").await?, Ttl::Forever);
    Ok(())
}

#[tokio::test]
async fn one_bad_value_in_a_batch_hides_no_other() -> Result<()> {
    let store = store();
    store.set_many(&[("a", 1), ("c", 3)]).await?;
    store.set("b", "two").await?;
    let answers = store
        .get_many::<i32>(&["c", "b", "missing", "a", "c"])
        .await?;
    let kinds: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.map_err(|error| (error.kind(), error.key().map(str::to_owned))))
        .collect();
    let bad = (ErrorKind::Decode, Some("b".to_owned()));
    assert_eq!(
        kinds,
        [Ok(Some(3)), Err(bad), Ok(None), Ok(Some(1)), Ok(Some(3))]
    );
    Ok(())
}
