//! An expired key, touched first by each of the operations.

use super::*;
use crate::case::Failure;
use crate::laws::scan_all;

/// The operations that touch a key, each as the first after the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Get,
    Has,
    Delete,
    Increment,
    IncrementInitial,
    Expire,
    Persist,
    ReadTtl,
    Set,
    SetKeep,
    SetIfAbsent,
    SetIfPresent,
    SetIfEquals,
    GetMany,
    SetMany,
    DeleteMany,
    Take,
    Replace,
    ReplaceKeep,
    CompareAndDelete,
    Scan,
}

use Touch::*;

const ALL: &[Touch] = &[
    Get,
    Has,
    Delete,
    Increment,
    IncrementInitial,
    Expire,
    Persist,
    ReadTtl,
    Set,
    SetKeep,
    SetIfAbsent,
    SetIfPresent,
    SetIfEquals,
    GetMany,
    SetMany,
    DeleteMany,
    Take,
    Replace,
    ReplaceKeep,
    CompareAndDelete,
    Scan,
];

/// What must be there after the touch.
enum After {
    Nothing,
    Value(&'static [u8]),
    /// The same, with a deadline.
    Mortal(&'static [u8]),
}

impl Touch {
    /// Touches a key that held `41` and is expired; expects what an absent key would answer.
    async fn apply(self, case: &Case, store: &Handle, key: &str) -> CaseResult<After> {
        let never = Expiry::Never;
        let (expected, answer) = match self {
            Get => ("None", format!("{:?}", store.get(key).await?)),
            Has => ("false", store.has(key).await?.to_string()),
            Delete => ("false", store.delete(key).await?.to_string()),
            Increment => ("1", store.increment(key, 1, None).await?.to_string()),
            IncrementInitial => {
                let count = store.increment(key, 1, Some(millis(HOUR)?)).await?;
                ("1", count.to_string())
            }
            Expire => ("false", store.expire(key, millis(HOUR)?).await?.to_string()),
            Persist => ("false", store.persist(key).await?.to_string()),
            ReadTtl => ("Missing", format!("{:?}", store.ttl(key).await?)),
            Set => {
                let set = store.set(key, b"1", never, Condition::Always).await?;
                ("true", set.to_string())
            }
            SetKeep => {
                let set = store
                    .set(key, b"1", Expiry::Keep, Condition::Always)
                    .await?;
                ("true", set.to_string())
            }
            SetIfAbsent => {
                let set = store.set(key, b"1", never, Condition::IfAbsent).await?;
                ("true", set.to_string())
            }
            SetIfPresent => {
                let set = store.set(key, b"1", never, Condition::IfPresent).await?;
                ("false", set.to_string())
            }
            SetIfEquals => {
                let condition = Condition::IfEquals(b"41");
                let set = store.set(key, b"1", never, condition).await?;
                ("false", set.to_string())
            }
            GetMany => ("[None]", format!("{:?}", store.get_many(&[key]).await?)),
            SetMany => {
                store.set_many(&[(key, b"1")], None).await?;
                ("", String::new())
            }
            DeleteMany => ("0", store.delete_many(&[key]).await?.to_string()),
            Take => ("None", format!("{:?}", store.take(key).await?)),
            Replace => {
                let old = store.replace(key, b"1", never).await?;
                ("None", format!("{old:?}"))
            }
            ReplaceKeep => {
                let old = store.replace(key, b"1", Expiry::Keep).await?;
                ("None", format!("{old:?}"))
            }
            CompareAndDelete => {
                let deleted = store.compare_and_delete(key, b"41").await?;
                ("false", deleted.to_string())
            }
            Scan => {
                let keys = scan_all(store, case.scope(), 100).await?;
                let listed = keys.iter().any(|listed| listed == key);
                ("false", listed.to_string())
            }
        };
        if expected != answer {
            return Err(Failure::new(format!(
                "{self:?}, the first to touch an expired key: expected {expected}, was {answer}"
            )));
        }
        Ok(match self {
            Increment | Set | SetKeep | SetIfAbsent | SetMany | Replace | ReplaceKeep => {
                After::Value(b"1")
            }
            IncrementInitial => After::Mortal(b"1"),
            _ => After::Nothing,
        })
    }
}

pub(in crate::laws) async fn expired_key_is_gone_everywhere(run: Run) -> Outcome {
    // All operations of one way to give a ttl share a case, so that a real clock is waited for
    // once.
    let scans = !run.config().without.contains_key("scan");
    run.for_each(Entry::ALL.to_vec(), move |case, entry| async move {
        let stores = [case.open().await?, case.open().await?];
        let touches = ALL.iter().filter(|touch| scans || **touch != Scan);
        let mut expiring = Vec::new();
        for touch in touches {
            let key = case.key(&format!("{touch:?}"));
            let ttl = millis(20)?;
            match entry {
                Entry::Increment | Entry::ExpireCounter => {
                    let initial = matches!(entry, Entry::Increment).then_some(ttl);
                    stores[0].increment(&key, 41, initial).await?;
                }
                Entry::SetMany => stores[0].set_many(&[(&key, b"41")], Some(ttl)).await?,
                Entry::Expire => put(&stores[0], &key, b"41").await?,
                _ => put_for(&stores[0], &key, b"41", 20).await?,
            }
            if matches!(entry, Entry::Expire | Entry::ExpireCounter) {
                stores[0].expire(&key, ttl).await?;
            }
            let (_, window) = case.timed(ttl, async {}).await;
            expiring.push((*touch, key, window));
        }
        for (number, (touch, key, window)) in expiring.iter().enumerate() {
            window.pass().await;
            let store = &stores[number % 2];
            let after = touch.apply(&case, store, key).await?;
            let value = store.get(key).await?;
            let ttl = store.ttl(key).await?;
            let as_expected = match after {
                After::Nothing => value.is_none() && ttl == Ttl::Missing,
                After::Value(expected) => value.as_deref() == Some(expected) && ttl == Ttl::Forever,
                After::Mortal(expected) => {
                    value.as_deref() == Some(expected) && ttl.left().is_some()
                }
            };
            ensure!(
                as_expected,
                "after {touch:?} touched an expired key, it holds {value:?} with ttl {ttl:?}"
            );
        }
        Ok(())
    })
    .await
}
