//! A stored entry: its key, its value, and when it dies.
//!
//! Separate so that nothing else knows how these lie in memory, or that a counter is a number: it
//! reads, compares and counts exactly as its canonical decimal text does.

use bytes::Bytes;
use store_core::{Error, ErrorKind, Result};

use crate::clock::{Deadline, Now};

/// Up to this length a value is copied to its reader, which costs no more than sharing it, and
/// spares the readers of a busy key a common reference count.
const COPIED_LEN: usize = 512;

const NUMBER_LEN: usize = size_of::<i64>();

/// What is stored under a key.
#[derive(Debug)]
pub(crate) struct Slot {
    content: Content,
    pub(crate) deadline: Option<Deadline>,
}

#[derive(Debug)]
enum Content {
    /// One allocation, and most often one or two cache lines, for a key and a short value.
    Short {
        /// With some room behind the value, as [`room`] says.
        key_and_value: Box<[u8]>,
        key_len: u16,
        value_len: u16,
    },
    Long(Box<Long>),
    /// The result of an increment, in place of its decimal text: eight bytes, and the key.
    Counter {
        number_and_key: Box<[u8]>,
    },
}

/// A value that is shared with its readers.
#[derive(Debug)]
struct Long {
    key: Box<[u8]>,
    value: Bytes,
}

impl Slot {
    pub(crate) fn new(key: &str, value: &[u8], deadline: Option<Deadline>) -> Self {
        let content = match u16::try_from(key.len()) {
            Ok(key_len) if value.len() <= COPIED_LEN => Content::short(key, key_len, value),
            _ => Content::Long(Box::new(Long {
                key: Box::from(key.as_bytes()),
                value: Bytes::copy_from_slice(value),
            })),
        };
        Self { content, deadline }
    }

    /// Whether [`overwrite`](Self::overwrite) has room for `value`.
    pub(crate) fn fits(&self, value: &[u8]) -> bool {
        matches!(
            &self.content,
            Content::Short { key_and_value, key_len, .. }
                if value.len() <= COPIED_LEN && room(*key_len, value) == key_and_value.len()
        )
    }

    /// Writes a value that [fits](Self::fits) over the old one.
    pub(crate) fn overwrite(&mut self, value: &[u8], deadline: Option<Deadline>) {
        if let Content::Short {
            key_and_value,
            key_len,
            value_len,
        } = &mut self.content
        {
            key_and_value[usize::from(*key_len)..][..value.len()].copy_from_slice(value);
            *value_len = value.len() as u16;
            self.deadline = deadline;
        }
    }

    pub(crate) fn counter(key: &str, number: i64, deadline: Option<Deadline>) -> Self {
        let content = Content::counter(key.as_bytes(), number);
        Self { content, deadline }
    }

    pub(crate) fn key(&self) -> &[u8] {
        match &self.content {
            Content::Short {
                key_and_value,
                key_len,
                ..
            } => &key_and_value[..usize::from(*key_len)],
            Content::Long(long) => &long.key,
            Content::Counter { number_and_key } => &number_and_key[NUMBER_LEN..],
        }
    }

    pub(crate) fn is_live(&self, now: &Now<'_>) -> bool {
        !now.is_past(self.deadline)
    }

    /// The value as its reader gets it.
    pub(crate) fn value(&self) -> Bytes {
        match &self.content {
            Content::Short { .. } => Bytes::copy_from_slice(self.short_value()),
            Content::Long(long) => long.value.clone(),
            Content::Counter { number_and_key } => Bytes::from(number(number_and_key).to_string()),
        }
    }

    /// The value, if it is a short one.
    fn short_value(&self) -> &[u8] {
        match &self.content {
            Content::Short {
                key_and_value,
                key_len,
                value_len,
            } => &key_and_value[usize::from(*key_len)..][..usize::from(*value_len)],
            Content::Long(_) | Content::Counter { .. } => &[],
        }
    }

    /// Whether the value is `expected`, byte for byte.
    pub(crate) fn equals(&self, expected: &[u8]) -> bool {
        match &self.content {
            Content::Short { .. } => self.short_value() == expected,
            Content::Long(long) => long.value == expected,
            Content::Counter { number_and_key } => {
                parse_counter(expected) == Some(number(number_and_key))
            }
        }
    }

    /// Adds `delta` to the value and answers the sum; an error leaves the value as it was.
    pub(crate) fn increment(&mut self, delta: i64) -> Result<i64> {
        let current = match &self.content {
            Content::Counter { number_and_key } => Some(number(number_and_key)),
            // A longer value is no number of 64 bits.
            Content::Long(_) => None,
            Content::Short { .. } => parse_counter(self.short_value()),
        };
        let current = current.ok_or_else(|| {
            Error::new(
                ErrorKind::WrongType,
                "the value is not an integer from -2^63 to 2^63-1 in plain decimal text",
            )
        })?;
        let sum = current.checked_add(delta).ok_or_else(|| {
            Error::new(
                ErrorKind::Overflow,
                "the counter would leave the range of a 64-bit signed integer",
            )
        })?;
        match &mut self.content {
            Content::Counter { number_and_key } => {
                number_and_key[..NUMBER_LEN].copy_from_slice(&sum.to_ne_bytes());
            }
            _ => self.content = Content::counter(self.key(), sum),
        }
        Ok(sum)
    }
}

impl Content {
    fn short(key: &str, key_len: u16, value: &[u8]) -> Self {
        let room = room(key_len, value);
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(room, 0);
        Self::Short {
            key_and_value: bytes.into_boxed_slice(),
            key_len,
            // At most `COPIED_LEN`.
            value_len: value.len() as u16,
        }
    }

    fn counter(key: &[u8], number: i64) -> Self {
        let mut bytes = Vec::with_capacity(NUMBER_LEN + key.len());
        bytes.extend_from_slice(&number.to_ne_bytes());
        bytes.extend_from_slice(key);
        let number_and_key = bytes.into_boxed_slice();
        Self::Counter { number_and_key }
    }
}

/// How many bytes a key and a short value get: what an allocator gives for them anyway, so that a
/// value that is only a little longer or shorter fits into the same.
fn room(key_len: u16, value: &[u8]) -> usize {
    (usize::from(key_len) + value.len()).next_multiple_of(8)
}

fn number(number_and_key: &[u8]) -> i64 {
    // There are always as many bytes.
    let bytes = number_and_key.first_chunk().copied();
    i64::from_ne_bytes(bytes.unwrap_or_default())
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

    fn slot(value: &[u8]) -> Slot {
        Slot::new("key", value, None)
    }

    #[test]
    fn a_slot_takes_thirty_two_bytes_of_a_table() {
        assert_eq!(size_of::<Slot>(), 32);
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
        let mut slot = slot(b"9");
        assert_eq!(slot.increment(1).unwrap(), 10);
        assert_eq!(slot.key(), b"key");
        assert_eq!(slot.value(), "10");
        assert!(slot.equals(b"10"));
        assert!(!slot.equals(b"010"));
        assert!(!slot.equals(b"1"));
    }

    #[test]
    fn a_refused_increment_changes_nothing() {
        let mut slot = slot(b"9223372036854775807");
        assert_eq!(slot.increment(1).unwrap_err().kind(), ErrorKind::Overflow);
        assert_eq!(slot.value(), "9223372036854775807");
        assert_eq!(slot.increment(i64::MIN).unwrap(), -1);
        assert_eq!(
            slot.increment(i64::MIN).unwrap_err().kind(),
            ErrorKind::Overflow
        );
        assert_eq!(slot.value(), "-1");
    }

    #[test]
    fn short_and_long_values_come_back_as_they_were() {
        for len in [0, 1, COPIED_LEN, COPIED_LEN + 1, 1 << 20] {
            let bytes = vec![b'7'; len];
            let mut slot = slot(&bytes);
            assert_eq!(slot.key(), b"key");
            assert_eq!(slot.value(), bytes);
            assert!(slot.equals(&bytes));
            assert!(!slot.equals(b"key"));
            assert_eq!(slot.increment(1).is_ok(), len == 1);
        }
    }

    #[test]
    fn a_slot_that_is_overwritten_is_as_a_new_one() {
        let deadline = Some(Deadline::PAST);
        let lens = [0, 1, 4, 5, 12, COPIED_LEN, COPIED_LEN + 1];
        for (old, new) in lens.iter().flat_map(|old| lens.map(|new| (*old, new))) {
            let (old, new) = (vec![b'1'; old], vec![b'2'; new]);
            let mut slot = slot(&old);
            let fits = slot.fits(&new);
            if fits {
                slot.overwrite(&new, deadline);
            }
            let (value, deadline) = if fits { (&new, deadline) } else { (&old, None) };
            assert_eq!(slot.key(), b"key");
            assert_eq!(
                (slot.value(), slot.deadline),
                (value.clone().into(), deadline)
            );
            assert!(slot.equals(value));
        }
    }

    #[test]
    fn a_value_fits_over_one_of_about_its_length() {
        let slot = slot(b"12345");
        for (value, fits) in [("", true), ("1", true), ("54321", true), ("123456", false)] {
            // With the key more than none and at most eight bytes.
            assert_eq!(slot.fits(value.as_bytes()), fits, "{value}");
        }
        assert!(!Slot::counter("key", 7, None).fits(b"8"));
    }

    #[test]
    fn a_key_of_any_length_is_kept() {
        let key = "k".repeat(usize::from(u16::MAX) + 1);
        for len in [0, COPIED_LEN, COPIED_LEN + 1] {
            let slot = Slot::new(&key, &vec![1; len], None);
            assert!(!slot.fits(b""));
            assert_eq!(slot.key(), key.as_bytes());
            assert_eq!(slot.value(), vec![1; len]);
        }
    }
}
