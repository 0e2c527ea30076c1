//! Batches that lose, shift or miscount.

use std::collections::BTreeMap;

use store_core::{Bytes, Condition, Error, ErrorKind, Expiry, Result, StoreAdapter, TtlMillis};

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

/// How many keys these drivers send at once.
const CHUNK: usize = 1_000;

drivers! {
    get_many_drops_misses: "get_many answers found values alone",
        ["batch::get_many_positions_and_duplicates"], DropsMisses::default();
    get_many_sorts: "get_many answers in the order of the keys",
        ["batch::get_many_positions_and_duplicates"], Sorts::default();
    get_many_dedups: "get_many answers a key that comes twice once",
        ["batch::get_many_positions_and_duplicates"], Dedups::default();
    get_many_answers_duplicates_once: "get_many answers a key that comes twice with None the second time",
        ["batch::get_many_positions_and_duplicates"], SecondIsNone::default();
    get_many_is_cut: "get_many asks for 1,000 keys at most",
        ["batch::batch_large"], IsCut::default();
    get_many_loses_the_border: "get_many loses the last key of a full chunk",
        ["batch::batch_large"], LosesBorder::default();
    set_many_first_wins: "of a key that comes twice in set_many the first value stays",
        ["batch::set_many_last_wins"], FirstWins::default();
    set_many_loses_the_rest: "set_many writes whole chunks alone when there is more than one",
        ["batch::batch_large"], LosesRest::default();
    set_many_skips_present: "set_many does not overwrite",
        ["batch::set_many_last_wins", "batch::batch_equals_singles"], SkipsPresent::default();
    delete_many_counts_keys: "delete_many answers how many keys it was given",
        ["batch::delete_many_counts_live_once"], CountsKeys::default();
    delete_many_counts_twice: "delete_many counts a key as often as it comes",
        ["batch::delete_many_counts_live_once"], CountsTwice::default();
    delete_many_stops_at_a_miss: "delete_many stops at the first missing key",
        ["batch::delete_many_counts_live_once"], StopsAtMiss::default();
    empty_batch_is_an_error: "a batch of nothing is an error, as it is for Redis",
        ["batch::empty_batches_are_ok"], EmptyIsError::default();
    set_many_swallows_errors: "set_many leaves out what is too large and says nothing",
        ["batch::batch_partial_failure_is_reported"], SwallowsErrors::default();
}

const LIMIT: usize = 1 << 16;

twists! {
    DropsMisses => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let mut values = inner.get_many(keys).await?;
            values.retain(Option::is_some);
            Ok(values)
        }
    }
    Sorts => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let mut keys = keys.to_vec();
            keys.sort_unstable();
            inner.get_many(&keys).await
        }
    }
    Dedups => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let mut keys = keys.to_vec();
            let mut seen = std::collections::HashSet::new();
            keys.retain(|key| seen.insert(*key));
            inner.get_many(&keys).await
        }
    }
    SecondIsNone => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let values = inner.get_many(keys).await?;
            let mut found: BTreeMap<&str, Option<Bytes>> = keys.iter().copied().zip(values).collect();
            Ok(keys.iter().map(|key| found.remove(key).flatten()).collect())
        }
    }
    IsCut => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let mut values = inner.get_many(&keys[..keys.len().min(CHUNK)]).await?;
            values.resize(keys.len(), None);
            Ok(values)
        }
    }
    LosesBorder => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            let mut values = inner.get_many(keys).await?;
            if let Some(last) = values.get_mut(CHUNK - 1) {
                *last = None;
            }
            Ok(values)
        }
    }
    FirstWins => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            let reversed: Vec<_> = entries.iter().rev().copied().collect();
            inner.set_many(&reversed, ttl).await
        }
    }
    LosesRest => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            if entries.len() < CHUNK {
                return inner.set_many(entries, ttl).await;
            }
            for chunk in entries.chunks_exact(CHUNK) {
                inner.set_many(chunk, ttl).await?;
            }
            Ok(())
        }
    }
    SkipsPresent => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            for (key, value) in entries {
                let expiry = ttl.map_or(Expiry::Never, Expiry::After);
                inner.set(key, value, expiry, Condition::IfAbsent).await?;
            }
            Ok(())
        }
    }
    CountsKeys => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            inner.delete_many(keys).await.map(|_| keys.len() as u64)
        }
    }
    CountsTwice => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            let there = inner.get_many(keys).await?.into_iter().flatten().count();
            inner.delete_many(keys).await.map(|_| there as u64)
        }
    }
    StopsAtMiss => {
        async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
            let mut count = 0;
            for key in keys {
                if !inner.delete(key).await? {
                    break;
                }
                count += 1;
            }
            Ok(count)
        }
    }
    EmptyIsError => {
        async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
            if keys.is_empty() {
                return Err(Error::new(ErrorKind::Backend, "wrong number of arguments"));
            }
            inner.get_many(keys).await
        }
    }
    SwallowsErrors => {
        async fn set_many(&self, inner: &ReferenceDriver, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()> {
            let fitting: Vec<_> = entries.iter().filter(|(_, value)| value.len() <= LIMIT).copied().collect();
            inner.set_many(&fitting, ttl).await
        }
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            if value.len() > LIMIT {
                return Err(Error::new(ErrorKind::TooLarge, "too large"));
            }
            inner.set(key, value, expiry, condition).await
        }
        async fn replace(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>> {
            if value.len() > LIMIT {
                return Err(Error::new(ErrorKind::TooLarge, "too large"));
            }
            inner.replace(key, value, expiry).await
        }
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            if message.len() > LIMIT {
                return Err(Error::new(ErrorKind::TooLarge, "too large"));
            }
            inner.publish(channel, message).await
        }
        fn max_value_len(&self) -> Option<usize> {
            Some(LIMIT)
        }
    }
}
