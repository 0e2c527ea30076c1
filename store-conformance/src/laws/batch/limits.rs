//! Large batches, and batches that cannot be done as a whole.

use std::collections::BTreeSet;

use store_core::{Bytes, ErrorKind, Store, StoreAdapter};

use super::{borrowed, borrowed_entries};
use crate::case::{Case, CaseResult, ensure, ensure_eq, ensure_kind, millis};
use crate::handle::Handle;
use crate::laws::kv::put;
use crate::laws::ttl::HOUR;
use crate::runner::{Outcome, Run};
use crate::strategies::patterned;

/// Sizes around which batches are cut into chunks.
const BORDERS: &[usize] = &[
    16, 50, 64, 100, 128, 250, 256, 500, 512, 1_000, 1_024, 4_096,
];

pub(in crate::laws) async fn batch_large(run: Run) -> Outcome {
    let expires = !run.config().without.contains_key("ttl");
    let mut sizes = vec![1, 2, 5, 10_000];
    for border in BORDERS {
        sizes.extend([border - 1, *border, border + 1]);
    }
    run.for_each(sizes, move |case, size: usize| async move {
        let store = case.open().await?;
        write(&case, &store, size, expires).await?;
        let (keys, expected) = asked(&case, size);
        let keys = borrowed(&keys);
        let answers = store.get_many(&keys).await?;
        ensure_eq!(answers.len(), size, "the number of answers");
        let wrong = answers
            .iter()
            .zip(&expected)
            .position(|(answer, expected)| answer != expected);
        if let Some(wrong) = wrong {
            ensure_eq!(
                answers[wrong],
                expected[wrong],
                "answer {wrong} of a batch of {size} keys"
            );
        }
        let live: BTreeSet<&Bytes> = expected.iter().flatten().collect();
        let removed = store.delete_many(&keys).await?;
        ensure_eq!(
            removed,
            live.len() as u64,
            "the live keys that delete_many removed, of a batch of {size} keys"
        );
        let left = store.get_many(&keys).await?;
        ensure!(
            left.iter().all(Option::is_none),
            "nothing must be left of a batch of {size} keys after delete_many"
        );
        Ok(())
    })
    .await
}

/// The key of this number and its value.
fn entry(case: &Case, number: usize) -> (String, Bytes) {
    let value = Bytes::from(format!("v{number}"));
    (case.key(&format!("n{number}")), value)
}

/// Writes the entries of a batch of `size`, the last of them twice: first at the other end, so that
/// its two values come in different chunks.
async fn write(case: &Case, store: &Handle, size: usize, expires: bool) -> CaseResult {
    let mut entries: Vec<(String, Bytes)> = (0..size).map(|number| entry(case, number)).collect();
    if size > 1 {
        entries[0] = (entries[size - 1].0.clone(), Bytes::from_static(b"older"));
    }
    let ttl = if expires { Some(millis(HOUR)?) } else { None };
    store.set_many(&borrowed_entries(&entries), ttl).await?;
    if expires {
        let near = BORDERS.iter().flat_map(|border| border - 1..=border + 1);
        for number in near.filter(|number| *number < size).chain([size - 1]) {
            let (key, _) = entry(case, number);
            let ttl = store.ttl(&key).await?;
            ensure!(
                ttl.left().is_some(),
                "the ttl of entry {number} of {size}, of a set_many with one: was {ttl:?}"
            );
        }
    }
    // The one that gave its place away.
    let (key, value) = entry(case, 0);
    put(store, &key, &value).await
}

/// The keys of a batch of `size`, and what they hold: missing ones at both ends and in the middle,
/// so that a shift by one chunk is seen, and one key at both ends.
fn asked(case: &Case, size: usize) -> (Vec<String>, Vec<Option<Bytes>>) {
    // The last ones: the very last was written twice.
    let live = (0..size).skip(if size < 5 { 0 } else { 4 });
    let mut asked: Vec<(String, Option<Bytes>)> = live
        .map(|number| entry(case, number))
        .map(|(key, value)| (key, Some(value)))
        .collect();
    if size >= 5 {
        let again = asked[0].clone();
        for position in [0, size / 2 - 2, size - 2] {
            asked.insert(position, (case.key("missing"), None));
        }
        asked.push(again);
    }
    asked.into_iter().unzip()
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
