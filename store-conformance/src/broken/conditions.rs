//! Conditions that hold when they should not, or the other way round.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use store_core::{Bytes, Condition, Expiry, Result, StoreAdapter};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    if_absent_loses_to_expired: "set-if-absent takes an expired key for a present one",
        ["conditional::if_absent_after_delete_and_expiry"], LosesToExpired::default();
    if_absent_loses_to_deleted: "set-if-absent takes a deleted key for a present one",
        ["conditional::if_absent_after_delete_and_expiry"], LosesToDeleted::default();
    if_present_is_always: "set-if-present writes in any case",
        ["conditional::if_absent_truth_table"], IfPresentIsAlways::default();
    if_absent_is_always: "set-if-absent writes in any case, and answers right",
        ["conditional::if_absent_truth_table"], IfAbsentWrites::default();
    condition_answers_true: "a conditional set answers true whether it wrote or not",
        ["conditional::if_absent_truth_table"], AnswersTrue::default();
    absent_equals_empty: "an absent key equals an empty value",
        ["conditional::if_equals_compares_bytes"], AbsentEqualsEmpty::default();
    equals_ignores_case: "a comparison ignores the case of letters",
        ["conditional::if_equals_compares_bytes"], Compares { equal: |one, other| one.eq_ignore_ascii_case(other) };
    equals_is_prefix: "a comparison looks at the length of the shorter value",
        ["conditional::if_equals_compares_bytes"], Compares { equal: |one, other| one.starts_with(other) };
    equals_is_numeric: "numbers are compared by what they count",
        ["conditional::if_equals_compares_bytes"], Compares { equal: |one, other| one == other || number(one).is_some() && number(one) == number(other) };
    equals_goes_through_text: "values are compared as lossy text",
        ["conditional::if_equals_compares_bytes"], Compares { equal: |one, other| String::from_utf8_lossy(one) == String::from_utf8_lossy(other) };
    equals_looks_at_64_bytes: "a comparison looks at the first 64 bytes and the length",
        ["conditional::if_equals_compares_bytes"], Compares { equal: |one, other| one.len() == other.len() && one.iter().take(64).eq(other.iter().take(64)) };
    deletes_by_prefix: "compare_and_delete takes the beginning of a value for the value",
        ["conditional::if_equals_compares_bytes"], Deletes { equal: |one, other| one.starts_with(other) };
    deletes_ignoring_case: "compare_and_delete ignores the case of letters",
        ["conditional::if_equals_compares_bytes"], Deletes { equal: |one, other| one.eq_ignore_ascii_case(other) };
    deletes_by_number: "compare_and_delete compares numbers by what they count",
        ["conditional::if_equals_compares_bytes"], Deletes { equal: |one, other| one == other || number(one).is_some() && number(one) == number(other) };
    deletes_by_text: "compare_and_delete compares values as lossy text",
        ["conditional::if_equals_compares_bytes"], Deletes { equal: |one, other| lossy(one) == lossy(other) };
    compare_and_delete_answers_presence: "compare_and_delete answers whether the key was there",
        ["kv::model_agrees", "conditional::if_equals_compares_bytes"], DeleteAnswersPresence::default();
    compare_and_delete_ignores_value: "compare_and_delete removes whatever is there",
        ["kv::model_agrees", "conditional::if_equals_compares_bytes"], DeleteIgnoresValue::default();
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Another equality of values.
#[derive(Debug)]
struct Compares {
    equal: fn(&[u8], &[u8]) -> bool,
}

#[store_core::async_trait]
impl super::twist::Twist for Compares {
    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let Condition::IfEquals(expected) = condition else {
            return inner.set(key, value, expiry, condition).await;
        };
        match inner.get(key).await? {
            Some(old) if (self.equal)(&old, expected) => {
                inner.set(key, value, expiry, Condition::Always).await
            }
            _ => Ok(false),
        }
    }
}

/// The same, for compare-and-delete.
#[derive(Debug)]
struct Deletes {
    equal: fn(&[u8], &[u8]) -> bool,
}

#[store_core::async_trait]
impl super::twist::Twist for Deletes {
    async fn compare_and_delete(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        expected: &[u8],
    ) -> Result<bool> {
        match inner.get(key).await? {
            Some(old) if (self.equal)(&old, expected) => inner.delete(key).await,
            _ => Ok(false),
        }
    }
}

twists! {
    LosesToExpired { known: Mutex<HashSet<String>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let known = !lock(&self.known).insert(key.to_owned());
            if condition == Condition::IfAbsent && known {
                return Ok(false);
            }
            inner.set(key, value, expiry, condition).await
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            lock(&self.known).remove(key);
            inner.delete(key).await
        }
        async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            lock(&self.known).remove(key);
            inner.take(key).await
        }
    }
    LosesToDeleted { deleted: Mutex<HashSet<String>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if condition == Condition::IfAbsent && lock(&self.deleted).contains(key) {
                return Ok(false);
            }
            lock(&self.deleted).remove(key);
            inner.set(key, value, expiry, condition).await
        }
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            lock(&self.deleted).insert(key.to_owned());
            inner.delete(key).await
        }
    }
    IfPresentIsAlways => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let condition = if condition == Condition::IfPresent { Condition::Always } else { condition };
            inner.set(key, value, expiry, condition).await
        }
    }
    IfAbsentWrites => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let written = inner.set(key, value, expiry, condition).await?;
            if condition == Condition::IfAbsent && !written {
                inner.set(key, value, Expiry::Keep, Condition::Always).await?;
            }
            Ok(written)
        }
    }
    AnswersTrue => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            inner.set(key, value, expiry, condition).await.map(|_| true)
        }
    }
    AbsentEqualsEmpty => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if condition == Condition::IfEquals(b"") && !inner.has(key).await? {
                return inner.set(key, value, expiry, Condition::Always).await;
            }
            inner.set(key, value, expiry, condition).await
        }
    }
    DeleteAnswersPresence => {
        async fn compare_and_delete(&self, inner: &ReferenceDriver, key: &str, expected: &[u8]) -> Result<bool> {
            let there = inner.has(key).await?;
            inner.compare_and_delete(key, expected).await.map(|_| there)
        }
    }
    DeleteIgnoresValue => {
        async fn compare_and_delete(&self, inner: &ReferenceDriver, key: &str, _: &[u8]) -> Result<bool> {
            inner.delete(key).await
        }
    }
}
