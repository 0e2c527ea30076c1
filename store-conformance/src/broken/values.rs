//! Values that come back as others, or not at all.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use store_core::{Bytes, Condition, Error, ErrorKind, Expiry, Result, StoreAdapter, TtlMillis};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    empty_reads_as_absent: "an empty value is taken for no value",
        ["kv::empty_value_is_present"], EmptyIsAbsent::default();
    long_values_are_cut: "values are cut at 65,535 bytes",
        ["kv::edge_values_roundtrip"], Mapped { map: |value| value[..value.len().min(65_535)].to_vec() };
    lossy_values: "values go through a string, so bytes that are not UTF-8 are replaced",
        ["kv::edge_values_roundtrip"], Mapped { map: |value| String::from_utf8_lossy(value).into_owned().into_bytes() };
    values_end_at_nul: "a value ends at its first NUL",
        ["kv::edge_values_roundtrip"], Mapped { map: |value| value.split(|byte| *byte == 0).next().unwrap_or_default().to_vec() };
    trimmed_values: "white space at the end of a value is dropped",
        ["kv::edge_values_roundtrip"], Mapped { map: |value| value.trim_ascii_end().to_vec() };
    nil_reads_as_absent: "the text nil is taken for no value",
        ["kv::edge_values_roundtrip"], NilIsAbsent::default();
    delete_always_true: "delete answers true whatever was there",
        ["kv::delete_reports_presence"], DeleteAlwaysTrue::default();
    delete_keeps_the_value: "delete answers right and removes nothing",
        ["kv::delete_reports_presence"], DeleteNothing::default();
    missing_is_empty: "get of a missing key answers an empty value",
        ["kv::get_missing_is_none"], MissingIsEmpty::default();
    get_creates: "get of a missing key leaves an empty entry behind",
        ["kv::get_missing_is_none"], GetCreates::default();
    has_forgets_nothing: "has answers true for every key that was ever set",
        ["kv::has_agrees_with_get"], HasRemembers::default();
    overwrite_keeps_a_tail: "a shorter value leaves the end of the longer one before it",
        ["kv::set_overwrites"], KeepsATail::default();
    set_answers_whether_new: "set without condition answers whether the key is new",
        ["kv::set_overwrites"], SetAnswersNew::default();
    replace_answers_the_new_value: "replace answers what it wrote",
        ["conditional::replace_and_take_are_atomic"], ReplaceAnswersNew::default();
    take_keeps_the_value: "take answers the value and leaves it",
        ["conditional::replace_and_take_are_atomic"], TakeKeeps::default();
    interned_by_address: "arguments are known by where they are in memory",
        ["kv::arguments_not_retained"], ByAddress::default();
    oversize_is_cut: "a value over the declared limit is cut, not refused",
        ["kv::oversize_is_refused_whole"], OversizeIsCut::default();
    oversize_drops_the_old: "a value that is too large is refused, and the old one is gone",
        ["kv::oversize_is_refused_whole"], OversizeDropsOld::default();
    missing_is_an_error: "get of a missing key is an error",
        ["kv::get_missing_is_none"], MissingIsError::default();
}

const LIMIT: usize = 1 << 20;

/// Every value is written as another.
#[derive(Debug)]
struct Mapped {
    map: fn(&[u8]) -> Vec<u8>,
}

#[store_core::async_trait]
impl super::twist::Twist for Mapped {
    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        inner.set(key, &(self.map)(value), expiry, condition).await
    }

    async fn replace(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Bytes>> {
        inner.replace(key, &(self.map)(value), expiry).await
    }

    async fn set_many(
        &self,
        inner: &ReferenceDriver,
        entries: &[(&str, &[u8])],
        ttl: Option<TtlMillis>,
    ) -> Result<()> {
        for (key, value) in entries {
            inner.set_many(&[(key, &(self.map)(value))], ttl).await?;
        }
        Ok(())
    }
}

twists! {
    EmptyIsAbsent => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            Ok(inner.get(key).await?.filter(|value| !value.is_empty()))
        }
    }
    NilIsAbsent => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            Ok(inner.get(key).await?.filter(|value| value != "nil"))
        }
    }
    DeleteAlwaysTrue => {
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            inner.delete(key).await.map(|_| true)
        }
    }
    DeleteNothing => {
        async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            inner.has(key).await
        }
    }
    MissingIsEmpty => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            Ok(Some(inner.get(key).await?.unwrap_or_default()))
        }
    }
    MissingIsError => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let value = inner.get(key).await?;
            let missing = || Error::new(ErrorKind::Backend, "no such key");
            value.map(Some).ok_or_else(missing)
        }
    }
    GetCreates => {
        async fn get(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            let value = inner.get(key).await?;
            if value.is_none() {
                inner.set(key, b"", Expiry::Never, Condition::Always).await?;
            }
            Ok(value)
        }
    }
    HasRemembers { known: Mutex<HashSet<String>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
            inner.set(key, value, expiry, condition).await
        }
        async fn has(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(key);
            Ok(known || inner.has(key).await?)
        }
    }
    KeepsATail => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let mut whole = value.to_vec();
            if let Some(old) = inner.get(key).await? {
                whole.extend(old.iter().skip(value.len()));
            }
            inner.set(key, &whole, expiry, condition).await
        }
    }
    SetAnswersNew => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let new = !inner.has(key).await?;
            let written = inner.set(key, value, expiry, condition).await?;
            Ok(if condition == Condition::Always { new } else { written })
        }
    }
    ReplaceAnswersNew => {
        async fn replace(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
            inner.replace(key, value, expiry).await?;
            inner.get(key).await
        }
    }
    TakeKeeps => {
        async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
            inner.get(key).await
        }
    }
    ByAddress { known: Mutex<HashMap<(usize, usize), Vec<u8>>> } => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            let address = (value.as_ptr().addr(), value.len());
            let value = {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.entry(address).or_insert_with(|| value.to_vec()).clone()
            };
            inner.set(key, &value, expiry, condition).await
        }
    }
    OversizeIsCut => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            inner.set(key, &value[..value.len().min(LIMIT)], expiry, condition).await
        }
        fn max_value_len(&self) -> Option<usize> {
            Some(LIMIT)
        }
    }
    OversizeDropsOld => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if value.len() > LIMIT {
                inner.delete(key).await?;
                return Err(Error::new(ErrorKind::TooLarge, "too large"));
            }
            inner.set(key, value, expiry, condition).await
        }
        fn max_value_len(&self) -> Option<usize> {
            Some(LIMIT)
        }
    }
}
