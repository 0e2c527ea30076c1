//! The arithmetic of counters, for drivers that do it themselves.

use crate::error::{Error, ErrorKind, Result};

/// Adds `delta` to a counter as it is stored, or to 0 where it is absent.
///
/// A counter is canonical decimal ASCII within `i64`: `0` or `-?[1-9][0-9]*`.
///
/// # Errors
///
/// [`ErrorKind::WrongType`] if `stored` is anything else, [`ErrorKind::Overflow`] if the sum is
/// not an `i64`.
///
/// ```
/// use store_core::counter;
///
/// assert_eq!(counter::add(None, -1)?, -1);
/// assert_eq!(counter::add(Some(b"41"), 1)?, 42);
/// assert!(counter::add(Some(b"041"), 1).is_err());
/// # Ok::<(), store_core::Error>(())
/// ```
pub fn add(stored: Option<&[u8]>, delta: i64) -> Result<i64> {
    let count = match stored {
        None => 0,
        Some(stored) => parse(stored).ok_or_else(|| {
            Error::new(
                ErrorKind::WrongType,
                "the value is not an integer from -2^63 to 2^63-1 in plain decimal text",
            )
        })?,
    };
    count
        .checked_add(delta)
        .ok_or_else(|| Error::new(ErrorKind::Overflow, "the sum is not a 64-bit integer"))
}

fn parse(stored: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(stored).ok()?;
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = text == "0" || digits.starts_with(|first| matches!(first, '1'..='9'));
    // `parse` refuses everything but a sign and digits.
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_decimal_text_is_a_counter() {
        for text in [
            "0",
            "-1",
            "10",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert_eq!(add(Some(text.as_bytes()), 0).unwrap().to_string(), text);
        }
        for text in [
            "",
            "-",
            "--1",
            "+5",
            "05",
            "-0",
            "-05",
            " 5",
            "5 ",
            "5.0",
            "1e3",
            "\u{665}",
            "5\0",
            "9223372036854775808",
            "12345678901234567890",
        ] {
            let error = add(Some(text.as_bytes()), 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WrongType, "{text:?}");
        }
    }

    #[test]
    fn a_sum_outside_of_the_range_is_an_overflow() {
        for (stored, delta) in [("9223372036854775807", 1), ("-1", i64::MIN)] {
            let error = add(Some(stored.as_bytes()), delta).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Overflow);
        }
    }
}
