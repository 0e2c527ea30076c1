//! Values: opaque bytes of any length, copied in and out.

use proptest::prelude::any;
use store_core::{Bytes, Condition, ErrorKind, Expiry, Store, StoreAdapter};

use super::{put, put_for};
use crate::case::{CaseResult, Failure, ensure, ensure_eq, ensure_kind};
use crate::handle::Handle;
use crate::runner::{Outcome, Run};
use crate::strategies::{EDGE_VALUES, name, names, patterned, value};

pub(in crate::laws) async fn edge_values_roundtrip(run: Run) -> Outcome {
    let largest = 16 << 20;
    let mut inputs: Vec<(String, Vec<Bytes>)> = vec![(
        "edges".to_owned(),
        EDGE_VALUES
            .iter()
            .copied()
            .map(Bytes::from_static)
            .collect(),
    )];
    for len in [255, 4_096, 65_535, 65_536, (1 << 20) + 1, largest] {
        inputs.push((format!("{len} bytes"), vec![patterned(7, len)]));
    }
    // One group of values is one case; the text is what a failure shows.
    let groups: Vec<String> = inputs.iter().map(|(text, _)| text.clone()).collect();
    run.for_each(groups, move |case, group| {
        let values = inputs.iter().find(|(text, _)| *text == group);
        let values = values.map(|(_, values)| values.clone()).unwrap_or_default();
        async move {
            let store = case.open().await?;
            let key = case.key("edge");
            let allowed = store.max_value_len().unwrap_or(usize::MAX);
            for value in values.into_iter().filter(|value| value.len() <= allowed) {
                put(&store, &key, &value).await?;
                let read = store.get(&key).await?;
                ensure_same(&read, &value, "get")?;
                store.set_many(&[(&key, &value)], None).await?;
                let read = store.get_many(&[&key]).await?;
                ensure_eq!(read.len(), 1, "the number of answers of get_many");
                ensure_same(&read[0], &value, "get_many after set_many")?;
            }
            Ok(())
        }
    })
    .await
}

/// As `ensure_eq`, without the megabytes in the text.
fn ensure_same(read: &Option<Bytes>, value: &Bytes, what: &str) -> CaseResult {
    let Some(read) = read else {
        return Err(Failure::new(format!(
            "{what} of a value of {} bytes answered None",
            value.len()
        )));
    };
    if read == value {
        return Ok(());
    }
    let mut pairs = read.iter().zip(value);
    let differs = pairs.position(|(read, value)| read != value);
    Err(Failure::new(format!(
        "{what} of a value of {} bytes answered {} bytes, the first difference at {differs:?}",
        value.len(),
        read.len()
    )))
}

pub(in crate::laws) async fn arguments_not_retained(run: Run) -> Outcome {
    let inputs = (names(2..8), proptest::collection::vec(any::<u8>(), 1..64));
    run.for_all(inputs, |case, (names, bytes)| async move {
        let store = case.open().await?;
        let (mut key, mut value) = (String::new(), Vec::new());
        let fill = |key: &mut String, value: &mut Vec<u8>, number: usize| {
            key.clear();
            key.push_str(&case.key(&names[number]));
            value.clear();
            value.extend(bytes.iter().map(|byte| byte.wrapping_add(number as u8)));
        };
        // One buffer for all: a driver that keeps what it was lent sees it change.
        for number in 0..names.len() {
            fill(&mut key, &mut value, number);
            put(&store, &key, &value).await?;
        }
        for (number, name) in names.iter().enumerate() {
            fill(&mut key, &mut value, number);
            let read = store.get(&key).await?;
            ensure_eq!(
                read.as_deref(),
                Some(&value[..]),
                "get of {name:?}, written from a buffer that was used again"
            );
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn returned_value_is_owned(run: Run) -> Outcome {
    let inputs = (name(), value(), value());
    run.for_all(inputs, |case, (name, first, second)| async move {
        let store = case.open().await?;
        let key = case.key(&name);
        put(&store, &key, &first).await?;
        let read = store.get(&key).await?;
        let read_many = store.get_many(&[&key, &key]).await?;
        put(&store, &key, &second).await?;
        ensure_eq!(read, Some(first.clone()), "what get answered, after a set");
        let replaced = store.replace(&key, &first, Expiry::Never).await?;
        store.delete(&key).await?;
        store.close().await?;
        drop(store);
        ensure_eq!(
            replaced,
            Some(second),
            "what replace answered, after the store is gone"
        );
        ensure_eq!(
            read_many,
            vec![Some(first.clone()), Some(first)],
            "what get_many answered, after the store is gone"
        );
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn oversize_is_refused_whole(run: Run) -> Outcome {
    // A limit that is too large to be tried is as good as none.
    const TRIED: usize = 64 << 20;
    run.once(|case| async move {
        let handle = case.open().await?;
        let key = case.key("k");
        let Some(limit) = handle.max_value_len().filter(|limit| *limit <= TRIED) else {
            return roomy(&handle, &key).await;
        };
        let largest = patterned(3, limit);
        put(&handle, &key, &largest).await?;
        ensure_same(&handle.get(&key).await?, &largest, "get")?;
        // The handle refuses for every driver; as JSON a text has two bytes more.
        let store = Store::from_adapter(handle.clone());
        let (fits, over) = ("x".repeat(limit - 2), "x".repeat(limit - 1));
        store.set(&key, &fits).await?;
        ensure_eq!(
            handle.get(&key).await?.map(|value| value.len()),
            Some(limit),
            "the length"
        );
        // A driver may leave that to the handle; what it takes all the same, it keeps whole.
        let larger = patterned(3, limit + 1);
        put(&handle, &key, b"old").await?;
        let set = handle.set(&key, &larger, Expiry::Never, Condition::Always);
        match set.await {
            Ok(_) => ensure_same(&handle.get(&key).await?, &larger, "get over the limit")?,
            Err(error) => {
                ensure_eq!(error.kind(), ErrorKind::TooLarge, "the driver's refusal");
                ensure_eq!(
                    handle.get(&key).await?.as_deref(),
                    Some(&b"old"[..]),
                    "the old value, after the driver refused"
                );
            }
        }
        put_for(&handle, &key, b"old", 3_600_000).await?;
        let set = store.set(&key, &over).await;
        ensure_kind(set, ErrorKind::TooLarge, "set over the limit")?;
        let replace = store.replace(&key, &over).await;
        ensure_kind(replace, ErrorKind::TooLarge, "replace over the limit")?;
        let set_many = store.set_many(&[(&key, &over)]).await;
        ensure_kind(set_many, ErrorKind::TooLarge, "set_many over the limit")?;
        ensure_eq!(
            handle.get(&key).await?.as_deref(),
            Some(&b"old"[..]),
            "the old value, after the refusals"
        );
        ensure!(
            handle.ttl(&key).await?.left().is_some(),
            "the old deadline must stay after a refusal"
        );
        Ok(())
    })
    .await
}

/// A driver that names no limit takes a value that others would refuse.
async fn roomy(store: &Handle, key: &str) -> CaseResult {
    let large = patterned(3, (2 << 20) + 1);
    put(store, key, &large).await?;
    ensure_same(&store.get(key).await?, &large, "get without a limit")
}
