//! How long an entry lives: the argument, the answer, and the limits.
//!
//! Separate so that rounding and range checks stand in one place and no driver repeats them.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// A ttl that a driver is given: whole milliseconds, from 1 to [`TtlMillis::MAX`].
///
/// It is made from a [`Duration`] by rounding up, so that an entry never dies early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TtlMillis(NonZeroU64);

impl TtlMillis {
    /// The longest ttl: 2^62 ms, about 146 million years.
    ///
    /// Half of what Redis can hold, so that a deadline (now + ttl) fits an `i64` of milliseconds
    /// on every driver.
    pub const MAX: Duration = Duration::from_millis(1 << 62);

    /// Rounds `ttl` up to whole milliseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if `ttl` is zero or longer than [`TtlMillis::MAX`].
    pub fn new(ttl: Duration) -> Result<Self> {
        if ttl > Self::MAX {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the ttl is longer than 2^62 ms; leave it out for an entry that never expires",
            ));
        }
        // At most 2^62, so the cast is exact.
        let millis = ttl.as_nanos().div_ceil(1_000_000) as u64;
        let Some(millis) = NonZeroU64::new(millis) else {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the ttl is zero; it must be at least 1 ns (rounded up to 1 ms), or be left out \
                 for an entry that never expires",
            ));
        };
        Ok(Self(millis))
    }

    /// The ttl in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0.get()
    }

    /// The ttl as a duration.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0.get())
    }
}

/// What a write does to the deadline of its key.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// The entry has no deadline, whatever the key had before.
    #[default]
    Never,
    /// The deadline is now + ttl.
    After(TtlMillis),
    /// The deadline of the key stays; a new key has none.
    Keep,
}

impl Expiry {
    /// The deadline after a write: `current` is that of the live key, if it has one, and `after`
    /// makes the deadline that is a ttl from now.
    pub fn deadline<D>(self, current: Option<D>, after: impl FnOnce(TtlMillis) -> D) -> Option<D> {
        match self {
            Self::Never => None,
            Self::After(ttl) => Some(after(ttl)),
            Self::Keep => current,
        }
    }
}

/// What is left of the life of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    Missing,
    /// The key has no deadline.
    Forever,
    /// The key has this long to live, rounded up to whole milliseconds.
    Left(Duration),
}

impl Ttl {
    /// What a driver answers for a key that has `left` to live: rounded up to whole milliseconds,
    /// and [`Ttl::Missing`] where nothing is left.
    #[must_use]
    pub fn rounded_up(left: Duration) -> Self {
        if left.is_zero() {
            return Self::Missing;
        }
        TtlMillis::new(left).map_or(Self::Left(left), |left| Self::Left(left.as_duration()))
    }

    /// What is left until the deadline, where there is one.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        match self {
            Self::Left(left) => Some(left),
            Self::Missing | Self::Forever => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_rounded_up_to_milliseconds() {
        let millis = |ttl| TtlMillis::new(ttl).unwrap().as_millis();
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(1)), 1);
        assert_eq!(millis(Duration::from_nanos(1_000_001)), 2);
        assert_eq!(millis(Duration::from_micros(1_500_000)), 1_500);
        assert_eq!(millis(TtlMillis::MAX), 1 << 62);
    }

    #[test]
    fn a_ttl_outside_its_range_is_invalid() {
        for ttl in [
            Duration::ZERO,
            TtlMillis::MAX + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            assert_eq!(
                TtlMillis::new(ttl).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
    }

    #[test]
    fn what_is_left_is_rounded_up_and_nothing_left_is_missing() {
        let nanos = Duration::from_nanos;
        for (left, expected) in [
            (Duration::ZERO, Ttl::Missing),
            (nanos(1), Ttl::Left(Duration::from_millis(1))),
            (nanos(1_000_001), Ttl::Left(Duration::from_millis(2))),
            (Duration::MAX, Ttl::Left(Duration::MAX)),
        ] {
            assert_eq!(Ttl::rounded_up(left), expected, "{left:?}");
        }
        assert_eq!(Ttl::Left(nanos(1)).left(), Some(nanos(1)));
        assert_eq!([Ttl::Missing, Ttl::Forever].map(Ttl::left), [None; 2]);
    }

    #[test]
    fn a_write_keeps_the_deadline_only_where_it_is_told_to() {
        let ttl = TtlMillis::new(Duration::from_millis(5)).unwrap();
        let deadline = |expiry: Expiry| expiry.deadline(Some(1), |ttl| 100 + ttl.as_millis());
        assert_eq!(deadline(Expiry::Never), None);
        assert_eq!(deadline(Expiry::After(ttl)), Some(105));
        assert_eq!(deadline(Expiry::Keep), Some(1));
        assert_eq!(Expiry::Keep.deadline(None::<u64>, |_| 100), None);
    }
}
