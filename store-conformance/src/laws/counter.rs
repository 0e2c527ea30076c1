//! Counters: integers as decimal text, added to atomically and never wrongly.

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use store_core::{Condition, ErrorKind, Expiry, Store, StoreAdapter, Ttl};

use super::kv::put;
use super::ttl::{HOUR, ensure_left, linger};
use crate::case::{ensure, ensure_eq, ensure_kind, millis};
use crate::model::decimal;
use crate::runner::{Outcome, Run};
use crate::strategies::{count, name};

mod refusals;

pub(super) use refusals::{
    incr_error_kinds_are_stable, incr_non_integer_changes_nothing, incr_overflow_changes_nothing,
};

pub(super) async fn incr_from_absent_is_delta(run: Run) -> Outcome {
    run.for_all((name(), count()), |case, (name, delta)| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        let sum = store.increment(&key, delta, None).await?;
        ensure_eq!(sum, delta, "increment of an absent counter");
        ensure!(
            store.has(&key).await?,
            "an increment must create, also by 0"
        );
        ensure_eq!(
            store.get(&key).await?,
            Some(decimal(delta)),
            "the value of a new counter"
        );
        ensure_eq!(
            store.ttl(&key).await?,
            Ttl::Forever,
            "the ttl of a new counter"
        );
        Ok(())
    })
    .await
}

pub(super) async fn incr_sums(run: Run) -> Outcome {
    let deltas = vec((0_usize..2, count()), 1..20);
    run.for_all(deltas, |case, deltas| async move {
        let stores = [case.open().await?, case.open().await?];
        let key = case.key("count");
        let mut sum: Option<i64> = None;
        for (handle, delta) in deltas {
            let answer = stores[handle].increment(&key, delta, None).await;
            match sum.unwrap_or(0).checked_add(delta) {
                None => ensure_kind(answer, ErrorKind::Overflow, "a sum outside of i64")?,
                Some(expected) => {
                    ensure_eq!(answer?, expected, "the answer of increment");
                    sum = Some(expected);
                }
            }
            ensure_eq!(
                stores[handle].get(&key).await?,
                sum.map(decimal),
                "the counter"
            );
        }
        Ok(())
    })
    .await
}

pub(super) async fn decr_is_negative_incr(run: Run) -> Outcome {
    run.for_all((count(), count()), |case, (start, by)| async move {
        let handle = case.open().await?;
        let key = case.key("count");
        put(&handle, &key, &decimal(start)).await?;
        let store = Store::from_adapter(handle.clone());
        let answer = store.decrement_by(&key, by).await;
        // i64::MIN has no negative, so taking it away is an overflow wherever it leads.
        let expected = by.checked_neg().and_then(|delta| start.checked_add(delta));
        match expected {
            None => ensure_kind(answer, ErrorKind::Overflow, "a difference outside of i64")?,
            Some(difference) => ensure_eq!(answer?, difference, "the answer of decrement_by"),
        }
        ensure_eq!(
            handle.get(&key).await?,
            Some(decimal(expected.unwrap_or(start))),
            "the counter after the decrement"
        );
        let absent = case.key("absent");
        ensure_eq!(
            store.decrement(&absent).await?,
            -1,
            "decrement of an absent counter"
        );
        ensure_eq!(
            handle.get(&absent).await?,
            Some(decimal(-1)),
            "an absent counter after decrement"
        );
        // The smallest of all has no negative, and is a delta like others.
        let least = case.key("least");
        ensure_eq!(
            handle.increment(&least, i64::MIN, None).await?,
            i64::MIN,
            "increment by i64::MIN"
        );
        let again = handle.increment(&least, i64::MIN, None).await;
        ensure_kind(again, ErrorKind::Overflow, "a second increment by i64::MIN")?;
        let back = handle.increment(&least, i64::MAX, None).await?;
        ensure_eq!(back, -1, "increment by i64::MAX after i64::MIN");
        Ok(())
    })
    .await
}

pub(super) async fn incr_reads_back_as_decimal(run: Run) -> Outcome {
    run.for_all(
        (name(), count(), count()),
        |case, (name, first, second)| async move {
            let store = case.open().await?;
            let key = case.key(&name);
            store.increment(&key, first, None).await?;
            // Past either end it is refused, and stays.
            let answer = store.increment(&key, second, None).await;
            let sum = first.checked_add(second).unwrap_or(first);
            ensure_eq!(answer.unwrap_or(first), sum, "the answer of increment");
            let decimal_sum = decimal(sum);
            let text = Some(decimal_sum.clone());
            ensure_eq!(store.get(&key).await?, text, "get of a counter");
            ensure_eq!(
                store.get_many(&[&key]).await?,
                vec![text.clone()],
                "get_many of a counter"
            );
            let equal = Condition::IfEquals(&decimal_sum);
            let set = store.set(&key, &decimal_sum, Expiry::Keep, equal);
            ensure!(
                set.await?,
                "a counter must equal its decimal text in a condition"
            );
            ensure_eq!(store.take(&key).await?, text, "take of a counter");
            Ok(())
        },
    )
    .await
}

pub(super) async fn incr_accepts_decimal_set(run: Run) -> Outcome {
    let inputs = (name(), count(), count());
    run.for_all(inputs, |case, (name, start, delta)| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        put(&store, &key, &decimal(start)).await?;
        let answer = store.increment(&key, delta, None).await;
        match start.checked_add(delta) {
            None => ensure_kind(answer, ErrorKind::Overflow, "a sum outside of i64"),
            Some(sum) => {
                ensure_eq!(answer?, sum, "increment of a counter that was set");
                ensure_eq!(store.get(&key).await?, Some(decimal(sum)), "the counter");
                // The other ways to write are as good.
                store.replace(&key, b"41", Expiry::Never).await?;
                let count = store.increment(&key, 1, None).await?;
                ensure_eq!(count, 42, "increment of a counter that replace wrote");
                store.set_many(&[(&key, b"-1")], None).await?;
                let count = store.increment(&key, 1, None).await?;
                ensure_eq!(count, 0, "increment of a counter that set_many wrote");
                Ok(())
            }
        }
    })
    .await
}

pub(super) async fn incr_initial_ttl_sets_once(run: Run) -> Outcome {
    run.for_each(vec![1_i64, 0, -7], |case, delta| async move {
        let store = case.open().await?;
        let key = case.key("count");
        let (hour, day) = (millis(HOUR)?, millis(24 * HOUR)?);
        let (count, window) = case
            .timed(hour, store.increment(&key, delta, Some(hour)))
            .await;
        ensure_eq!(count?, delta, "increment with an initial ttl");
        ensure_left(&store, &key, &window).await?;
        for later in [Some(day), Some(millis(1)?), None] {
            linger(&case).await;
            store.increment(&key, delta, later).await?;
            ensure_left(&store, &key, &window).await?;
        }
        let eternal = case.key("eternal");
        store.increment(&eternal, delta, None).await?;
        store.increment(&eternal, delta, Some(hour)).await?;
        ensure_eq!(
            store.ttl(&eternal).await?,
            Ttl::Forever,
            "the ttl of a counter that was there without one"
        );
        // After its end the counter starts anew, with a new ttl.
        let short = case.key("short");
        let brief = millis(20)?;
        let (count, brief_window) = case
            .timed(brief, store.increment(&short, 5, Some(brief)))
            .await;
        count?;
        case.pass_window(&brief_window).await;
        let (count, window) = case
            .timed(hour, store.increment(&short, delta, Some(hour)))
            .await;
        ensure_eq!(count?, delta, "increment of an expired counter");
        ensure_left(&store, &short, &window).await
    })
    .await
}

pub(super) async fn counter_survives_delete(run: Run) -> Outcome {
    let inputs = (
        name(),
        count().prop_filter("no zero", |count| *count != 0),
        any::<u8>(),
    );
    run.for_all(inputs, |case, (name, first, way)| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        let text = decimal(first);
        store.increment(&key, first, Some(millis(HOUR)?)).await?;
        ensure!(store.has(&key).await?, "has must see a counter");
        // A counter is a value like others, so whatever removes a value removes it.
        match way % 4 {
            0 => ensure!(store.delete(&key).await?, "delete must see a counter"),
            1 => ensure_eq!(
                store.delete_many(&[&key]).await?,
                1,
                "delete_many of a counter"
            ),
            2 => ensure_eq!(store.take(&key).await?, Some(text), "take of a counter"),
            _ => ensure!(
                store.compare_and_delete(&key, &text).await?,
                "compare_and_delete must see a counter"
            ),
        }
        ensure_eq!(store.get(&key).await?, None, "get of a deleted counter");
        let again = store.increment(&key, 3, None).await?;
        ensure_eq!(again, 3, "increment of a deleted counter");
        ensure_eq!(
            store.ttl(&key).await?,
            Ttl::Forever,
            "the ttl of the new counter, where the deleted one had one"
        );
        put(&store, &key, b"text").await?;
        let answer = store.increment(&key, 1, None).await;
        ensure_kind(
            answer,
            ErrorKind::WrongType,
            "increment, after set wrote text",
        )?;
        ensure!(
            store.expire(&key, millis(HOUR)?).await?,
            "expire must see the key"
        );
        Ok(())
    })
    .await
}
