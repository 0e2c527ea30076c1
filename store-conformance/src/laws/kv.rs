//! Keys and values: what is written is read, whatever it is made of, and nothing else is.

use store_core::{Bytes, Condition, Expiry, MAX_NAME_LEN, Store, StoreAdapter, Ttl};

use crate::case::{CaseResult, ensure, ensure_eq, millis};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};
use crate::strategies::{EDGE_NAMES, longest_name, name, names, value};

mod model;
mod values;

pub(super) use model::model_agrees;
pub(super) use values::{
    arguments_not_retained, edge_values_roundtrip, oversize_is_refused_whole,
    returned_value_is_owned,
};

/// Writes without ttl and condition, and expects that it is written.
pub(super) async fn put(store: &Handle, key: &str, value: &[u8]) -> CaseResult {
    let written = store
        .set(key, value, Expiry::Never, Condition::Always)
        .await?;
    ensure!(written, "a set without condition must answer true");
    Ok(())
}

/// Writes with a ttl, and expects that it is written.
pub(super) async fn put_for(store: &Handle, key: &str, value: &[u8], ttl: u64) -> CaseResult {
    let expiry = Expiry::After(millis(ttl)?);
    let written = store.set(key, value, expiry, Condition::Always).await?;
    ensure!(written, "a set without condition must answer true");
    Ok(())
}

pub(super) async fn get_set_roundtrip(run: Run) -> Outcome {
    run.more(2)
        .for_all((name(), value()), |case, (name, value)| async move {
            let store = case.open().await?;
            let key = case.key(&name);
            put(&store, &key, &value).await?;
            ensure_eq!(store.get(&key).await?, Some(value), "get after set");
            Ok(())
        })
        .await
}

pub(super) async fn get_missing_is_none(run: Run) -> Outcome {
    let inputs = (names(2), value());
    run.for_all(inputs, |case, (names, value)| async move {
        let store = case.open().await?;
        let [there, missing] = [case.key(&names[0]), case.key(&names[1])];
        put(&store, &there, &value).await?;
        ensure_eq!(store.get(&missing).await?, None, "get of a missing key");
        ensure!(
            !store.has(&missing).await?,
            "has of a missing key, after a get of it, must answer false"
        );
        Ok(())
    })
    .await
}

pub(super) async fn set_overwrites(run: Run) -> Outcome {
    let inputs = (name(), proptest::collection::vec(value(), 2..6));
    run.for_all(inputs, |case, (name, values)| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        // From long to short and back: a driver that writes in place keeps a tail.
        for value in values.iter().chain(values.iter().rev()) {
            put(&store, &key, value).await?;
            ensure_eq!(
                store.get(&key).await?,
                Some(value.clone()),
                "get after the latest set"
            );
        }
        Ok(())
    })
    .await
}

pub(super) async fn delete_reports_presence(run: Run) -> Outcome {
    let inputs = (names(2), value());
    run.for_all(inputs, |case, (names, value)| async move {
        let store = case.open().await?;
        let [key, other] = [case.key(&names[0]), case.key(&names[1])];
        ensure!(
            !store.delete(&key).await?,
            "delete of a key that was never there must answer false"
        );
        put(&store, &key, &value).await?;
        put(&store, &other, &value).await?;
        ensure!(
            store.delete(&key).await?,
            "delete of a live key must answer true"
        );
        ensure!(
            !store.delete(&key).await?,
            "the second delete must answer false"
        );
        ensure_eq!(store.get(&key).await?, None, "get after delete");
        ensure_eq!(store.get(&other).await?, Some(value), "get of another key");
        Ok(())
    })
    .await
}

pub(super) async fn has_agrees_with_get(run: Run) -> Outcome {
    let inputs = (name(), value());
    run.fewer(2)
        .for_all(inputs, |case, (name, value)| async move {
            let store = case.open().await?;
            let key = case.key(&name);
            let agree = async |there: bool, when: &str| -> CaseResult {
                ensure_eq!(store.has(&key).await?, there, "has {when}");
                ensure_eq!(
                    store.get(&key).await?.is_some(),
                    there,
                    "get is Some {when}"
                );
                ensure_eq!(store.has(&key).await?, there, "has {when}, after a get");
                Ok(())
            };
            agree(false, "before the set").await?;
            put(&store, &key, &value).await?;
            agree(true, "after the set").await?;
            store.delete(&key).await?;
            agree(false, "after the delete").await?;
            let ttl = millis(20)?;
            let set = store.set(&key, &value, Expiry::After(ttl), Condition::Always);
            let (written, window) = case.timed(ttl, set).await;
            written?;
            case.pass_window(&window).await;
            agree(false, "after the deadline").await
        })
        .await
}

pub(super) async fn empty_value_is_present(run: Run) -> Outcome {
    run.for_all(name(), |case, name| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        let empty = || Some(Bytes::new());
        put(&store, &key, b"").await?;
        ensure_eq!(store.get(&key).await?, empty(), "get of an empty value");
        ensure!(
            store.has(&key).await?,
            "has of an empty value must answer true"
        );
        ensure_eq!(
            store.ttl(&key).await?,
            Ttl::Forever,
            "ttl of an empty value"
        );
        ensure!(
            store.delete(&key).await?,
            "delete of an empty value must answer true"
        );
        ensure!(
            !store.has(&key).await?,
            "has must answer false after the delete"
        );
        put(&store, &key, b"x").await?;
        put(&store, &key, b"").await?;
        ensure_eq!(
            store.get(&key).await?,
            empty(),
            "get, after an empty value replaced another"
        );
        Ok(())
    })
    .await
}

/// `name`, and what a driver might take for the same.
fn lookalikes(name: &str) -> Vec<String> {
    let mut all = vec![
        name.to_owned(),
        name.to_uppercase(),
        name.to_lowercase(),
        name.trim().to_owned(),
        name.replace(|character: char| !character.is_ascii(), "?"),
        name.replace(|character: char| !character.is_ascii(), "\u{fffd}"),
        name.split('\0').next().unwrap_or_default().to_owned(),
        format!("{name}{name}"),
    ];
    for end in [" ", "\0", "\n", "*", ":", "\u{301}"] {
        all.push(format!("{name}{end}"));
        all.push(format!("{end}{name}"));
    }
    all
}

pub(super) async fn edge_keys_are_distinct(run: Run) -> Outcome {
    let edges: Vec<String> = EDGE_NAMES.iter().map(|name| (*name).to_owned()).collect();
    run.fewer(2)
        .for_these_and_all(vec![edges], names(1..6), |case, mut names| async move {
            let store = case.open().await?;
            if names.len() < EDGE_NAMES.len() {
                names = names.iter().flat_map(|name| lookalikes(name)).collect();
            }
            names.extend([1, 2, 3].map(|count| "k".repeat(count * 255)));
            names.push(longest_name(case.scope(), 'a'));
            names.push(longest_name(case.scope(), 'b'));
            names.retain(|name| case.scope().len() + name.len() <= MAX_NAME_LEN);
            names.sort();
            names.dedup();
            let keys = case.keys(&names);
            for (number, key) in keys.iter().enumerate() {
                put(&store, key, number.to_string().as_bytes()).await?;
            }
            let expected = |number: usize| Some(Bytes::from(number.to_string()));
            for (number, key) in keys.iter().enumerate() {
                ensure_eq!(
                    store.get(key).await?,
                    expected(number),
                    "get of {:?} among other keys",
                    names[number]
                );
            }
            // Deleting one must leave its lookalikes.
            for key in keys.iter().step_by(2) {
                ensure!(
                    store.delete(key).await?,
                    "delete of a live key must answer true"
                );
            }
            for (number, key) in keys.iter().enumerate() {
                let left = (number % 2 == 1).then(|| expected(number)).flatten();
                ensure_eq!(
                    store.get(key).await?,
                    left,
                    "get of {:?}, after every other key was deleted",
                    names[number]
                );
            }
            Ok(())
        })
        .await
}

pub(super) async fn read_your_writes(run: Run) -> Outcome {
    let step = (0_usize..3, proptest::option::weighted(0.8, value()));
    let inputs = (name(), proptest::collection::vec(step, 1..12));
    run.for_all(inputs, |case, (name, steps)| async move {
        let stores = [case.open().await?, case.open().await?, case.open().await?];
        let key = case.key(&name);
        for (writer, value) in steps {
            // Every handle has just read the old value, and may have kept it.
            for store in &stores {
                store.get(&key).await?;
            }
            match &value {
                Some(value) => put(&stores[writer], &key, value).await?,
                None => drop(stores[writer].delete(&key).await?),
            }
            let store = &stores[writer];
            ensure_eq!(store.get(&key).await?, value, "get by the writer");
            ensure_eq!(store.has(&key).await?, value.is_some(), "has by the writer");
            ensure_eq!(
                store.get_many(&[&key]).await?,
                vec![value.clone()],
                "get_many by the writer"
            );
        }
        Ok(())
    })
    .await
}

pub(super) async fn prefix_is_not_confusable(run: Run) -> Outcome {
    let inputs = ("[a:~%]{1,4}", "[ab:~%]{1,4}", 1_usize..4);
    run.for_all(inputs, |case, (kind, rest, cut)| async move {
        // One text, cut into kind, id and name in two ways, is two places.
        let text: Vec<char> = kind.chars().chain(rest.chars()).collect();
        let split = |at: usize| -> (String, String) {
            let at = at.clamp(1, text.len() - 1);
            (text[..at].iter().collect(), text[at..].iter().collect())
        };
        let root = Store::from_adapter(case.open().await?).with_prefix(case.scope());
        let ((front, back), (other_front, other_back)) = (split(cut), split(cut + 1));
        let places = [
            (root.scope("kind", &front), &back, 1),
            (root.scope("kind", &other_front), &other_back, 2),
            (root.scope(&front, "id"), &back, 3),
            (root.scope(&front, "id").scope("kind", &front), &back, 4),
            (root.scope(&front, &back), &back, 5),
            (root.clone(), &back, 6),
        ];
        for (store, name, number) in &places {
            store.set(name, number).await?;
        }
        let same = split(cut) == split(cut + 1);
        for (store, name, number) in &places {
            let expected = if same && *number == 1 { 2 } else { *number };
            ensure_eq!(
                store.get(name).await?,
                Some(expected),
                "{name:?} of place {number}, cut out of {text:?}"
            );
        }
        Ok(())
    })
    .await
}
