//! Operations on many keys in one call.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::Result;
use crate::store::{During, Store};
use crate::time::TtlMillis;

impl<C: Codec> Store<C> {
    /// The values of `keys`, in their order, one answer for each, duplicates included.
    ///
    /// Not atomic: another writer may come between two keys. A value that is not a `T` is an
    /// error in its own place and hides no other; `collect::<Result<Vec<_>>>()` turns the answers
    /// into one result. A key that holds something that is not a value, such as a list that
    /// another program made, counts as absent.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if one of the keys is invalid; nothing was
    /// read.
    #[doc(alias = "mget")]
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: &[impl AsRef<str>],
    ) -> Result<Vec<Result<Option<T>>>> {
        let names = self.physical_all(keys, "get_many")?;
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let answers = self
            .adapter
            .get_many(&names)
            .await
            .map_err(|error| error.with_operation("get_many"))?;
        let decoded = keys
            .iter()
            .zip(answers)
            .map(|(key, answer)| self.decode_answer("get_many", key.as_ref(), Ok(answer)));
        Ok(decoded.collect())
    }

    /// Writes all `entries`, which then never expire. Of a key that comes twice the last stays.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set) before anything is written, if one of the keys or values is invalid.
    /// The backend's own errors may come after some entries are written: the call is not atomic.
    #[doc(alias = "mset")]
    pub async fn set_many<T: Serialize>(&self, entries: &[(impl AsRef<str>, T)]) -> Result<()> {
        self.write_many(entries, None).await
    }

    /// Writes all `entries`, each with this ttl. Of a key that comes twice the last stays.
    ///
    /// # Errors
    ///
    /// As [`set_many`](Self::set_many), and
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the ttl is out of range.
    pub async fn set_many_with<T: Serialize>(
        &self,
        entries: &[(impl AsRef<str>, T)],
        ttl: Duration,
    ) -> Result<()> {
        self.write_many(entries, Some(ttl)).await
    }

    /// Removes all `keys`; answers how many of them were there, each counted once.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if one of the keys is invalid; nothing was
    /// removed. The backend's own errors may come after some keys are gone.
    pub async fn delete_many(&self, keys: &[impl AsRef<str>]) -> Result<u64> {
        let names = self.physical_all(keys, "delete_many")?;
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        self.adapter
            .delete_many(&names)
            .await
            .map_err(|error| error.with_operation("delete_many"))
    }

    async fn write_many<T: Serialize>(
        &self,
        entries: &[(impl AsRef<str>, T)],
        ttl: Option<Duration>,
    ) -> Result<()> {
        let in_batch = |error: crate::Error| error.with_operation("set_many");
        let ttl = ttl.map(TtlMillis::new).transpose().map_err(in_batch)?;
        let mut encoded = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = key.as_ref();
            let name = self.keys.physical(key).during("set_many", key)?;
            encoded.push((name, self.encode(value).during("set_many", key)?));
        }
        let borrowed: Vec<(&str, &[u8])> = encoded
            .iter()
            .map(|(name, bytes)| (name.as_ref(), bytes.as_slice()))
            .collect();
        self.adapter
            .set_many(&borrowed, ttl)
            .await
            .map_err(in_batch)
    }

    fn physical_all<'a>(
        &self,
        keys: &'a [impl AsRef<str>],
        operation: &'static str,
    ) -> Result<Vec<Cow<'a, str>>> {
        let physical = |key: &'a _| {
            let key = AsRef::<str>::as_ref(key);
            self.keys.physical(key).during(operation, key)
        };
        keys.iter().map(physical).collect()
    }
}
