//! The trait that a backend implements, on bytes.
//!
//! Separate from the handle so that a driver sees neither types nor codecs nor prefixes.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

use crate::capability::{Patterns, Scan};
use crate::error::Result;
use crate::health::Health;
use crate::subscription::RawSubscription;
use crate::time::{Expiry, Ttl, TtlMillis};

/// A backend of a store.
///
/// The handle, [`Store`](crate::Store), has already done what is the same for every backend: names
/// are non-empty UTF-8 of at most [`MAX_NAME_LEN`](crate::MAX_NAME_LEN) bytes and carry their
/// prefix, a ttl is in range, a value is not longer than [`max_value_len`](Self::max_value_len).
/// A driver stores and delivers bytes, and keeps these rules:
///
/// - Names are compared byte for byte; no character is special.
/// - A value is opaque; an empty value is a value, not an absence.
/// - A key whose deadline has passed (now >= deadline) is absent for every operation.
/// - Every operation on a single key is one atomic step, and histories of a key are linearizable.
/// - A call may be dropped at any await. It then has happened wholly or not at all, or will.
/// - An operation that the driver does not have answers [`ErrorKind::Unsupported`] and changes
///   nothing. After [`close`](Self::close) every operation answers [`ErrorKind::Closed`].
/// - [`ErrorKind::Unavailable`] says that the operation was not applied,
///   [`ErrorKind::Indeterminate`] that it may have been.
/// - Errors carry a kind and a message, and a source where the message does not tell it; the handle
///   adds operation and key. The message holds neither a physical key nor a password.
///
/// The suite of the `store-conformance` crate checks all of it.
///
/// [`ErrorKind::Unsupported`]: crate::ErrorKind::Unsupported
/// [`ErrorKind::Closed`]: crate::ErrorKind::Closed
/// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
/// [`ErrorKind::Indeterminate`]: crate::ErrorKind::Indeterminate
#[async_trait]
pub trait StoreAdapter: Debug + Send + Sync + 'static {
    /// The driver's name for messages and reports, such as `"memory"`.
    fn name(&self) -> &'static str;

    /// The value of `key`, or `None` where it is absent, at some moment from the call to the answer.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Writes `value` if `condition` holds; answers whether it did.
    ///
    /// Check and write are one step. A write replaces value and deadline as `expiry` says; a
    /// failed condition changes neither.
    async fn set(
        &self,
        key: &str,
        value: &[u8],
        expiry: Expiry,
        condition: Condition<'_>,
    ) -> Result<bool>;

    /// Removes `key`; answers whether a live key was there.
    async fn delete(&self, key: &str) -> Result<bool>;

    /// Answers whether `key` is there.
    async fn has(&self, key: &str) -> Result<bool>;

    /// Adds `delta` to a counter and answers the sum.
    ///
    /// An absent counter starts from 0, and then, and only then, gets `initial_ttl`. A counter is
    /// canonical decimal ASCII (`-?[1-9][0-9]*` or `0`) within `i64`; anything else is
    /// [`WrongType`](crate::ErrorKind::WrongType), a sum outside `i64` is
    /// [`Overflow`](crate::ErrorKind::Overflow), and both leave value and deadline as they were.
    async fn increment(&self, key: &str, delta: i64, initial_ttl: Option<TtlMillis>)
    -> Result<i64>;

    /// Gives a live key a new deadline; answers whether there was one. Never creates.
    async fn expire(&self, key: &str, ttl: TtlMillis) -> Result<bool>;

    /// Removes the deadline of `key`; answers whether there was one to remove.
    async fn persist(&self, key: &str) -> Result<bool>;

    /// What is left of the life of `key`, rounded up to whole milliseconds.
    async fn ttl(&self, key: &str) -> Result<Ttl>;

    /// The values of `keys`, in their order, one answer for each, duplicates included.
    ///
    /// Not atomic. No keys, no answers.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>>;

    /// Writes all entries, each as [`set`](Self::set) without condition; of a key that comes twice
    /// the last one stays.
    ///
    /// Not atomic: after an error some entries may be written.
    async fn set_many(&self, entries: &[(&str, &[u8])], ttl: Option<TtlMillis>) -> Result<()>;

    /// Removes all `keys` and answers how many live ones there were, each counted once.
    ///
    /// Not atomic: after an error some keys may be gone.
    async fn delete_many(&self, keys: &[&str]) -> Result<u64>;

    /// Removes `key` and answers the value it had, in one step.
    async fn take(&self, key: &str) -> Result<Option<Bytes>>;

    /// Writes `value` and answers the value that it replaced, in one step.
    async fn replace(&self, key: &str, value: &[u8], expiry: Expiry) -> Result<Option<Bytes>>;

    /// Removes `key` if its value is `expected`, byte for byte; answers whether it did.
    async fn compare_and_delete(&self, key: &str, expected: &[u8]) -> Result<bool>;

    /// Sends `message` to the current subscribers of `channel`.
    ///
    /// Never waits for a subscriber. A channel without subscribers takes no memory.
    async fn publish(&self, channel: &str, message: &[u8]) -> Result<()>;

    /// Subscribes to `channel`; resolves once the backend has confirmed it.
    ///
    /// What is published afterwards is delivered, in the order of each publisher, at most once,
    /// to every subscription; what was published before is not. The subscription is bounded: a
    /// slow reader loses its oldest messages and then reads a [`Gap`](crate::Gap) before the next
    /// one. Dropping it unsubscribes.
    async fn subscribe(&self, channel: &str) -> Result<RawSubscription>;

    /// The state of the backend, in bounded time, without an error of its own.
    async fn health(&self) -> Health;

    /// Ends the subscriptions of this driver and releases what it holds. Closing twice is fine.
    ///
    /// Other drivers on the same backend, in this process or another, are not disturbed.
    async fn close(&self) -> Result<()>;

    /// The longest value and message, in bytes, that the driver accepts, where it has a limit.
    fn max_value_len(&self) -> Option<usize> {
        None
    }

    /// The ability to list keys.
    fn as_scan(&self) -> Option<&dyn Scan> {
        None
    }

    /// The ability to subscribe to a pattern of channels.
    fn as_patterns(&self) -> Option<&dyn Patterns> {
        None
    }
}

/// When a [`set`](StoreAdapter::set) writes.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition<'a> {
    /// In any case.
    #[default]
    Always,
    /// Only where no live key is there.
    IfAbsent,
    /// Only where a live key is there.
    IfPresent,
    /// Only where the value is this, byte for byte.
    IfEquals(&'a [u8]),
}

impl Condition<'_> {
    /// Answers whether the condition holds for a live value, or for none.
    #[must_use]
    pub fn holds(&self, current: Option<&[u8]>) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => current.is_none(),
            Self::IfPresent => current.is_some(),
            Self::IfEquals(expected) => current == Some(*expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_for_what_it_names() {
        for (condition, of_none, of_same, of_other) in [
            (Condition::Always, true, true, true),
            (Condition::IfAbsent, true, false, false),
            (Condition::IfPresent, false, true, true),
            (Condition::IfEquals(b"1"), false, true, false),
        ] {
            let held = [None, Some(&b"1"[..]), Some(b"2")].map(|it| condition.holds(it));
            assert_eq!(held, [of_none, of_same, of_other], "{condition:?}");
        }
    }
}
