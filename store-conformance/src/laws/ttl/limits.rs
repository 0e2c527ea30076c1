//! The shortest and the longest ttl, and what is outside of both.

use super::*;
use crate::case::ensure_kind;
use store_core::{IncrementOptions, SetOptions};

/// Gives keys `ttl` in every way that a user has; answers each way with its answer.
async fn every_way(store: &Store, key: &str, ttl: Duration) -> Vec<(&'static str, Result<()>)> {
    let value = 7_i64;
    let options = SetOptions::new().ttl(ttl);
    let increment = IncrementOptions::new().initial_ttl(ttl);
    vec![
        ("set_with", store.set_with(key, &value, ttl).await.map(drop)),
        (
            "set_with if_absent",
            store
                .set_with(key, &value, options.if_absent())
                .await
                .map(drop),
        ),
        (
            "set_with if_present",
            store
                .set_with(key, &value, options.if_present())
                .await
                .map(drop),
        ),
        (
            "set_many_with",
            store.set_many_with(&[(key, value)], ttl).await,
        ),
        (
            "increment_with",
            store.increment_with(key, increment).await.map(drop),
        ),
        ("expire", store.expire(key, ttl).await.map(drop)),
        (
            "replace_with",
            store.replace_with(key, &value, ttl).await.map(drop),
        ),
        (
            "compare_and_set_with",
            store
                .compare_and_set_with(key, &value, &value, ttl)
                .await
                .map(drop),
        ),
    ]
}

async fn refused_everywhere(case: &Case, ttl: Duration) -> CaseResult {
    let handle = case.open().await?;
    let store = Store::from_adapter(handle.clone());
    let (absent, eternal, mortal) = (case.key("absent"), case.key("eternal"), case.key("mortal"));
    put(&handle, &eternal, b"7").await?;
    let (written, window) = case
        .timed(millis(HOUR)?, put_for(&handle, &mortal, b"7", HOUR))
        .await;
    written?;
    for key in [&absent, &eternal, &mortal] {
        for (way, answer) in every_way(&store, key, ttl).await {
            ensure_kind(
                answer,
                ErrorKind::InvalidInput,
                &format!("{way} with {ttl:?}"),
            )?;
        }
    }
    ensure!(
        !handle.has(&absent).await?,
        "a refused ttl must create nothing"
    );
    ensure_eq!(
        handle.get(&eternal).await?.as_deref(),
        Some(&b"7"[..]),
        "the value after a refused ttl"
    );
    ensure_eq!(
        handle.ttl(&eternal).await?,
        Ttl::Forever,
        "the ttl after a refused one"
    );
    ensure_left(&handle, &mortal, &window).await
}

pub(in crate::laws) async fn zero_ttl_rule(run: Run) -> Outcome {
    run.once(|case| async move { refused_everywhere(&case, Duration::ZERO).await })
        .await
}

pub(in crate::laws) async fn tiny_ttl_is_never_forever(run: Run) -> Outcome {
    let nanos = proptest::prop_oneof![
        1 => select(&[1_u64, 999, 1_000, 1_001, 999_999, 1_000_000][..]),
        1 => 1_u64..=1_000_000,
    ];
    run.for_all((entry(), nanos), |case, (entry, nanos)| async move {
        let store = case.open().await?;
        let key = case.key("tiny");
        // Rounded up to a millisecond, as the handle does.
        let ttl = TtlMillis::new(Duration::from_nanos(nanos))?;
        let window = entry.give(&case, &store, &key, ttl).await?;
        let left = store.ttl(&key).await?;
        ensure!(
            left != Ttl::Forever,
            "a ttl of {nanos} ns must not become none at all"
        );
        case.pass_window(&window).await;
        ensure_eq!(
            store.get(&key).await?,
            None,
            "get after a ttl of {nanos} ns is over"
        );
        let typed = Store::from_adapter(store.clone());
        typed
            .set_with(&key, &7, Duration::from_nanos(nanos))
            .await?;
        let left = store.ttl(&key).await?;
        ensure!(
            left != Ttl::Forever,
            "a ttl of {nanos} ns, given to the handle, must not become none at all"
        );
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn huge_ttl_is_safe(run: Run) -> Outcome {
    /// A driver must take at least this much: about 139 years.
    const EVERY_DRIVER: u64 = 1 << 42;
    let ttl = proptest::prop_oneof![
        3 => select(&[
            (1_u64 << 31) - 1,
            1 << 31,
            (1 << 32) - 1,
            1 << 32,
            (1 << 32) + 1,
            // In seconds these leave 32 bits.
            ((1 << 31) + 1) * 1_000,
            ((1 << 32) + 1) * 1_000,
            EVERY_DRIVER,
            (1 << 53) + 1,
            // In microseconds and nanoseconds these leave 63 and 64 bits.
            i64::MAX as u64 / 1_000_000 + 1,
            u64::MAX / 1_000_000 + 1,
            i64::MAX as u64 / 1_000 + 1,
            (1 << 62) - 1,
            1 << 62,
        ][..]),
        1 => (32_u32..62, 0_u64..1_000).prop_map(|(bits, more)| (1 << bits) + more),
    ];
    run.for_all((entry(), ttl), |case, (entry, ttl)| async move {
        for outside in [
            TtlMillis::MAX + Duration::from_nanos(1),
            Duration::from_millis(i64::MAX as u64),
            Duration::from_millis(u64::MAX),
            Duration::MAX,
        ] {
            ensure!(
                TtlMillis::new(outside).is_err(),
                "{outside:?} must be refused"
            );
        }
        let store = case.open().await?;
        let key = case.key("old");
        let begun = Instant::now();
        let given = entry.give_untimed(&store, &key, millis(ttl)?).await;
        match given {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::InvalidInput && ttl > EVERY_DRIVER => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        ensure!(
            store.get(&key).await?.is_some(),
            "a ttl of {ttl} ms must not be over yet"
        );
        let Ttl::Left(left) = store.ttl(&key).await? else {
            return Err(crate::case::Failure::new(format!(
                "a ttl of {ttl} ms must be read back as one"
            )));
        };
        let (given, grain) = (Duration::from_millis(ttl), case.clock().grain());
        let late = begun.elapsed() + grain;
        ensure!(
            left <= given + grain && left + late >= given,
            "a ttl of {given:?} was read back as {left:?}"
        );
        Ok(())
    })
    .await
}
