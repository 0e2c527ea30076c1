//! A stored value: bytes, or a counter that is kept as a number.
//!
//! Separate so that nothing else can tell the two forms apart: a counter reads, compares and
//! counts exactly as its canonical decimal text does.

use std::sync::Arc;

use bytes::Bytes;
use store_core::{Error, ErrorKind, Result};

/// Up to this length a value is copied to its reader, which costs no more than sharing it, and
/// spares the readers of a busy key a common reference count.
const COPIED_LEN: usize = 512;

/// The value of an entry.
#[derive(Debug)]
pub(crate) enum Value {
    /// Bytes as they were set.
    Blob(Arc<[u8]>),
    /// The result of an increment, in place of its decimal text.
    Counter(i64),
}

impl Value {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self::Blob(Arc::from(bytes))
    }

    /// The value as its reader gets it.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Blob(bytes) if bytes.len() <= COPIED_LEN => Bytes::copy_from_slice(bytes),
            Self::Blob(bytes) => Bytes::from_owner(Arc::clone(bytes)),
            Self::Counter(number) => Bytes::from(number.to_string()),
        }
    }

    /// Whether the value is `expected`, byte for byte.
    pub(crate) fn equals(&self, expected: &[u8]) -> bool {
        match self {
            Self::Blob(bytes) => **bytes == *expected,
            Self::Counter(number) => parse_counter(expected) == Some(*number),
        }
    }

    /// Adds `delta` to the value and answers the sum; an error leaves the value as it was.
    pub(crate) fn increment(&mut self, delta: i64) -> Result<i64> {
        let number = match self {
            Self::Counter(number) => *number,
            Self::Blob(bytes) => parse_counter(bytes).ok_or_else(|| {
                Error::new(
                    ErrorKind::WrongType,
                    "the value is not an integer in canonical decimal form",
                )
            })?,
        };
        let sum = number.checked_add(delta).ok_or_else(|| {
            Error::new(
                ErrorKind::Overflow,
                "the counter would leave the range of a 64-bit signed integer",
            )
        })?;
        *self = Self::Counter(sum);
        Ok(sum)
    }
}

/// Reads a canonical decimal `i64`: the one text that the number is written as.
fn parse_counter(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_canonical {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_two_pointers_wide() {
        assert_eq!(size_of::<Value>(), 2 * size_of::<usize>());
    }

    #[test]
    fn only_canonical_decimals_are_counters() {
        for number in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(parse_counter(number.to_string().as_bytes()), Some(number));
        }
        for text in [
            "",
            " 5",
            "5 ",
            "+5",
            "05",
            "00",
            "-0",
            "-05",
            "-",
            "--1",
            "5.0",
            "1e3",
            "0x1",
            "5\n",
            "5\0",
            "٥",
            "9223372036854775808",
            "-9223372036854775809",
            "10000000000000000000",
        ] {
            assert_eq!(parse_counter(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_counter(b"\xff"), None);
    }

    #[test]
    fn a_counter_is_its_decimal_text() {
        let mut value = Value::new(b"9");
        assert_eq!(value.increment(1).unwrap(), 10);
        assert_eq!(value.to_bytes(), "10");
        assert!(value.equals(b"10"));
        assert!(!value.equals(b"010"));
        assert!(!value.equals(b"1"));
    }

    #[test]
    fn a_refused_increment_changes_nothing() {
        let mut value = Value::new(b"9223372036854775807");
        assert_eq!(value.increment(1).unwrap_err().kind(), ErrorKind::Overflow);
        assert_eq!(value.to_bytes(), "9223372036854775807");
        assert_eq!(value.increment(i64::MIN).unwrap(), -1);
        assert_eq!(
            value.increment(i64::MIN).unwrap_err().kind(),
            ErrorKind::Overflow
        );
        assert_eq!(value.to_bytes(), "-1");
    }

    #[test]
    fn short_and_long_values_come_back_as_they_were() {
        for len in [0, 1, COPIED_LEN, COPIED_LEN + 1, 1 << 20] {
            let bytes = vec![7; len];
            assert_eq!(Value::new(&bytes).to_bytes(), bytes);
        }
    }
}
