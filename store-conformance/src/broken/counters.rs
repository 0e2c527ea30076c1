//! Counters that count otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use store_core::{
    Bytes, Condition, Error, ErrorKind, Expiry, Result, StoreAdapter, Ttl, TtlMillis,
};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    increment_drops_the_ttl: "increment is get and set, and the set has no ttl",
        ["ttl::incr_keeps_ttl"], DropsTtl::default();
    overflow_wraps: "a sum outside of i64 wraps around",
        ["counter::incr_overflow_changes_nothing"], Wraps::default();
    overflow_saturates: "a sum outside of i64 stays at the end",
        ["counter::incr_overflow_changes_nothing"], Saturates::default();
    overflow_resets: "a counter that would overflow starts again",
        ["counter::incr_overflow_changes_nothing"], Resets::default();
    text_counts_as_zero: "what is not a number counts as 0",
        ["counter::incr_non_integer_changes_nothing"], TextIsZero::default();
    lenient_numbers: "a number may have a plus sign, zeros in front and spaces around",
        ["counter::incr_non_integer_changes_nothing"], Lenient::default();
    refusal_drops_the_ttl: "a refused increment takes the deadline away",
        ["counter::incr_non_integer_changes_nothing", "ttl::incr_keeps_ttl"], RefusalPersists::default();
    binary_counters: "a counter is 8 bytes",
        ["counter::incr_reads_back_as_decimal"], Binary::default();
    counters_apart: "counters are in another map than values",
        ["counter::incr_reads_back_as_decimal"], Apart::default();
    cached_counters: "a counter goes on from its last sum after it was deleted",
        ["counter::counter_survives_delete"], Cached::default();
    float_counters: "sums are computed as f64",
        ["counter::incr_reads_back_as_decimal"], Floats::default();
    decrement_wraps: "a negative delta is negated and subtracted, which i64::MIN does not survive",
        ["counter::incr_sums", "counter::incr_reads_back_as_decimal"], NegatesMinimum::default();
    zero_creates_nothing: "an increment by 0 of a missing counter creates nothing",
        ["counter::incr_from_absent_is_delta"], ZeroCreatesNothing::default();
    starts_from_one: "a counter starts from 1 whatever the delta",
        ["counter::incr_from_absent_is_delta"], StartsFromOne::default();
    padded_counters: "a counter is written with leading zeros",
        ["counter::incr_reads_back_as_decimal"], Padded::default();
    overflow_is_wrong_type: "an overflow is reported as WrongType",
        ["counter::incr_overflow_changes_nothing"], OverflowIsWrongType::default();
    initial_ttl_slides: "the initial ttl is given again at each increment",
        ["counter::incr_initial_ttl_sets_once"], InitialTtlSlides::default();
    initial_ttl_ignored: "the initial ttl is ignored",
        ["counter::incr_initial_ttl_sets_once"], InitialTtlIgnored::default();
    initial_ttl_fills_in: "the initial ttl is given to an old counter that has none",
        ["counter::incr_initial_ttl_sets_once"], InitialTtlFillsIn::default();
}

async fn read(inner: &ReferenceDriver, key: &str) -> Result<Option<i64>> {
    let value = inner.get(key).await?.unwrap_or_default();
    Ok(std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok()))
}

async fn write(inner: &ReferenceDriver, key: &str, sum: i64) -> Result<i64> {
    let text = sum.to_string();
    inner
        .set(key, text.as_bytes(), Expiry::Keep, Condition::Always)
        .await?;
    Ok(sum)
}

fn is_overflow(result: &Result<i64>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::Overflow)
}

twists! {
    DropsTtl => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let is_new = !inner.has(key).await?;
            let sum = inner.increment(key, delta, initial).await?;
            if !is_new {
                inner.persist(key).await?;
            }
            Ok(sum)
        }
    }
    Wraps => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let result = inner.increment(key, delta, initial).await;
            match read(inner, key).await? {
                Some(count) if is_overflow(&result) => write(inner, key, count.wrapping_add(delta)).await,
                _ => result,
            }
        }
    }
    Saturates => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let result = inner.increment(key, delta, initial).await;
            match read(inner, key).await? {
                Some(count) if is_overflow(&result) => write(inner, key, count.saturating_add(delta)).await,
                _ => result,
            }
        }
    }
    Resets => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let result = inner.increment(key, delta, initial).await;
            if is_overflow(&result) {
                write(inner, key, 0).await?;
            }
            result
        }
    }
    TextIsZero => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            match inner.increment(key, delta, initial).await {
                Err(error) if error.kind() == ErrorKind::WrongType => write(inner, key, delta).await,
                result => result,
            }
        }
    }
    Lenient => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let value = inner.get(key).await?.unwrap_or_default();
            let text = std::str::from_utf8(&value).unwrap_or_default().trim();
            if let Ok(count) = text.parse::<i64>() {
                write(inner, key, count).await?;
            }
            inner.increment(key, delta, initial).await
        }
    }
    RefusalPersists => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let result = inner.increment(key, delta, initial).await;
            if result.is_err() {
                inner.persist(key).await?;
            }
            result
        }
    }
    Binary => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            if let Some(old) = inner.get(key).await?
                && let Ok(old) = <[u8; 8]>::try_from(&*old)
            {
                write(inner, key, i64::from_be_bytes(old)).await?;
            }
            let sum = inner.increment(key, delta, initial).await?;
            inner.set(key, &sum.to_be_bytes(), Expiry::Keep, Condition::Always).await?;
            Ok(sum)
        }
    }
    Apart { counts: Mutex<HashMap<String, i64>> } => {
        async fn increment(&self, _: &ReferenceDriver, key: &str, delta: i64, _: Option<TtlMillis>) -> Result<i64> {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(key.to_owned()).or_default();
            let sum = count.checked_add(delta);
            *count = sum.ok_or_else(|| Error::new(ErrorKind::Overflow, "overflow"))?;
            Ok(*count)
        }
    }
    Cached { counts: Mutex<HashMap<String, i64>> } => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let last = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied();
            if let Some(last) = last
                && !inner.has(key).await?
            {
                write(inner, key, last).await?;
            }
            let sum = inner.increment(key, delta, initial).await?;
            self.counts.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), sum);
            Ok(sum)
        }
    }
    Floats => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let sum = inner.increment(key, delta, initial).await?;
            write(inner, key, sum as f64 as i64).await
        }
    }
    NegatesMinimum => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let delta = if delta == i64::MIN { i64::MAX } else { delta };
            inner.increment(key, delta, initial).await
        }
    }
    ZeroCreatesNothing => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            if delta == 0 && !inner.has(key).await? {
                return Ok(0);
            }
            inner.increment(key, delta, initial).await
        }
    }
    StartsFromOne => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let delta = if inner.has(key).await? { delta } else { 1 };
            inner.increment(key, delta, initial).await
        }
    }
    Padded => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            if let Some(count) = read(inner, key).await? {
                write(inner, key, count).await?;
            }
            let sum = inner.increment(key, delta, initial).await?;
            let text = format!("{sum:02}");
            inner.set(key, text.as_bytes(), Expiry::Keep, Condition::Always).await?;
            Ok(sum)
        }
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            inner.get(key).await
        }
    }
    OverflowIsWrongType => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let result = inner.increment(key, delta, initial).await;
            result.map_err(|error| match error.kind() {
                ErrorKind::Overflow => Error::new(ErrorKind::WrongType, "not an integer or out of range"),
                _ => error,
            })
        }
    }
    InitialTtlSlides => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let sum = inner.increment(key, delta, initial).await?;
            if let Some(ttl) = initial {
                inner.expire(key, ttl).await?;
            }
            Ok(sum)
        }
    }
    InitialTtlIgnored => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, _: Option<TtlMillis>) -> Result<i64> {
            inner.increment(key, delta, None).await
        }
    }
    InitialTtlFillsIn => {
        async fn increment(&self, inner: &ReferenceDriver, key: &str, delta: i64, initial: Option<TtlMillis>) -> Result<i64> {
            let sum = inner.increment(key, delta, initial).await?;
            if let (Some(ttl), Ttl::Forever) = (initial, inner.ttl(key).await?) {
                inner.expire(key, ttl).await?;
            }
            Ok(sum)
        }
    }
}
