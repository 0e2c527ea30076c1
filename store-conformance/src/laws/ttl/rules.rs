//! What each write does to a deadline that is there.

use super::*;
use crate::case::ensure_kind;
use crate::model::decimal;
use crate::strategies::count;

/// The writes of a key that holds `old`, each by a text that says which.
const REWRITES: &[&str] = &["set", "if present", "if equals", "replace"];

/// Writes `new` over `old` in one of the ways above.
async fn rewrite(store: &Handle, way: &str, key: &str, expiry: Expiry) -> CaseResult {
    let written = match way {
        "set" => store.set(key, b"new", expiry, Condition::Always).await?,
        "if present" => store.set(key, b"new", expiry, Condition::IfPresent).await?,
        "if equals" => {
            let condition = Condition::IfEquals(b"old");
            store.set(key, b"new", expiry, condition).await?
        }
        _ => store.replace(key, b"new", expiry).await?.as_deref() == Some(b"old"),
    };
    ensure!(written, "{way}: the write must win");
    ensure_eq!(
        store.get(key).await?.as_deref(),
        Some(&b"new"[..]),
        "the value after {way}"
    );
    Ok(())
}

/// Writes `old` with an hour to live; answers when that ends.
async fn mortal(case: &Case, store: &Handle, key: &str) -> CaseResult<Window> {
    let (written, window) = case
        .timed(millis(HOUR)?, put_for(store, key, b"old", HOUR))
        .await;
    written?;
    Ok(window)
}

pub(in crate::laws) async fn set_clears_ttl(run: Run) -> Outcome {
    run.for_each(REWRITES.to_vec(), |case, way| async move {
        let store = case.open().await?;
        let key = case.key("k");
        mortal(&case, &store, &key).await?;
        rewrite(&store, way, &key, Expiry::Never).await?;
        ensure_eq!(
            store.ttl(&key).await?,
            Ttl::Forever,
            "the ttl after a write without one"
        );
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn set_many_clears_ttl(run: Run) -> Outcome {
    run.once(|case| async move {
        let store = case.open().await?;
        let [first, second] = [case.key("first"), case.key("second")];
        mortal(&case, &store, &first).await?;
        store
            .set_many(&[(&first, b"a"), (&second, b"b")], None)
            .await?;
        for key in [&first, &second] {
            ensure_eq!(
                store.ttl(key).await?,
                Ttl::Forever,
                "the ttl after set_many without one"
            );
        }
        // And with one, every entry has it, whatever it had before.
        let day = millis(24 * HOUR)?;
        mortal(&case, &store, &first).await?;
        let entries: [(&str, &[u8]); 2] = [(&first, b"a"), (&second, b"b")];
        let (written, window) = case.timed(day, store.set_many(&entries, Some(day))).await;
        written?;
        for key in [&first, &second] {
            ensure_left(&store, key, &window).await?;
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn set_with_ttl_replaces_ttl(run: Run) -> Outcome {
    let inputs = (select(REWRITES), long_ttl(), long_ttl());
    run.for_all(inputs, |case, (way, first, second)| async move {
        let store = case.open().await?;
        for (number, (old, new)) in [(first, second), (second, first)].into_iter().enumerate() {
            let key = case.key(&format!("k{number}"));
            put_for(&store, &key, b"old", old).await?;
            let ttl = millis(new)?;
            let call = rewrite(&store, way, &key, Expiry::After(ttl));
            let (written, window) = case.timed(ttl, call).await;
            written?;
            ensure_left(&store, &key, &window).await?;
            // So does `expire`, also to a shorter life.
            let (touched, window) = case
                .timed(millis(old)?, store.expire(&key, millis(old)?))
                .await;
            ensure!(touched?, "expire of a live key must answer true");
            ensure_left(&store, &key, &window).await?;
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn keep_ttl_keeps(run: Run) -> Outcome {
    run.for_each(REWRITES.to_vec(), |case, way| async move {
        let store = case.open().await?;
        let [key, eternal, absent] = [case.key("k"), case.key("eternal"), case.key("absent")];
        let window = mortal(&case, &store, &key).await?;
        linger(&case).await;
        rewrite(&store, way, &key, Expiry::Keep).await?;
        ensure_left(&store, &key, &window).await?;
        put(&store, &eternal, b"old").await?;
        rewrite(&store, way, &eternal, Expiry::Keep).await?;
        ensure_eq!(
            store.ttl(&eternal).await?,
            Ttl::Forever,
            "the ttl that was kept of a key without one"
        );
        let set = store.set(&absent, b"new", Expiry::Keep, Condition::IfAbsent);
        ensure!(set.await?, "a set of an absent key must write");
        ensure_eq!(
            store.ttl(&absent).await?,
            Ttl::Forever,
            "the ttl that was kept of an absent key"
        );
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn incr_keeps_ttl(run: Run) -> Outcome {
    let start = proptest::option::of(count());
    run.for_all((start, count()), |case, (start, delta)| async move {
        let store = case.open().await?;
        let (key, eternal) = (case.key("mortal"), case.key("eternal"));
        // Without a start it is text, and every increment is refused.
        let value = start.map_or_else(|| "text".into(), decimal);
        let (written, window) = case
            .timed(millis(HOUR)?, put_for(&store, &key, &value, HOUR))
            .await;
        written?;
        put(&store, &eternal, &value).await?;
        linger(&case).await;
        for key in [&key, &eternal] {
            let answer = store.increment(key, delta, None).await;
            match (start, start.and_then(|start| start.checked_add(delta))) {
                (None, _) => ensure_kind(answer, ErrorKind::WrongType, "increment of text")?,
                (_, None) => ensure_kind(answer, ErrorKind::Overflow, "increment over the end")?,
                (_, Some(sum)) => ensure_eq!(answer?, sum, "increment"),
            }
        }
        ensure_eq!(
            store.ttl(&eternal).await?,
            Ttl::Forever,
            "the ttl of a counter without one, after an increment"
        );
        ensure_left(&store, &key, &window).await
    })
    .await
}

pub(in crate::laws) async fn failed_condition_keeps_ttl(run: Run) -> Outcome {
    let expiries = vec!["never", "a day", "a millisecond", "keep"];
    run.for_each(expiries, |case, name| async move {
        let expiry = match name {
            "never" => Expiry::Never,
            "a day" => Expiry::After(millis(24 * HOUR)?),
            "a millisecond" => Expiry::After(millis(1)?),
            _ => Expiry::Keep,
        };
        let store = case.open().await?;
        let [key, eternal, absent] = [case.key("k"), case.key("eternal"), case.key("absent")];
        let window = mortal(&case, &store, &key).await?;
        put(&store, &eternal, b"old").await?;
        linger(&case).await;
        for key in [&key, &eternal] {
            for condition in [Condition::IfAbsent, Condition::IfEquals(b"other")] {
                let set = store.set(key, b"new", expiry, condition).await?;
                ensure!(!set, "{condition:?} must not hold");
            }
            ensure!(
                !store.compare_and_delete(key, b"other").await?,
                "a comparison with another value must not hold"
            );
            ensure_eq!(
                store.get(key).await?.as_deref(),
                Some(&b"old"[..]),
                "the value after failed conditions"
            );
        }
        for condition in [Condition::IfPresent, Condition::IfEquals(b"")] {
            let set = store.set(&absent, b"new", expiry, condition).await?;
            ensure!(!set, "{condition:?} must not hold for an absent key");
        }
        ensure_eq!(
            store.ttl(&absent).await?,
            Ttl::Missing,
            "an absent key after failed conditions"
        );
        ensure_eq!(
            store.ttl(&eternal).await?,
            Ttl::Forever,
            "the ttl of a key without one, after failed conditions"
        );
        ensure_left(&store, &key, &window).await
    })
    .await
}

pub(in crate::laws) async fn condition_ttl_rule(run: Run) -> Outcome {
    let ways = vec!["if absent", "if present", "if equals"];
    run.for_each(ways, |case, way| async move {
        let store = case.open().await?;
        let condition = match way {
            "if absent" => Condition::IfAbsent,
            "if present" => Condition::IfPresent,
            _ => Condition::IfEquals(b"old"),
        };
        let absent = way == "if absent";
        for before in ["without ttl", "with ttl"] {
            if absent && before == "with ttl" {
                continue;
            }
            for after in ["never", "keep", "a day"] {
                let key = case.key(&format!("{before} {after}"));
                let mut kept = None;
                match before {
                    _ if absent => {}
                    "with ttl" => kept = Some(mortal(&case, &store, &key).await?),
                    _ => put(&store, &key, b"old").await?,
                }
                let day = millis(24 * HOUR)?;
                if kept.is_some() && after == "keep" {
                    linger(&case).await;
                }
                let expiry = match after {
                    "never" => Expiry::Never,
                    "keep" => Expiry::Keep,
                    _ => Expiry::After(day),
                };
                let set = store.set(&key, b"new", expiry, condition);
                let (written, window) = case.timed(day, set).await;
                ensure!(written?, "{way} must hold");
                match (after, kept) {
                    ("a day", _) => ensure_left(&store, &key, &window).await?,
                    ("keep", Some(kept)) => ensure_left(&store, &key, &kept).await?,
                    _ => ensure_eq!(
                        store.ttl(&key).await?,
                        Ttl::Forever,
                        "the ttl after {way} {before}, {after}"
                    ),
                }
            }
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn expire_missing_is_false(run: Run) -> Outcome {
    run.once(|case| async move {
        let store = case.open().await?;
        let [never, deleted, taken] = [case.key("never"), case.key("deleted"), case.key("taken")];
        for key in [&deleted, &taken] {
            put(&store, key, b"v").await?;
        }
        store.delete(&deleted).await?;
        store.take(&taken).await?;
        for key in [&never, &deleted, &taken] {
            for ttl in [1, HOUR] {
                ensure!(
                    !store.expire(key, millis(ttl)?).await?,
                    "expire of a missing key must answer false"
                );
            }
            ensure!(!store.has(key).await?, "expire must not create");
            ensure_eq!(store.ttl(key).await?, Ttl::Missing, "the ttl afterwards");
            // And it leaves nothing behind that meets a later value.
            put(&store, key, b"later").await?;
            ensure_eq!(
                store.ttl(key).await?,
                Ttl::Forever,
                "the ttl of a value that came after an expire of nothing"
            );
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn persist_rule(run: Run) -> Outcome {
    run.for_each(Entry::ALL.to_vec(), |case, entry| async move {
        let store = case.open().await?;
        let (key, missing) = (case.key("k"), case.key("missing"));
        ensure!(
            !store.persist(&missing).await?,
            "persist of a missing key must answer false"
        );
        ensure!(!store.has(&missing).await?, "persist must not create");
        let brief = entry.give(&case, &store, &key, millis(HOUR)?).await?;
        ensure_left(&store, &key, &brief).await?;
        ensure!(
            store.persist(&key).await?,
            "persist of a key with a deadline must answer true"
        );
        ensure_eq!(
            store.ttl(&key).await?,
            Ttl::Forever,
            "the ttl after persist"
        );
        ensure!(
            !store.persist(&key).await?,
            "persist of a key without a deadline must answer false"
        );
        ensure_eq!(
            store.get(&key).await?.as_deref(),
            Some(&b"7"[..]),
            "the value after persist"
        );
        // What was persisted lives on after its deadline.
        let short = case.key("short");
        let window = entry.give(&case, &store, &short, millis(60)?).await?;
        let in_time = store.persist(&short).await?;
        case.pass_window(&window).await;
        ensure_eq!(
            store.has(&short).await?,
            in_time,
            "has, after the deadline that persist removed"
        );
        Ok(())
    })
    .await
}
