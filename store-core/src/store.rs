//! The handle that users hold: validate, prefix, encode, call the driver, decode.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapter::{Condition, StoreAdapter};
use crate::codec::{Codec, Json};
use crate::error::{Error, ErrorKind, Result};
use crate::health::Health;
use crate::name::Namespace;
use crate::options::{Presence, SetOptions};
use crate::read_through::Flights;
use crate::time::{Expiry, Ttl, TtlMillis};

/// A store: typed values and messages over a driver.
///
/// Cheap to clone; clones share the driver. Values and messages are anything that serde can write
/// and read; `C` is the [`Codec`] that does. What is read owns its data: a type that borrows, such as
/// `&str`, can be set and published, and is read as one that does not, such as `String`.
///
/// Names, that is keys and channels, are non-empty and at most [`MAX_NAME_LEN`] bytes with their
/// prefix. They are compared byte for byte, and no character is special. Anything else is
/// [`ErrorKind::InvalidInput`] before the backend is asked.
///
/// # Errors
///
/// Every operation may also answer with the kinds that come from the backend:
/// [`ErrorKind::Unavailable`] (not applied), [`ErrorKind::Indeterminate`] (perhaps applied),
/// [`ErrorKind::PermissionDenied`], [`ErrorKind::Closed`], [`ErrorKind::Backend`]. The methods name
/// those that are their own.
///
/// # Cancellation
///
/// Every call may be dropped at any await. The operation has then happened wholly or not at all,
/// or will happen; other calls are not disturbed.
///
/// [`MAX_NAME_LEN`]: crate::MAX_NAME_LEN
#[derive(Clone)]
pub struct Store<C = Json> {
    pub(crate) adapter: Arc<dyn StoreAdapter>,
    pub(crate) keys: Namespace,
    pub(crate) channels: Namespace,
    pub(crate) codec: C,
    pub(crate) flights: Flights,
}

#[cfg(feature = "json")]
impl Store {
    /// Makes a store over `driver`, with values as JSON.
    pub fn new(driver: impl StoreAdapter) -> Self {
        Self::from_adapter(Arc::new(driver))
    }

    /// Makes a store over a driver that is shared, with values as JSON.
    #[must_use]
    pub fn from_adapter(adapter: Arc<dyn StoreAdapter>) -> Self {
        Self::from_parts(adapter, Json)
    }
}

impl<C: Codec> Store<C> {
    /// Makes a store over a driver that is shared, with a codec.
    #[must_use]
    pub fn from_parts(adapter: Arc<dyn StoreAdapter>, codec: C) -> Self {
        Self {
            adapter,
            keys: Namespace::keys(),
            channels: Namespace::channels(),
            codec,
            flights: Flights::default(),
        }
    }

    /// The same store with another codec.
    #[must_use]
    pub fn with_codec<D: Codec>(self, codec: D) -> Store<D> {
        Store {
            adapter: self.adapter,
            keys: self.keys,
            channels: self.channels,
            codec,
            flights: self.flights,
        }
    }

    /// The store with `prefix` in front of its keys and channels.
    ///
    /// The prefix stands there as it is, behind the prefixes and scopes that the store has. It
    /// is part of a name and not a wall: the keys of prefix `a` include those of prefix `ab`, and a
    /// prefix that is written like a scope is one. Use [`scope`](Self::scope) to keep tenants
    /// apart.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.keys = self.keys.with_prefix(prefix);
        self.channels = self.channels.with_prefix(prefix);
        self
    }

    /// The store with `prefix` in front of its keys alone, as the `keyPrefix` of Igniter.js does.
    #[must_use]
    pub fn with_key_prefix(mut self, prefix: &str) -> Self {
        self.keys = self.keys.with_prefix(prefix);
        self
    }

    /// The store of one tenant, one workspace, one whatever `kind` says.
    ///
    /// Two stores of different scopes share no key and no channel, whatever characters kind, id
    /// and names have; that includes a scope and the scopes inside of it. `scan`, `clear` and
    /// patterns stay inside too.
    ///
    /// In the backend a name is `~kind:id:` and then the name. Where kind or id have a `%`, `:` or
    /// `~`, it is written as `%25`, `%3A` or `%7E`, and a name that begins with `~` gets one more.
    #[must_use]
    pub fn scope(&self, kind: &str, id: &str) -> Self {
        let mut scoped = self.clone();
        scoped.keys = scoped.keys.with_scope(kind, id);
        scoped.channels = scoped.channels.with_scope(kind, id);
        scoped
    }

    /// The value of `key`, or `None` where it is absent or expired.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if the value is not a `T`; it stays. [`ErrorKind::WrongType`] if the
    /// key holds something that is not a value, such as a list that another program made.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let name = self.key("get", key)?;
        let answer = self.adapter.get(&name).await;
        self.decode_answer("get", key, answer)
    }

    /// Writes `value`, which then never expires. A deadline that the key had is gone.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] if the codec has no form for the value; [`ErrorKind::TooLarge`] if
    /// the driver does not take a value of this size. The old value stays.
    #[doc(alias = "put")]
    #[doc(alias = "insert")]
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        let name = self.key("set", key)?;
        let bytes = self.encode(value).during("set", key)?;
        let written = self
            .adapter
            .set(&name, &bytes, Expiry::Never, Condition::Always)
            .await;
        written.map(drop).during("set", key)
    }

    /// Writes `value` as `options` say, in one atomic step; answers whether it was written.
    ///
    /// `options` is a [`Duration`], the ttl, or [`SetOptions`]. The answer is `false` where a
    /// condition did not hold; then neither value nor deadline have changed.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), and [`ErrorKind::InvalidInput`] if the ttl is out of range.
    #[doc(alias = "setex")]
    #[doc(alias = "setnx")]
    pub async fn set_with<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        options: impl Into<SetOptions>,
    ) -> Result<bool> {
        let options = options.into();
        let name = self.key("set", key)?;
        let expiry = options.expiry().during("set", key)?;
        let condition = match options.presence() {
            Presence::Any => Condition::Always,
            Presence::Absent => Condition::IfAbsent,
            Presence::Present => Condition::IfPresent,
        };
        let bytes = self.encode(value).during("set", key)?;
        let written = self.adapter.set(&name, &bytes, expiry, condition).await;
        written.during("set", key)
    }

    /// Removes `key`; answers whether it was there.
    ///
    /// # Errors
    ///
    /// Only those of every operation.
    #[doc(alias = "del")]
    #[doc(alias = "remove")]
    pub async fn delete(&self, key: &str) -> Result<bool> {
        let name = self.key("delete", key)?;
        self.adapter.delete(&name).await.during("delete", key)
    }

    /// Answers whether `key` is there.
    ///
    /// # Errors
    ///
    /// Only those of every operation.
    #[doc(alias = "exists")]
    #[doc(alias = "contains")]
    pub async fn has(&self, key: &str) -> Result<bool> {
        let name = self.key("has", key)?;
        self.adapter.has(&name).await.during("has", key)
    }

    /// Gives a key a new deadline, now + `ttl`; answers whether the key was there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if the ttl is out of range.
    #[doc(alias = "pexpire")]
    pub async fn expire(&self, key: &str, ttl: Duration) -> Result<bool> {
        let name = self.key("expire", key)?;
        let ttl = TtlMillis::new(ttl).during("expire", key)?;
        self.adapter.expire(&name, ttl).await.during("expire", key)
    }

    /// Removes the deadline of a key; answers whether there was one to remove.
    ///
    /// # Errors
    ///
    /// Only those of every operation.
    pub async fn persist(&self, key: &str) -> Result<bool> {
        let name = self.key("persist", key)?;
        self.adapter.persist(&name).await.during("persist", key)
    }

    /// What is left of the life of a key, rounded up to whole milliseconds.
    ///
    /// # Errors
    ///
    /// Only those of every operation.
    #[doc(alias = "pttl")]
    pub async fn ttl(&self, key: &str) -> Result<Ttl> {
        let name = self.key("ttl", key)?;
        self.adapter.ttl(&name).await.during("ttl", key)
    }

    /// The name of the driver, such as `"memory"`.
    #[must_use]
    pub fn driver_name(&self) -> &'static str {
        self.adapter.name()
    }

    /// The state of the backend, in bounded time.
    pub async fn health(&self) -> Health {
        self.adapter.health().await
    }

    /// Closes the driver, for every clone of this store: ends all subscriptions and releases what
    /// it holds. Later operations answer [`ErrorKind::Closed`].
    ///
    /// # Errors
    ///
    /// Those of the driver, if the backend could not be told, or what it holds was not released in
    /// time; it is closed all the same.
    pub async fn close(&self) -> Result<()> {
        self.adapter
            .close()
            .await
            .map_err(|error| error.with_operation("close"))
    }

    /// The physical form of `key`, for `operation`.
    #[inline]
    pub(crate) fn key<'a>(&self, operation: &'static str, key: &'a str) -> Result<Cow<'a, str>> {
        self.keys.physical(key).during(operation, key)
    }

    pub(crate) fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>> {
        let bytes = self.codec.encode(value)?;
        match self.adapter.max_value_len() {
            Some(max) if bytes.len() > max => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the value has {} bytes as {}; the {} driver takes at most {max}",
                    bytes.len(),
                    self.codec.name(),
                    self.adapter.name(),
                ),
            )),
            _ => Ok(bytes),
        }
    }

    #[inline]
    pub(crate) fn decode_answer<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        key: &str,
        answer: Result<Option<Bytes>>,
    ) -> Result<Option<T>> {
        match answer {
            Ok(Some(bytes)) => match self.codec.decode(&bytes) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(error.with_bytes(bytes)).during(operation, key),
            },
            Ok(None) => Ok(None),
            Err(error) => Err(error).during(operation, key),
        }
    }
}

impl<C: Codec> fmt::Debug for Store<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("driver", &self.adapter.name())
            .field("codec", &self.codec.name())
            .field("key_prefix", &self.keys.front())
            .field("channel_prefix", &self.channels.front())
            .finish_non_exhaustive()
    }
}

/// Says in an error which operation on which name it comes from.
pub(crate) trait During<T> {
    fn during(self, operation: &'static str, name: &str) -> Result<T>;
}

impl<T> During<T> for Result<T> {
    #[inline]
    fn during(self, operation: &'static str, name: &str) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(named(error, operation, name)),
        }
    }
}

#[cold]
fn named(error: Error, operation: &'static str, name: &str) -> Error {
    error.with_operation(operation).with_key(name)
}
