//! Conditional writes: check and write are one step, for every condition and every caller.

use proptest::prelude::{Strategy, any, prop_oneof};
use store_core::{Bytes, Condition, Expiry, StoreAdapter, Ttl};

use super::kv::put;
use super::ttl::{HOUR, entry};
use crate::case::{CaseResult, Failure, ensure, ensure_eq, millis};
use crate::model::{Answer, Expected, Expires, Model, Operation, When};
use crate::runner::{Outcome, Run};
use crate::sequence::ask;
use crate::strategies::{count, name, patterned, value};

mod races;

pub(super) use races::{
    compare_and_set_loses_no_update, if_absent_one_winner, replace_and_take_are_atomic,
};

pub(super) async fn if_absent_truth_table(run: Run) -> Outcome {
    let state = proptest::option::of((value(), any::<bool>()));
    let inputs = (name(), state, value());
    run.for_all(inputs, |case, (name, state, new)| async move {
        let store = case.open().await?;
        let conditions = [
            When::Always,
            When::IfAbsent,
            When::IfPresent,
            When::IfEquals(Expected::Current),
            When::IfEquals(Expected::Is(new.clone())),
            When::IfEquals(Expected::Is(Bytes::new())),
        ];
        let day = 24 * HOUR;
        let mut number = 0;
        for when in &conditions {
            for expires in [Expires::Never, Expires::After(day), Expires::Keep] {
                number += 1;
                let key = format!("{number}{name}");
                let mut model = Model::default();
                let mut operations = Vec::new();
                if let Some((old, mortal)) = &state {
                    let expires = if *mortal {
                        Expires::After(HOUR)
                    } else {
                        Expires::Never
                    };
                    operations.push(Operation::Set(
                        key.clone(),
                        old.clone(),
                        expires,
                        When::Always,
                    ));
                }
                operations.push(Operation::Set(
                    key.clone(),
                    new.clone(),
                    expires,
                    when.clone(),
                ));
                operations.push(Operation::Get(key.clone()));
                operations.push(Operation::Ttl(key));
                for operation in operations {
                    let answer = ask(&case, &store, &model, &operation).await?;
                    let expected = model.apply(&operation);
                    // Both ttls are hours apart, so half an hour tells them.
                    let half = std::time::Duration::from_millis(HOUR / 2);
                    ensure!(
                        answer.agrees(&expected, half, half),
                        "{operation:?}, where the key held {state:?}: expected {expected:?}, was \
                         {answer:?}"
                    );
                    if let Answer::Error(kind) = answer {
                        return Err(Failure::new(format!("{operation:?} answered {kind:?}")));
                    }
                }
            }
        }
        Ok(())
    })
    .await
}

pub(super) async fn if_absent_after_delete_and_expiry(run: Run) -> Outcome {
    run.fewer(2)
        .for_all((entry(), value()), |case, (entry, value)| async move {
            let stores = [case.open().await?, case.open().await?];
            let claim = async |key: &str, by: usize| -> CaseResult<bool> {
                let set = stores[by].set(key, &value, Expiry::Never, Condition::IfAbsent);
                Ok(set.await?)
            };
            let [deleted, taken, expired] =
                [case.key("deleted"), case.key("taken"), case.key("expired")];
            for key in [&deleted, &taken] {
                ensure!(claim(key, 0).await?, "the first claim must win");
                ensure!(!claim(key, 1).await?, "the second claim must lose");
            }
            stores[0].delete(&deleted).await?;
            stores[0].take(&taken).await?;
            let window = entry.give(&case, &stores[0], &expired, millis(15)?).await?;
            case.pass_window(&window).await;
            for key in [&deleted, &taken, &expired] {
                ensure!(
                    claim(key, 1).await?,
                    "a claim must win where the earlier value is deleted or expired"
                );
                ensure_eq!(
                    stores[0].get(key).await?.as_ref(),
                    Some(&value),
                    "the value of the claim"
                );
                ensure_eq!(
                    stores[0].ttl(key).await?,
                    Ttl::Forever,
                    "the ttl of the claim"
                );
                ensure!(!claim(key, 0).await?, "a later claim must lose");
            }
            Ok(())
        })
        .await
}

/// Values that a sloppy comparison takes for `value`.
fn lookalikes(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [&b" "[..], b"\0", b"\n", b"0", b"x"]
        .iter()
        .flat_map(|more| [[value, more].concat(), [more, value].concat()])
        .collect();
    all.push(value.to_ascii_uppercase());
    all.push(value.to_ascii_lowercase());
    all.push(value.trim_ascii().to_vec());
    all.push(Vec::new());
    all.push(String::from_utf8_lossy(value).into_owned().into_bytes());
    if let [first, rest @ ..] = value {
        all.push(rest.to_vec());
        all.push(value[..rest.len()].to_vec());
        all.push([&[first ^ 1], rest].concat());
        let mut last = value.to_vec();
        last[rest.len()] ^= 0x80;
        all.push(last);
    }
    all.retain(|other| other != value);
    all
}

pub(super) async fn if_equals_compares_bytes(run: Run) -> Outcome {
    // Numbers too, which have other forms than their canonical one.
    let number = count().prop_map(|count| Bytes::from(count.to_string()));
    let long = (any::<u8>(), 65_usize..70_000).prop_map(|(seed, len)| patterned(seed, len));
    let compared = prop_oneof![3 => value(), 1 => number, 1 => long];
    let inputs = (name(), compared, value());
    run.for_all(inputs, |case, (name, value, new)| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        put(&store, &key, &value).await?;
        for other in lookalikes(&value) {
            let set = store.set(&key, &new, Expiry::Never, Condition::IfEquals(&other));
            ensure!(!set.await?, "a value must not equal {other:?}");
            ensure!(
                !store.compare_and_delete(&key, &other).await?,
                "a value must not equal {other:?} in compare_and_delete"
            );
            ensure_eq!(
                store.get(&key).await?.as_ref(),
                Some(&value),
                "the value after comparisons that do not hold"
            );
        }
        let set = store.set(&key, &new, Expiry::Never, Condition::IfEquals(&value));
        ensure!(set.await?, "a value must equal itself");
        ensure_eq!(store.get(&key).await?.as_ref(), Some(&new), "the new value");
        ensure!(
            store.compare_and_delete(&key, &new).await?,
            "compare_and_delete must find the value equal to itself"
        );
        ensure!(!store.has(&key).await?, "has after compare_and_delete");
        for expected in [&b""[..], &new] {
            let equal = Condition::IfEquals(expected);
            ensure!(
                !store.set(&key, b"x", Expiry::Never, equal).await?,
                "an absent key must equal nothing, and so not {expected:?}"
            );
        }
        ensure!(
            !store.compare_and_delete(&key, b"").await?,
            "an absent key equals nothing, not even the empty value"
        );
        Ok(())
    })
    .await
}
