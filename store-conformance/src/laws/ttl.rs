//! Time: an entry lives as long as it was told, and then is gone for every operation.

use std::time::Duration;

use proptest::prelude::Strategy;
use proptest::sample::select;
use store_core::{Condition, ErrorKind, Expiry, Result, Store, StoreAdapter, Ttl, TtlMillis};
use tokio::time::Instant;

use super::kv::{put, put_for};
use crate::case::{Case, CaseResult, ensure, ensure_eq, millis};
use crate::clock::{Due, Window};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};
use crate::strategies::{long_ttl, name};

mod expired;
mod limits;
mod rules;

pub(super) use expired::expired_key_is_gone_everywhere;
pub(super) use limits::{huge_ttl_is_safe, tiny_ttl_is_never_forever, zero_ttl_rule};
pub(super) use rules::{
    condition_ttl_rule, expire_missing_is_false, failed_condition_keeps_ttl, incr_keeps_ttl,
    keep_ttl_keeps, persist_rule, set_clears_ttl, set_many_clears_ttl, set_with_ttl_replaces_ttl,
};

/// An hour in milliseconds: a ttl that does not end while a law runs.
pub(super) const HOUR: u64 = 3_600_000;

/// The ways to give a key a ttl.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    Set,
    SetIfAbsent,
    Replace,
    SetMany,
    Increment,
    Expire,
    ExpireCounter,
}

impl Entry {
    pub(super) const ALL: &[Self] = &[
        Self::Set,
        Self::SetIfAbsent,
        Self::Replace,
        Self::SetMany,
        Self::Increment,
        Self::Expire,
        Self::ExpireCounter,
    ];

    /// Gives the absent `key` a value with this ttl; answers when its deadline can be.
    pub(super) async fn give(
        self,
        case: &Case,
        store: &Handle,
        key: &str,
        ttl: TtlMillis,
    ) -> CaseResult<Window> {
        self.prepare(store, key).await?;
        let (done, window) = case.timed(ttl, self.apply(store, key, ttl)).await;
        ensure!(done?, "{self:?} of an absent key must say that it wrote");
        Ok(window)
    }

    /// As [`give`](Self::give), for a ttl that may be too long for a driver.
    async fn give_untimed(self, store: &Handle, key: &str, ttl: TtlMillis) -> Result<()> {
        self.prepare(store, key).await?;
        self.apply(store, key, ttl).await.map(drop)
    }

    async fn prepare(self, store: &Handle, key: &str) -> Result<()> {
        match self {
            Self::Expire => {
                let set = store.set(key, b"7", Expiry::Never, Condition::Always);
                set.await.map(drop)
            }
            Self::ExpireCounter => store.increment(key, 7, None).await.map(drop),
            _ => Ok(()),
        }
    }

    async fn apply(self, store: &Handle, key: &str, ttl: TtlMillis) -> Result<bool> {
        let expiry = Expiry::After(ttl);
        match self {
            Self::Set => store.set(key, b"7", expiry, Condition::Always).await,
            Self::SetIfAbsent => store.set(key, b"7", expiry, Condition::IfAbsent).await,
            Self::Replace => {
                let old = store.replace(key, b"7", expiry).await?;
                Ok(old.is_none())
            }
            Self::SetMany => {
                store.set_many(&[(key, b"7")], Some(ttl)).await?;
                Ok(true)
            }
            Self::Increment => Ok(store.increment(key, 7, Some(ttl)).await? == 7),
            Self::Expire | Self::ExpireCounter => store.expire(key, ttl).await,
        }
    }
}

pub(super) fn entry() -> impl Strategy<Value = Entry> {
    select(Entry::ALL)
}

/// Lets a little time pass, so that a ttl that begins again is told from one that goes on.
pub(super) async fn linger(case: &Case) {
    case.pass(Duration::from_millis(8)).await;
}

/// Reads the ttl of a key and expects that it is what is left of `window`.
pub(super) async fn ensure_left(store: &Handle, key: &str, window: &Window) -> CaseResult {
    let begun = Instant::now();
    let ttl = store.ttl(key).await?;
    let ended = Instant::now();
    let (shortest, longest) = window.left(begun, ended);
    match (window.due(begun, ended), ttl) {
        (Due::Hit, Ttl::Left(left)) => {
            ensure!(
                (shortest..=longest).contains(&left),
                "ttl: expected {shortest:?} to {longest:?}, was {left:?}"
            );
            Ok(())
        }
        (Due::Either, Ttl::Missing) | (Due::Miss, Ttl::Missing) => Ok(()),
        (Due::Either, Ttl::Left(left)) if left <= longest => Ok(()),
        (Due::Miss, other) => unexpected("Missing after the deadline", other),
        (_, other) => unexpected(&format!("{shortest:?} to {longest:?}"), other),
    }
}

fn unexpected(expected: &str, ttl: Ttl) -> CaseResult {
    Err(crate::case::Failure::new(format!(
        "ttl: expected {expected}, was {ttl:?}"
    )))
}

pub(super) async fn ttl_reports(run: Run) -> Outcome {
    let ttl = proptest::prop_oneof![2 => 150_u64..5_000, 2 => long_ttl()];
    let inputs = (name(), entry(), ttl);
    run.more(2)
        .for_all(inputs, |case, (name, entry, ttl)| async move {
            let store = case.open().await?;
            let key = case.key(&name);
            ensure_eq!(
                store.ttl(&key).await?,
                Ttl::Missing,
                "ttl of a key that is not there"
            );
            put(&store, &key, b"7").await?;
            ensure_eq!(
                store.ttl(&key).await?,
                Ttl::Forever,
                "ttl of a key without one"
            );
            store.delete(&key).await?;
            let window = entry.give(&case, &store, &key, millis(ttl)?).await?;
            ensure_left(&store, &key, &window).await?;
            if case.clock().is_virtual() {
                // No whole milliseconds, so that rounding down is told from rounding up.
                case.pass(Duration::from_micros(ttl * 1_000 / 3 + 1)).await;
                ensure_left(&store, &key, &window).await?;
            }
            Ok(())
        })
        .await
}

pub(super) async fn expires_within_window(run: Run) -> Outcome {
    let inputs = (entry(), 15_u64..70);
    run.fewer(2)
        .for_all(inputs, |case, (entry, ttl)| async move {
            let store = case.open().await?;
            let key = case.key("mortal");
            let window = entry.give(&case, &store, &key, millis(ttl)?).await?;
            for round in 0_u32.. {
                let begun = Instant::now();
                // Alternating, since an operation may look at the deadline where another does not.
                let there = match round % 4 {
                    0 => store.get(&key).await?.is_some(),
                    1 => store.has(&key).await?,
                    2 => store.get_many(&[&key]).await? != [None],
                    _ => store.ttl(&key).await? != Ttl::Missing,
                };
                match window.due(begun, Instant::now()) {
                    Due::Hit => ensure!(there, "gone before its ttl of {ttl} ms was over"),
                    Due::Miss => {
                        ensure!(!there, "still there after its ttl of {ttl} ms was over");
                        break;
                    }
                    Due::Either => {}
                }
                let step = if case.clock().is_virtual() { 1 } else { 3 };
                case.clock().pass(Duration::from_millis(step)).await;
            }
            Ok(())
        })
        .await
}

/// The ways to remove a key.
#[derive(Clone, Copy, Debug)]
enum Removal {
    Delete,
    DeleteMany,
    Take,
    CompareAndDelete,
    /// Written over, which removes the deadline alone.
    Overwrite,
}

impl Removal {
    const ALL: &[Self] = &[
        Self::Delete,
        Self::DeleteMany,
        Self::Take,
        Self::CompareAndDelete,
        Self::Overwrite,
    ];
}

pub(super) async fn delete_then_set_has_no_old_deadline(run: Run) -> Outcome {
    // All removals of one way to give a ttl share a case, so that a real clock is waited for once.
    run.for_each(Entry::ALL.to_vec(), |case, entry| async move {
        let store = case.open().await?;
        let mut rewritten = Vec::new();
        for (removal, new_ttl) in Removal::ALL
            .iter()
            .flat_map(|removal| [(removal, None), (removal, Some(HOUR))])
        {
            let key = case.key(&format!("{removal:?} {new_ttl:?}"));
            let window = entry.give(&case, &store, &key, millis(25)?).await?;
            // On a slow machine the key may be gone already; what follows holds all the same.
            match removal {
                Removal::Delete => drop(store.delete(&key).await?),
                Removal::DeleteMany => drop(store.delete_many(&[&key]).await?),
                Removal::Take => drop(store.take(&key).await?),
                Removal::CompareAndDelete => drop(store.compare_and_delete(&key, b"7").await?),
                Removal::Overwrite => {}
            }
            match new_ttl {
                None => put(&store, &key, b"new").await?,
                Some(ttl) => put_for(&store, &key, b"new", ttl).await?,
            }
            rewritten.push((removal, new_ttl, key, window));
        }
        for (removal, new_ttl, key, window) in rewritten {
            case.pass_window(&window).await;
            ensure_eq!(
                store.get(&key).await?.as_deref(),
                Some(&b"new"[..]),
                "the newer value, after the deadline of the older one ({removal:?})"
            );
            let left = store.ttl(&key).await?;
            ensure!(
                matches!(
                    (left, new_ttl),
                    (Ttl::Forever, None) | (Ttl::Left(_), Some(_))
                ),
                "the ttl of the newer value, after the deadline of the older one ({removal:?}): was \
                 {left:?}"
            );
        }
        Ok(())
    })
    .await
}
