//! Deadlines that come early, late, never, or to the wrong entry.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Result, StoreAdapter, Ttl, TtlMillis,
};
use tokio::time::Instant;

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    set_keeps_the_deadline: "a set without ttl keeps the old deadline",
        ["ttl::set_clears_ttl"], SetKeeps::default();
    set_many_keeps_the_deadline: "set_many without ttl keeps the old deadlines",
        ["ttl::set_many_clears_ttl"], SetManyKeeps::default();
    set_many_ignores_the_ttl: "set_many ignores its ttl",
        ["ttl::set_many_clears_ttl"], SetManyIgnores::default();
    tiny_ttl_is_none: "a ttl of one millisecond is none",
        ["ttl::tiny_ttl_is_never_forever"], Changed { map: |ttl| (ttl > 1).then_some(ttl) };
    seconds_rounded_down: "ttls are floored to seconds, so 400 ms is for ever",
        ["ttl::ttl_reports", "ttl::tiny_ttl_is_never_forever"], Changed { map: |ttl| Some(ttl / 1_000 * 1_000).filter(|ttl| *ttl > 0) };
    seconds_rounded_up: "ttls are rounded up to seconds",
        ["ttl::expires_within_window"], Changed { map: |ttl| Some(ttl.div_ceil(1_000) * 1_000) };
    ttl_in_32_bits: "ttls are cast to 32 bits of milliseconds",
        ["ttl::huge_ttl_is_safe"], Changed { map: |ttl| Some((ttl as u32).max(1).into()) };
    ttl_in_53_bits: "a ttl beyond 2^53 ms is cut to a year",
        ["ttl::huge_ttl_is_safe"], Changed { map: |ttl| Some(if ttl > 1 << 53 { 31_536_000_000 } else { ttl }) };
    deadline_30_percent_early: "entries die after 70 % of their ttl",
        ["ttl::ttl_reports", "ttl::expires_within_window"], Changed { map: |ttl| Some((ttl * 7 / 10).max(1)) };
    deadline_a_millisecond_early: "entries die a millisecond early",
        ["ttl::ttl_reports", "ttl::expires_within_window"], Changed { map: |ttl| Some((ttl - 1).max(1)) };
    expired_is_readable: "get does not check the deadline, and no sweeper runs",
        ["ttl::expired_key_is_gone_everywhere"], GetsExpired::default();
    taken_after_expiry: "take does not check the deadline",
        ["ttl::expired_key_is_gone_everywhere"], TakesExpired::default();
    expired_counts_as_deleted: "delete of an expired key answers true",
        ["ttl::expired_key_is_gone_everywhere"], DeletesExpired::default();
    increment_revives: "increment goes on from an expired value",
        ["ttl::expired_key_is_gone_everywhere"], IncrementRevives::default();
    expire_revives: "expire brings an expired value back",
        ["ttl::expired_key_is_gone_everywhere"], ExpireRevives::default();
    expire_missing_is_true: "expire of a missing key answers true",
        ["ttl::expire_missing_is_false"], ExpireMissingTrue::default();
    expire_creates: "expire of a missing key creates an empty one",
        ["ttl::expire_missing_is_false"], ExpireCreates::default();
    expire_only_extends: "expire does nothing where the deadline would come earlier",
        ["kv::model_agrees"], ExpireExtends::default();
    expire_needs_a_ttl: "expire does nothing on a key without a ttl",
        ["kv::model_agrees"], ExpireNeedsTtl::default();
    persist_always_true: "persist answers whether the key is there",
        ["ttl::persist_rule"], PersistAlwaysTrue::default();
    persist_does_nothing: "persist answers right and leaves the deadline",
        ["ttl::persist_rule"], PersistNothing::default();
    ttl_of_forever_is_missing: "ttl of a key without deadline is Missing",
        ["ttl::ttl_reports"], ForeverIsMissing::default();
    ttl_answers_the_whole: "ttl answers what was given, not what is left",
        ["ttl::ttl_reports"], AnswersWhole::default();
    keep_is_never: "keep leaves no deadline",
        ["ttl::keep_ttl_keeps"], KeepIsNever::default();
    replace_keeps_the_deadline: "replace without ttl keeps the old deadline",
        ["kv::model_agrees"], ReplaceKeeps::default();
    old_timer_fires: "the timer of a deleted value ends the next value of the key",
        ["ttl::delete_then_set_has_no_old_deadline"], OldTimer::default();
    longer_ttl_only: "a set replaces a deadline only by a later one",
        ["ttl::set_with_ttl_replaces_ttl"], LongerOnly::default();
    failed_condition_sets_the_deadline: "a losing set-if-absent gives the key its ttl",
        ["ttl::failed_condition_keeps_ttl"], LoserExtends::default();
    failed_condition_clears_the_deadline: "a losing conditional set takes the deadline away",
        ["ttl::failed_condition_keeps_ttl"], LoserPersists::default();
    condition_ignores_the_ttl: "a conditional set that wins gives no ttl",
        ["ttl::condition_ttl_rule"], ConditionIgnoresTtl::default();
    tiny_ttl_is_refused: "the shortest ttl is refused as if it were zero",
        ["ttl::tiny_ttl_is_never_forever"], RefusesTiny::default();
}

type Remembered = Mutex<HashMap<String, Bytes>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the value of a key that is gone because of its deadline alone.
async fn take_expired(values: &Remembered, inner: &ReferenceDriver, key: &str) -> Option<Bytes> {
    let there = inner.has(key).await.unwrap_or(true);
    let mut values = lock(values);
    let expired = values.remove(key)?;
    (!there).then_some(expired)
}

/// Remembers what a set with a ttl wrote, and forgets what anything else wrote.
fn remember(values: &Remembered, key: &str, value: &[u8], expiry: Expiry, written: bool) {
    let mut values = lock(values);
    match expiry {
        Expiry::After(_) if written => {
            values.insert(key.to_owned(), Bytes::copy_from_slice(value));
        }
        _ => {
            values.remove(key);
        }
    }
}

#[derive(Debug)]
struct Changed {
    map: fn(u64) -> Option<u64>,
}

impl Changed {
    fn ttl(&self, ttl: TtlMillis) -> Option<TtlMillis> {
        let millis = (self.map)(ttl.as_millis())?;
        TtlMillis::new(Duration::from_millis(millis)).ok()
    }

    fn expiry(&self, expiry: Expiry) -> Expiry {
        match expiry {
            Expiry::After(ttl) => self.ttl(ttl).map_or(Expiry::Never, Expiry::After),
            other => other,
        }
    }
}

#[store_core::async_trait]
impl super::twist::Twist for Changed {
    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        inner.set(key, value, self.expiry(expiry), condition).await
    }

    async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
        match self.ttl(ttl) {
            Some(ttl) => inner.expire(key, ttl).await,
            None => {
                inner.persist(key).await?;
                inner.has(key).await
            }
        }
    }
}

twists! {
    SetKeeps => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let expiry = if expiry == Expiry::Never { Expiry::Keep } else { expiry };
            inner.set(key, value, expiry, condition).await
        }
    }
    SetManyKeeps => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            for (key, value) in entries {
                let expiry = ttl.map_or(Expiry::Keep, Expiry::After);
                inner.set(key, value, expiry, Condition::Always).await?;
            }
            Ok(())
        }
    }
    SetManyIgnores => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], _: Option<TtlMillis>) -> Result<()> {
            inner.set_many(entries, None).await
        }
    }
    GetsExpired { values: Remembered } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            remember(&self.values, key, value, expiry, written);
            Ok(written)
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            lock(&self.values).remove(key);
            inner.delete(key).await
        }
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            match inner.get(key).await? {
                None => Ok(lock(&self.values).get(key).cloned()),
                value => Ok(value),
            }
        }
    }
    TakesExpired { values: Remembered } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            remember(&self.values, key, value, expiry, written);
            Ok(written)
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            lock(&self.values).remove(key);
            inner.delete(key).await
        }
        async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let expired = take_expired(&self.values, inner, key).await;
            Ok(inner.take(key).await?.or(expired))
        }
    }
    DeletesExpired { values: Remembered } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            remember(&self.values, key, value, expiry, written);
            Ok(written)
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            let expired = take_expired(&self.values, inner, key).await;
            Ok(inner.delete(key).await? || expired.is_some())
        }
    }
    IncrementRevives { values: Remembered } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            remember(&self.values, key, value, expiry, written);
            Ok(written)
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            lock(&self.values).remove(key);
            inner.delete(key).await
        }
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            if let Some(expired) = take_expired(&self.values, inner, key).await {
                inner.set(key, &expired, Expiry::Never, Condition::Always).await?;
            }
            inner.increment(key, delta, initial).await
        }
    }
    ExpireRevives { values: Remembered } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            remember(&self.values, key, value, expiry, written);
            Ok(written)
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            lock(&self.values).remove(key);
            inner.delete(key).await
        }
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            if let Some(expired) = take_expired(&self.values, inner, key).await {
                inner.set(key, &expired, Expiry::Never, Condition::Always).await?;
            }
            inner.expire(key, ttl).await
        }
    }
    ExpireMissingTrue => {
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            inner.expire(key, ttl).await.map(|_| true)
        }
    }
    ExpireCreates => {
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            let touched = inner.expire(key, ttl).await?;
            if !touched {
                inner.set(key, b"", Expiry::After(ttl), Condition::Always).await?;
            }
            Ok(touched)
        }
    }
    ExpireExtends => {
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            match inner.ttl(key).await? {
                Ttl::Left(left) if left > ttl.as_duration() => Ok(true),
                _ => inner.expire(key, ttl).await,
            }
        }
    }
    ExpireNeedsTtl => {
        async fn expire(&self, inner: &ReferenceDriver, key: &str, ttl: TtlMillis) -> Result<bool> {
            match inner.ttl(key).await? {
                Ttl::Left(_) => inner.expire(key, ttl).await,
                other => Ok(other == Ttl::Forever),
            }
        }
    }
    PersistAlwaysTrue => {
        async fn persist(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            inner.persist(key).await?;
            inner.has(key).await
        }
    }
    PersistNothing => {
        async fn persist(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            Ok(inner.ttl(key).await?.left().is_some())
        }
    }
    ForeverIsMissing => {
        async fn ttl(&self, inner: &ReferenceDriver, key: &str) -> Result<Ttl> {
            Ok(match inner.ttl(key).await? {
                Ttl::Forever => Ttl::Missing,
                other => other,
            })
        }
    }
    AnswersWhole { given: Mutex<HashMap<String, Duration>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if let Expiry::After(ttl) = expiry {
                lock(&self.given).insert(key.to_owned(), ttl.as_duration());
            }
            inner.set(key, value, expiry, condition).await
        }
        async fn ttl(&self, inner: &ReferenceDriver, key: &str) -> Result<Ttl> {
            let ttl = inner.ttl(key).await?;
            let given = lock(&self.given).get(key).copied();
            Ok(match (ttl, given) {
                (Ttl::Left(_), Some(given)) => Ttl::Left(given),
                _ => ttl,
            })
        }
    }
    KeepIsNever => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let expiry = if expiry == Expiry::Keep { Expiry::Never } else { expiry };
            inner.set(key, value, expiry, condition).await
        }
    }
    ReplaceKeeps => {
        async fn replace(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
            let expiry = if expiry == Expiry::Never { Expiry::Keep } else { expiry };
            inner.replace(key, value, expiry).await
        }
    }
    OldTimer { deadlines: Mutex<HashMap<String, Instant>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let now = Instant::now();
            if let Expiry::After(ttl) = expiry
                && let Some(deadline) = now.checked_add(ttl.as_duration())
            {
                lock(&self.deadlines).insert(key.to_owned(), deadline);
            }
            let old = lock(&self.deadlines).get(key).copied().filter(|deadline| *deadline > now);
            match (expiry, inner.has(key).await?, old) {
                (Expiry::Never, false, Some(old)) => {
                    let left = TtlMillis::new(old - now)?;
                    inner.set(key, value, Expiry::After(left), condition).await
                }
                _ => inner.set(key, value, expiry, condition).await,
            }
        }
    }
    LongerOnly => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let left = inner.ttl(key).await?.left();
            let expiry = match expiry {
                Expiry::After(ttl) if left.is_some_and(|left| left > ttl.as_duration()) => Expiry::Keep,
                other => other,
            };
            inner.set(key, value, expiry, condition).await
        }
    }
    LoserExtends => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            if let (false, Expiry::After(ttl)) = (written, expiry) {
                inner.expire(key, ttl).await?;
            }
            Ok(written)
        }
    }
    LoserPersists => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            if !written {
                inner.persist(key).await?;
            }
            Ok(written)
        }
    }
    ConditionIgnoresTtl => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let expiry = if condition == Condition::Always { expiry } else { Expiry::Never };
            inner.set(key, value, expiry, condition).await
        }
    }
    RefusesTiny => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if let Expiry::After(ttl) = expiry
                && ttl.as_millis() == 1
            {
                return Err(Error::new(ErrorKind::InvalidInput, "the ttl is zero"));
            }
            inner.set(key, value, expiry, condition).await
        }
    }
}
