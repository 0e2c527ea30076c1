//! A codec through a driver: an integer is a counter, and nothing is not absence.

use std::sync::Arc;

use store_core::{Codec, ErrorKind, Store, StoreAdapter};

use super::shapes::Wrapper;
use crate::case::{CaseResult, ensure, ensure_eq, ensure_kind};
use crate::handle::Handle;
use crate::model::decimal;

/// The store of a driver with this codec.
fn store_of<C: Codec>(codec: &C, handle: &Arc<Handle>) -> Store<C> {
    Store::from_adapter(handle.clone()).with_codec(codec.clone())
}

pub(crate) async fn is_read_as_count<C: Codec>(
    codec: &C,
    handle: &Arc<Handle>,
    key: &str,
    count: i64,
) -> CaseResult {
    let store = store_of(codec, handle);
    let answer = store.increment_by(key, count).await?;
    ensure_eq!(
        store.get::<i64>(key).await?,
        Some(answer),
        "a counter, read through {}",
        codec.name()
    );
    ensure_eq!(
        store.get::<Option<Wrapper>>(key).await?,
        Some(Some(Wrapper(answer))),
        "a counter, read through {} as an optional newtype",
        codec.name()
    );
    if let Ok(small) = i8::try_from(answer) {
        ensure_eq!(store.get::<i8>(key).await?, Some(small), "a counter as i8");
    }
    ensure!(
        store.get::<String>(key).await.is_err(),
        "a counter must not be read as a text"
    );
    ensure_eq!(
        store.take::<i64>(key).await?,
        Some(answer),
        "a counter, taken through {}",
        codec.name()
    );
    Ok(())
}

pub(crate) async fn is_counted_on<C: Codec>(
    codec: &C,
    handle: &Arc<Handle>,
    key: &str,
    count: i64,
) -> CaseResult {
    let store = store_of(codec, handle);
    let next = count.checked_add(1);
    macro_rules! counts_on {
        ($value:expr) => {
            store.set(key, $value).await?;
            ensure_eq!(
                handle.get(key).await?,
                Some(decimal(count)),
                "an integer that was set through {}",
                codec.name()
            );
            let answer = store.increment(key).await;
            match next {
                Some(next) => ensure_eq!(answer?, next, "increment after set"),
                None => ensure_kind(answer, ErrorKind::Overflow, "increment")?,
            }
        };
    }
    counts_on!(&count);
    counts_on!(&Wrapper(count));
    counts_on!(&Some(count));
    counts_on!(&i128::from(count));
    if let Ok(small) = u8::try_from(count) {
        counts_on!(&small);
    }
    // No i64, and so no counter.
    store.set(key, &u64::MAX).await?;
    let answer = store.increment(key).await;
    ensure_kind(answer, ErrorKind::WrongType, "increment of u64::MAX")?;
    ensure_eq!(store.get(key).await?, Some(u64::MAX), "u64::MAX");
    // A number inside of a value is none either.
    store.set(key, &[count]).await?;
    let answer = store.increment(key).await;
    ensure_kind(answer, ErrorKind::WrongType, "increment of a list")?;
    ensure_eq!(store.get(key).await?, Some([count]), "the list");
    Ok(())
}

pub(crate) async fn keeps_none<C: Codec>(codec: &C, handle: &Arc<Handle>, key: &str) -> CaseResult {
    let store = store_of(codec, handle);
    ensure_eq!(
        store.get::<Option<i64>>(key).await?,
        None,
        "get of an absent key"
    );
    store.set(key, &None::<i64>).await?;
    ensure!(
        store.has(key).await?,
        "has of a stored None must answer true"
    );
    ensure_eq!(
        store.get::<Option<i64>>(key).await?,
        Some(None),
        "get of a stored None, through {}",
        codec.name()
    );
    ensure_eq!(
        store.get::<()>(key).await.is_ok(),
        true,
        "a stored None as a unit"
    );
    let answer = store.get::<i64>(key).await;
    ensure_kind(
        answer,
        ErrorKind::Decode,
        "a stored None, read as an integer",
    )?;
    let mut many = store.get_many::<Option<i64>>(&[key]).await?;
    let one = many.pop().transpose()?.flatten();
    ensure_eq!(one, Some(None), "get_many of a stored None");
    ensure_eq!(
        store.replace(key, &Some(1_i64)).await?,
        Some(None),
        "replace of a stored None"
    );
    store.set(key, &None::<i64>).await?;
    ensure_eq!(
        store.take::<Option<i64>>(key).await?,
        Some(None),
        "take of a None"
    );
    ensure_eq!(
        store.take::<Option<i64>>(key).await?,
        None,
        "take of nothing"
    );
    Ok(())
}
