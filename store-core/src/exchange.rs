//! The operations on one key that read and write in one step: take, replace, compare.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapter::Condition;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Presence, SetOptions};
use crate::store::{During, Store};
use crate::time::Expiry;

impl<C: Codec> Store<C> {
    /// Removes `key` and answers the value that it had, in one atomic step.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if the value was not a `T`. It is gone from the store, and
    /// [`Error::bytes`] has it.
    #[doc(alias = "getdel")]
    #[doc(alias = "pop")]
    pub async fn take<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let name = self.key("take", key)?;
        let answer = self.adapter.take(&name).await;
        self.decode_answer("take", key, answer)
    }

    /// Writes `value`, which then never expires, and answers the one it replaced, in one atomic
    /// step.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and [`ErrorKind::Decode`] if the old value was not a `T`. It is
    /// replaced, and [`Error::bytes`] has it.
    #[doc(alias = "getset")]
    pub async fn replace<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<Option<T>> {
        self.replace_with(key, value, SetOptions::new()).await
    }

    /// Writes `value` with the ttl of `options` and answers the one it replaced, in one atomic
    /// step.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace), and [`ErrorKind::InvalidInput`] if the ttl is out of range
    /// or `options` have a condition.
    pub async fn replace_with<T: Serialize + DeserializeOwned>(
        &self,
        key: &str,
        value: &T,
        options: impl Into<SetOptions>,
    ) -> Result<Option<T>> {
        let name = self.key("replace", key)?;
        let expiry = unconditional(options.into()).during("replace", key)?;
        let bytes = self.encode(value).during("replace", key)?;
        let answer = self.adapter.replace(&name, &bytes, expiry).await;
        self.decode_answer("replace", key, answer)
    }

    /// Writes `value`, which then never expires, if the key holds `expected`; answers whether it
    /// did. One atomic step.
    ///
    /// The encoded bytes are compared, so both must be written by the same codec, and a type
    /// whose order is not fixed, such as one with a `HashMap`, may not equal itself.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    #[doc(alias = "cas")]
    pub async fn compare_and_set<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: &T,
        value: &T,
    ) -> Result<bool> {
        self.compare_and_set_with(key, expected, value, SetOptions::new())
            .await
    }

    /// Writes `value` with the ttl of `options` if the key holds `expected`; answers whether it
    /// did. One atomic step.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and [`ErrorKind::InvalidInput`] if the ttl is out of range or
    /// `options` have a condition of their own.
    pub async fn compare_and_set_with<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: &T,
        value: &T,
        options: impl Into<SetOptions>,
    ) -> Result<bool> {
        let operation = "compare_and_set";
        let name = self.key(operation, key)?;
        let expiry = unconditional(options.into()).during(operation, key)?;
        let expected = self.encode(expected).during(operation, key)?;
        let bytes = self.encode(value).during(operation, key)?;
        let condition = Condition::IfEquals(&expected);
        let written = self.adapter.set(&name, &bytes, expiry, condition).await;
        written.during(operation, key)
    }

    /// Removes `key` if it holds `expected`; answers whether it did. One atomic step.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] if the codec has no form for `expected`.
    pub async fn compare_and_delete<T: Serialize + ?Sized>(
        &self,
        key: &str,
        expected: &T,
    ) -> Result<bool> {
        let operation = "compare_and_delete";
        let name = self.key(operation, key)?;
        let expected = self.encode(expected).during(operation, key)?;
        let removed = self.adapter.compare_and_delete(&name, &expected).await;
        removed.during(operation, key)
    }
}

/// The expiry of options that must not have a condition.
pub(crate) fn unconditional(options: SetOptions) -> Result<Expiry> {
    if options.presence() != Presence::Any {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "this operation has its own condition; if_absent and if_present belong to set_with",
        ));
    }
    options.expiry()
}
