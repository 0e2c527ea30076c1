//! Increments that cannot be: refused by kind, and nothing is changed.

use store_core::{ErrorKind, StoreAdapter, Ttl};

use crate::case::{Case, CaseResult, ensure_eq, ensure_kind, millis};
use crate::handle::Handle;
use crate::laws::kv::{put, put_for};
use crate::laws::ttl::{HOUR, ensure_left};
use crate::model::decimal;
use crate::runner::{Outcome, Run};

/// Expects that an increment is refused with `kind` and leaves value and deadline, with a deadline
/// and without.
async fn refused(
    case: &Case,
    store: &Handle,
    value: &[u8],
    delta: i64,
    kind: ErrorKind,
) -> CaseResult {
    let (eternal, mortal) = (case.key("eternal"), case.key("mortal"));
    put(store, &eternal, value).await?;
    let (written, window) = case
        .timed(millis(HOUR)?, put_for(store, &mortal, value, HOUR))
        .await;
    written?;
    for (key, initial) in [
        (&eternal, None),
        (&eternal, Some(1)),
        (&mortal, None),
        (&mortal, Some(1)),
    ] {
        let initial = initial.map(millis).transpose()?;
        let answer = store.increment(key, delta, initial).await;
        ensure_kind(answer, kind, "an increment that cannot be")?;
        ensure_eq!(
            store.get(key).await?.as_deref(),
            Some(value),
            "the value after a refused increment"
        );
    }
    ensure_eq!(
        store.ttl(&eternal).await?,
        Ttl::Forever,
        "the ttl after a refused increment"
    );
    ensure_left(store, &mortal, &window).await
}

pub(in crate::laws) async fn incr_overflow_changes_nothing(run: Run) -> Outcome {
    let inputs = vec![
        (i64::MAX, 1),
        (i64::MIN, -1),
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN),
        (1, i64::MAX),
        (-2, i64::MIN + 1),
        (-1, i64::MIN),
    ];
    run.for_each(inputs, |case, (start, delta)| async move {
        let store = case.open().await?;
        refused(&case, &store, &decimal(start), delta, ErrorKind::Overflow).await?;
        // Up to the end it counts.
        let key = case.key("edge");
        let edge = if delta > 0 { i64::MAX } else { i64::MIN };
        put(&store, &key, &decimal(edge - delta.signum())).await?;
        let answer = store.increment(&key, delta.signum(), None).await?;
        ensure_eq!(answer, edge, "the last step before the end of i64");
        Ok(())
    })
    .await
}

/// What a parser of another language takes for a number, and this contract does not.
const NO_COUNTERS: &[&[u8]] = &[
    b"",
    b" ",
    b" 5",
    b"5 ",
    b"+5",
    b"05",
    b"-05",
    b"-0",
    b"00",
    b"--5",
    b"-",
    b"+",
    b"5.0",
    b"5.",
    b".5",
    b"1e3",
    b"0x10",
    b"1_000",
    b"1,000",
    b"5\n",
    b"\n5",
    b"5\r\n",
    b"5\0",
    b"\0",
    b"nan",
    b"inf",
    b"null",
    b"true",
    b"abc",
    b"5a",
    b"a5",
    b"\"5\"",
    b"5 5",
    b"5-",
    b"\xff",
    b"\x05\0\0\0\0\0\0\0",
    "\u{665}".as_bytes(),
    "\u{ff15}".as_bytes(),
    "\u{2212}5".as_bytes(),
    b"\xef\xbb\xbf5",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"12345678901234567890",
    b"00000000000000000005",
    b"100000000000000000000000000000000000000000",
];

pub(in crate::laws) async fn incr_non_integer_changes_nothing(run: Run) -> Outcome {
    run.once(|case| async move {
        let store = case.open().await?;
        for value in NO_COUNTERS {
            for delta in [1, 0] {
                refused(&case, &store, value, delta, ErrorKind::WrongType)
                    .await
                    .map_err(|failure| {
                        failure.context(format!("{:?}", value.escape_ascii().to_string()))
                    })?;
            }
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn incr_error_kinds_are_stable(run: Run) -> Outcome {
    run.once(|case| async move {
        let stores = [case.open().await?, case.open().await?];
        let (text, full) = (case.key("text"), case.key("full"));
        put(&stores[0], &text, b"text").await?;
        put(&stores[0], &full, &decimal(i64::MAX)).await?;
        for round in 0..4 {
            for store in &stores {
                let wrong = store.increment(&text, round, None).await;
                ensure_kind(wrong, ErrorKind::WrongType, "increment of text, again")?;
                let over = store.increment(&full, round + 1, None).await;
                ensure_kind(over, ErrorKind::Overflow, "increment over the end, again")?;
                // A refusal must not spoil what comes after it.
                let same = store.increment(&full, 0, None).await?;
                ensure_eq!(same, i64::MAX, "increment by 0 after refusals");
            }
        }
        put(&stores[1], &text, b"1").await?;
        for (store, expected) in stores.iter().zip([2, 3]) {
            let count = store.increment(&text, 1, None).await?;
            ensure_eq!(count, expected, "increment, once the text is a number");
        }
        Ok(())
    })
    .await
}
