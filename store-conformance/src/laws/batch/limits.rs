//! Large batches, and batches that cannot be done as a whole.

use store_core::{Bytes, ErrorKind, Store, StoreAdapter};

use super::borrowed_entries;
use crate::case::{Case, CaseResult, ensure, ensure_eq, ensure_kind};
use crate::handle::Handle;
use crate::laws::kv::put;
use crate::runner::{Outcome, Run};
use crate::strategies::patterned;

pub(in crate::laws) async fn batch_large(run: Run) -> Outcome {
    let mut sizes = vec![1, 2, 10_000];
    for border in [
        16, 50, 64, 100, 128, 250, 256, 500, 512, 1_000, 1_024, 4_096,
    ] {
        sizes.extend([border - 1, border, border + 1]);
    }
    run.for_each(sizes, |case, size: usize| async move {
        let store = case.open().await?;
        large(&case, &store, size).await
    })
    .await
}

async fn large(case: &Case, store: &Handle, size: usize) -> CaseResult {
    let entries: Vec<(String, Bytes)> = (0..size)
        .map(|number| {
            (
                case.key(&format!("n{number}")),
                Bytes::from(format!("v{number}")),
            )
        })
        .collect();
    store.set_many(&borrowed_entries(&entries), None).await?;
    // Missing ones at both ends and in the middle, so that a shift by one chunk is seen.
    let missing = case.key("missing");
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    let mut expected: Vec<Option<&[u8]>> =
        entries.iter().map(|(_, value)| Some(&**value)).collect();
    for position in [0, size / 2, keys.len()] {
        keys.insert(position, &missing);
        expected.insert(position, None);
    }
    let answers = store.get_many(&keys).await?;
    ensure_eq!(answers.len(), keys.len(), "the number of answers");
    let wrong = answers
        .iter()
        .zip(&expected)
        .position(|(answer, expected)| answer.as_deref() != *expected);
    if let Some(wrong) = wrong {
        ensure_eq!(
            answers[wrong].as_deref(),
            expected[wrong],
            "answer {wrong} of a batch of {} keys",
            keys.len()
        );
    }
    let removed = store.delete_many(&keys).await?;
    ensure_eq!(removed, size as u64, "the keys that delete_many removed");
    let left = store.get_many(&keys).await?;
    ensure!(
        left.iter().all(Option::is_none),
        "nothing must be left of a batch of {size} keys after delete_many"
    );
    Ok(())
}

pub(in crate::laws) async fn batch_partial_failure_is_reported(run: Run) -> Outcome {
    run.once(|case| async move {
        let handle = case.open().await?;
        let store = Store::from_adapter(handle.clone());
        let [good, bad, absent] = [case.key("good"), case.key("bad"), case.key("absent")];
        store.set(&good, &1).await?;
        put(&handle, &bad, b"{not JSON").await?;
        // A value that cannot be read is an error in its place, and hides no other.
        let mut answers = store
            .get_many::<i64>(&[&good, &bad, &absent, &good])
            .await?;
        ensure_eq!(answers.len(), 4, "the number of answers");
        ensure_eq!(
            answers.pop().transpose()?.flatten(),
            Some(1),
            "the last answer"
        );
        ensure_eq!(answers.pop().transpose()?.flatten(), None, "the absent one");
        if let Some(undecodable) = answers.pop() {
            ensure_kind(undecodable, ErrorKind::Decode, "the undecodable one")?;
        }
        ensure_eq!(
            answers.pop().transpose()?.flatten(),
            Some(1),
            "the first answer"
        );
        // A batch with an entry that cannot be is refused before anything is written.
        let fresh = case.key("fresh");
        let unencodable = [(fresh.as_str(), 1.5), (good.as_str(), f64::NAN)];
        let answer = store.set_many(&unencodable).await;
        ensure_kind(
            answer,
            ErrorKind::Encode,
            "set_many with a value without a form",
        )?;
        let answer = store.set_many(&[(fresh.as_str(), 1), ("", 2)]).await;
        ensure_kind(
            answer,
            ErrorKind::InvalidInput,
            "set_many with an empty key",
        )?;
        ensure!(
            !handle.has(&fresh).await?,
            "a refused batch must write nothing"
        );
        let answer = store.delete_many(&[good.as_str(), ""]).await;
        ensure_kind(
            answer,
            ErrorKind::InvalidInput,
            "delete_many with an empty key",
        )?;
        let answer = store.get_many::<i64>(&[good.as_str(), ""]).await;
        ensure_kind(
            answer.map(drop),
            ErrorKind::InvalidInput,
            "get_many with an empty key",
        )?;
        ensure_eq!(
            handle.get_many(&[&good, &fresh]).await?,
            [Some(Bytes::from_static(b"1")), None],
            "what is there after the refused batches"
        );
        // So is one that the driver cannot take: all of it is there, or it is an error.
        // Just over the limit, where there is one: the handle refuses that for every driver, so a
        // driver may take it.
        let limit = handle.max_value_len().unwrap_or(usize::MAX);
        let large = patterned(1, limit.saturating_add(1).min(1 << 20));
        let names = [case.key("before"), case.key("large"), case.key("after")];
        let entries: [(&str, &[u8]); 3] =
            [(&names[0], b"b"), (&names[1], &large), (&names[2], b"a")];
        if handle.set_many(&entries, None).await.is_ok() {
            for (key, value) in entries {
                ensure!(
                    handle.get(key).await?.as_deref() == Some(value),
                    "set_many answered without an error, and a value of {} bytes is not there",
                    value.len()
                );
            }
        }
        // A driver that cannot do it says so, instead of doing a part.
        handle.close().await?;
        let answer = handle.set_many(&[(&fresh, b"v")], None).await;
        ensure_kind(answer, ErrorKind::Closed, "set_many after close")?;
        let answer = handle.get_many(&[&good]).await;
        ensure_kind(answer, ErrorKind::Closed, "get_many after close")?;
        let answer = handle.delete_many(&[&good]).await;
        ensure_kind(answer, ErrorKind::Closed, "delete_many after close")?;
        Ok(())
    })
    .await
}
