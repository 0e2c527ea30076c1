//! Operations that find an expired entry which nobody has swept.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_core::{Bytes, Condition, Expiry, Result, StoreAdapter, Ttl, TtlMillis};

use super::twist::{Twist, drivers};
use crate::reference::ReferenceDriver;

drivers! {
    has_sees_expired: "has does not check the deadline",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::Has);
    ttl_of_expired_is_a_millisecond: "ttl of an expired key is one millisecond",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::Ttl);
    get_many_sees_expired: "get_many does not check deadlines",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::GetMany);
    delete_many_counts_expired: "delete_many counts expired keys",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::DeleteMany);
    persist_revives: "persist brings an expired value back",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::Persist);
    if_present_sees_expired: "set-if-present takes an expired key for a present one",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::IfPresent);
    if_equals_sees_expired: "set-if-equals compares with an expired value",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::IfEquals);
    compare_and_delete_sees_expired: "compare-and-delete compares with an expired value",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::CompareAndDelete);
    replace_answers_expired: "replace answers an expired value",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::Replace);
    keep_of_expired_is_dead: "a set that keeps the deadline of an expired key writes a dead value",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::SetKeep);
    replace_keeps_an_expired_deadline: "a replace that keeps the deadline of an expired key writes a dead value",
        ["ttl::expired_key_is_gone_everywhere"], Haunted::at(Touch::ReplaceKeep);
    initial_ttl_is_not_for_expired: "a counter that begins again after its end has no initial ttl",
        ["ttl::expired_key_is_gone_everywhere", "counter::incr_initial_ttl_sets_once"], Haunted::at(Touch::InitialTtl);
}

/// The operation that does not check the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Has,
    Ttl,
    GetMany,
    DeleteMany,
    Persist,
    IfPresent,
    IfEquals,
    CompareAndDelete,
    Replace,
    SetKeep,
    ReplaceKeep,
    InitialTtl,
}

/// Remembers what was written last under a key.
#[derive(Debug)]
struct Haunted {
    at: Touch,
    last: Mutex<HashMap<String, Bytes>>,
}

impl Haunted {
    fn at(at: Touch) -> Self {
        Self {
            at,
            last: Mutex::default(),
        }
    }

    fn last(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a key holds after it was written or removed.
    async fn note(&self, inner: &ReferenceDriver, key: &str) {
        let now = inner.get(key).await.ok().flatten();
        let mut last = self.last();
        match now {
            Some(now) => last.insert(key.to_owned(), now),
            None => last.remove(key),
        };
    }

    /// The value of a key that is gone because of its deadline alone, for the flawed operation.
    async fn ghost(&self, at: Touch, inner: &ReferenceDriver, key: &str) -> Option<Bytes> {
        if self.at != at || inner.has(key).await.unwrap_or(true) {
            return None;
        }
        self.last().get(key).cloned()
    }
}

#[store_core::async_trait]
impl Twist for Haunted {
    async fn has(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        let ghost = self.ghost(Touch::Has, inner, key).await;
        Ok(inner.has(key).await? || ghost.is_some())
    }

    async fn ttl(&self, inner: &ReferenceDriver, key: &str) -> Result<Ttl> {
        let ttl = inner.ttl(key).await?;
        let ghost = self.ghost(Touch::Ttl, inner, key).await;
        Ok(ghost.map_or(ttl, |_| Ttl::Left(Duration::from_millis(1))))
    }

    async fn get_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let mut values = inner.get_many(keys).await?;
        for (key, value) in keys.iter().zip(&mut values) {
            let ghost = self.ghost(Touch::GetMany, inner, key).await;
            *value = value.take().or(ghost);
        }
        Ok(values)
    }

    async fn delete_many(&self, inner: &ReferenceDriver, keys: &[&str]) -> Result<u64> {
        let mut ghosts = 0;
        for key in keys {
            ghosts += u64::from(self.ghost(Touch::DeleteMany, inner, key).await.is_some());
            self.last().remove(*key);
        }
        Ok(inner.delete_many(keys).await? + ghosts)
    }

    async fn persist(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        if let Some(ghost) = self.ghost(Touch::Persist, inner, key).await {
            return inner
                .set(key, &ghost, Expiry::Never, Condition::Always)
                .await;
        }
        inner.persist(key).await
    }

    async fn set(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool> {
        let (at, expected) = match condition {
            Condition::IfPresent => (Touch::IfPresent, None),
            Condition::IfEquals(expected) => (Touch::IfEquals, Some(expected)),
            _ => (Touch::SetKeep, None),
        };
        let ghost = self.ghost(at, inner, key).await;
        let holds = ghost
            .as_ref()
            .is_some_and(|ghost| expected.is_none_or(|expected| ghost == expected));
        let condition = if holds { Condition::Always } else { condition };
        let written = inner.set(key, value, expiry, condition).await?;
        if holds && at == Touch::SetKeep && expiry == Expiry::Keep {
            inner.delete(key).await?;
        }
        self.note(inner, key).await;
        Ok(written)
    }

    async fn replace(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        value: &[u8],
        expiry: Expiry,
    ) -> Result<Option<Bytes>> {
        let ghost = self.ghost(Touch::Replace, inner, key).await;
        let keeps = self.ghost(Touch::ReplaceKeep, inner, key).await.is_some();
        let old = inner.replace(key, value, expiry).await?;
        if keeps && expiry == Expiry::Keep {
            inner.delete(key).await?;
        }
        self.note(inner, key).await;
        Ok(old.or(ghost))
    }

    async fn compare_and_delete(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        expected: &[u8],
    ) -> Result<bool> {
        let ghost = self.ghost(Touch::CompareAndDelete, inner, key).await;
        let removed = inner.compare_and_delete(key, expected).await?;
        self.note(inner, key).await;
        Ok(removed || ghost.is_some_and(|ghost| ghost == expected))
    }

    async fn increment(
        &self,
        inner: &ReferenceDriver,
        key: &str,
        delta: i64,
        initial: Option<TtlMillis>,
    ) -> Result<i64> {
        let ghost = self.ghost(Touch::InitialTtl, inner, key).await;
        let initial = initial.filter(|_| ghost.is_none());
        let sum = inner.increment(key, delta, initial).await;
        self.note(inner, key).await;
        sum
    }

    async fn set_many(
        &self,
        inner: &ReferenceDriver,
        entries: &[(&str, &[u8])],
        ttl: Option<TtlMillis>,
    ) -> Result<()> {
        inner.set_many(entries, ttl).await?;
        for (key, _) in entries {
            self.note(inner, key).await;
        }
        Ok(())
    }

    async fn delete(&self, inner: &ReferenceDriver, key: &str) -> Result<bool> {
        self.last().remove(key);
        inner.delete(key).await
    }

    async fn take(&self, inner: &ReferenceDriver, key: &str) -> Result<Option<Bytes>> {
        self.last().remove(key);
        inner.take(key).await
    }
}
