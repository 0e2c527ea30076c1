//! The one error type of every store and driver.
//!
//! Separate so that no other file decides how an error looks or what may be retried.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;

/// The result of every fallible operation of a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in which operation, on which key.
///
/// One pointer wide. Match on [`kind`](Error::kind); the text is for people and may change.
/// Keys and channels appear as the caller gave them, without prefix or scope. A password never
/// appears, neither in `Display` nor in `Debug`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: Option<&'static str>,
    key: Option<String>,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    bytes: Option<Bytes>,
}

/// The kinds of [`Error`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// An argument is outside what the contract allows: an empty or too long key, a ttl of zero,
    /// an unknown URL. Nothing was sent.
    InvalidInput,
    /// The value is larger than the driver accepts. The old value is still there.
    TooLarge,
    /// The value cannot be represented by the codec. Nothing was sent.
    Encode,
    /// The bytes of a value or a message are not of the requested type. [`Error::bytes`] has them.
    Decode,
    /// The key holds something else than the operation needs, such as text under `increment`.
    /// Nothing was changed.
    WrongType,
    /// A counter would leave the range of `i64`. Nothing was changed.
    Overflow,
    /// The driver does not have this operation, or the feature that brings it is not enabled.
    Unsupported,
    /// The backend could not be reached or refused for now. The operation was not applied.
    Unavailable,
    /// The operation was sent and no answer came. It may or may not have been applied.
    Indeterminate,
    /// The backend refused the credentials, or does not allow them this operation, key or channel.
    PermissionDenied,
    /// The store was closed.
    Closed,
    /// The backend answered with an error that fits no other kind.
    Backend,
}

impl Error {
    /// Makes an error of `kind`. Drivers call this; the handle adds operation and key.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation: None,
            key: None,
            message: message.into(),
            source: None,
            bytes: None,
        }))
    }

    /// Makes the [`ErrorKind::Unsupported`] error of a driver that lacks `ability`.
    #[must_use]
    pub fn unsupported(driver: &str, ability: &str) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            format!("the {driver} driver has no {ability}"),
        )
    }

    /// Makes the [`ErrorKind::Closed`] error.
    #[must_use]
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the store was closed")
    }

    /// Adds the cause, where the message does not tell it. The codecs and drivers of this workspace tell
    /// it in the message. Its text must be free of secrets.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the operation that failed.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Names the key or channel, as the caller gave it.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.0.key = Some(key.into());
        self
    }

    /// Adds the bytes that could not be decoded.
    #[must_use]
    pub fn with_bytes(mut self, bytes: Bytes) -> Self {
        self.0.bytes = Some(bytes);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed, such as `"get"`.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The key or channel, as the caller gave it, where the operation has a single one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The bytes that could not be decoded, so that nothing is lost where the operation has
    /// removed or replaced them. Not part of `Display` and `Debug`.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        self.0.bytes.as_ref()
    }

    /// Whether the same call may be repeated without the risk of a double effect, and may then
    /// succeed.
    ///
    /// True for [`ErrorKind::Unavailable`] alone. After [`ErrorKind::Indeterminate`] only the
    /// caller knows whether the operation may be applied twice.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }
}

/// How much of a key an error text shows, in bytes.
const KEY_SHOWN: usize = 128;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}")?;
            if let Some(key) = &self.0.key {
                if key.len() <= KEY_SHOWN {
                    write!(f, " {key:?}")?;
                } else {
                    write!(f, " {:?}…", &key[..key.floor_char_boundary_at(KEY_SHOWN)])?;
                }
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.0.message)
    }
}

trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, index: usize) -> usize;
}

impl FloorCharBoundary for str {
    // `str::floor_char_boundary` is newer than the minimum supported Rust version.
    fn floor_char_boundary_at(&self, index: usize) -> usize {
        let mut end = index.min(self.len());
        while !self.is_char_boundary(end) {
            end -= 1;
        }
        end
    }
}

// For people too: `fn main() -> Result<()>` prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.0.kind)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "; caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn the_text_names_operation_key_and_reason() {
        let error = Error::new(ErrorKind::WrongType, "not an integer")
            .with_operation("increment")
            .with_key("views");
        assert_eq!(error.to_string(), "increment \"views\": not an integer");
    }

    #[test]
    fn only_what_was_not_applied_and_may_work_later_is_retryable() {
        assert!(Error::new(ErrorKind::Unavailable, "").is_retryable());
        for kind in [
            ErrorKind::InvalidInput,
            ErrorKind::TooLarge,
            ErrorKind::Encode,
            ErrorKind::Decode,
            ErrorKind::WrongType,
            ErrorKind::Overflow,
            ErrorKind::Unsupported,
            ErrorKind::Indeterminate,
            ErrorKind::PermissionDenied,
            ErrorKind::Closed,
            ErrorKind::Backend,
        ] {
            assert!(!Error::new(kind, "").is_retryable(), "{kind:?}");
        }
    }

    #[test]
    fn a_long_key_is_cut_at_a_character() {
        let error = Error::closed()
            .with_operation("get")
            .with_key("é".repeat(300));
        assert_eq!(
            error.to_string(),
            format!("get \"{}\"…: the store was closed", "é".repeat(64))
        );
        // Here the last byte that is shown would be half of a character.
        let error = error.with_key(format!("k{}", "é".repeat(300)));
        assert_eq!(
            error.to_string(),
            format!("get \"k{}\"…: the store was closed", "é".repeat(63))
        );
        let whole = "k".repeat(KEY_SHOWN);
        assert_eq!(
            error.with_key(&*whole).to_string(),
            format!("get \"{whole}\": the store was closed")
        );
    }

    #[test]
    fn the_debug_text_has_the_kind_and_every_cause() {
        let cause = Error::new(ErrorKind::Backend, "the middle").with_source("the root");
        let error = Error::new(ErrorKind::Unavailable, "the top").with_source(cause);
        assert_eq!(
            format!("{error:?}"),
            "the top (Unavailable); caused by: the middle; caused by: the root"
        );
    }
}
