//! Tokio's clock in numbers: the present moment, and deadlines in eight bytes.
//!
//! Separate so that all arithmetic on time, and its limits, stand in one place.

use std::cell::OnceCell;
use std::num::NonZeroU64;
use std::time::Duration;

use store_core::TtlMillis;
use tokio::time::Instant;

const NANOS_PER_MILLI: u128 = 1_000_000;

/// The origin lies this many nanoseconds (73 years) before the clock was made, so that a moment
/// of a paused runtime, whose clock may be behind, is positive as well.
const BEFORE_CLOCK: u128 = 1 << 61;

/// Set in deadlines that count milliseconds, and greater than all that count nanoseconds.
const FAR: u64 = 1 << 63;

/// Measures moments from its origin.
#[derive(Debug)]
pub(crate) struct Clock {
    made: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            made: Instant::now(),
        }
    }

    /// The present moment of the calling thread: that of its runtime, also where it is paused, or
    /// outside of a runtime that of the operating system.
    pub(crate) fn moment(&self) -> Moment {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.made).as_nanos();
        let before = self.made.saturating_duration_since(now).as_nanos();
        Moment((BEFORE_CLOCK + since).saturating_sub(before))
    }

    /// A clock reading that is taken when it is needed, and once.
    pub(crate) fn lazy(&self) -> Now<'_> {
        Now {
            clock: self,
            moment: OnceCell::new(),
        }
    }
}

/// The present moment of one operation, read at its first use: most entries need no clock.
#[derive(Debug)]
pub(crate) struct Now<'a> {
    clock: &'a Clock,
    moment: OnceCell<Moment>,
}

impl Now<'_> {
    pub(crate) fn get(&self) -> Moment {
        *self.moment.get_or_init(|| self.clock.moment())
    }

    /// Whether `deadline` has passed, which no deadline never does.
    pub(crate) fn is_past(&self, deadline: Option<Deadline>) -> bool {
        deadline.is_some_and(|deadline| deadline.has_passed(self.get()))
    }
}

/// Nanoseconds since the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u128);

/// When an entry dies.
///
/// Nanoseconds since the origin within the next 219 years, and whole milliseconds, rounded up and
/// marked with [`FAR`], beyond. A later deadline is a greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(NonZeroU64);

impl Deadline {
    /// A deadline that has always passed.
    pub(crate) const PAST: Self = Self(NonZeroU64::MIN);

    /// The deadline of an entry that lives for `ttl` from `moment` on.
    pub(crate) fn after(moment: Moment, ttl: TtlMillis) -> Self {
        let nanos = moment.0 + u128::from(ttl.as_millis()) * NANOS_PER_MILLI;
        let number = match u64::try_from(nanos) {
            Ok(nanos) if nanos < FAR => nanos,
            // Saturates only where the clock itself was advanced by 146 million years.
            _ => FAR | (nanos.div_ceil(NANOS_PER_MILLI) as u64).min(FAR - 2),
        };
        Self::from_number(number)
    }

    /// Whether `moment` is the deadline or later.
    pub(crate) fn has_passed(self, moment: Moment) -> bool {
        self.nanos() <= moment.0
    }

    /// What is left at `moment`, which is before the deadline, in milliseconds rounded up.
    pub(crate) fn left(self, moment: Moment) -> Duration {
        let millis = if self.number() < FAR {
            self.nanos()
                .saturating_sub(moment.0)
                .div_ceil(NANOS_PER_MILLI)
        } else {
            // The deadline was rounded up to milliseconds, so the moment is as well; otherwise
            // more could be left than was given.
            (self.nanos() / NANOS_PER_MILLI).saturating_sub(moment.0.div_ceil(NANOS_PER_MILLI))
        };
        // At most 2^63, so the cast is exact.
        Duration::from_millis((millis as u64).max(1))
    }

    /// The deadline as a number, below `u64::MAX`. Numbers are ordered as deadlines are.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }

    /// The deadline that has this number.
    pub(crate) fn from_number(number: u64) -> Self {
        NonZeroU64::new(number).map_or(Self::PAST, Self)
    }

    fn nanos(self) -> u128 {
        let number = self.number();
        if number < FAR {
            u128::from(number)
        } else {
            u128::from(number & !FAR) * NANOS_PER_MILLI
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ttl(duration: Duration) -> TtlMillis {
        TtlMillis::new(duration).unwrap()
    }

    #[test]
    fn a_deadline_passes_at_its_nanosecond() {
        let start = Moment(BEFORE_CLOCK + 7);
        let deadline = Deadline::after(start, ttl(Duration::from_millis(1)));
        assert!(!deadline.has_passed(Moment(start.0 + 999_999)));
        assert!(deadline.has_passed(Moment(start.0 + 1_000_000)));
        assert!(Deadline::PAST.has_passed(Moment(1)));
    }

    #[test]
    fn what_is_left_is_rounded_up() {
        let start = Moment(BEFORE_CLOCK);
        let deadline = Deadline::after(start, ttl(Duration::from_millis(2)));
        assert_eq!(deadline.left(start), Duration::from_millis(2));
        assert_eq!(deadline.left(Moment(start.0 + 1)), Duration::from_millis(2));
        assert_eq!(
            deadline.left(Moment(start.0 + 1_999_999)),
            Duration::from_millis(1)
        );
    }

    #[test]
    fn the_longest_ttl_neither_dies_early_nor_grows() {
        let start = Moment(BEFORE_CLOCK + 1);
        let deadline = Deadline::after(start, ttl(TtlMillis::MAX));
        assert_eq!(deadline.left(start), TtlMillis::MAX);
        let end = start.0 + TtlMillis::MAX.as_nanos();
        assert!(!deadline.has_passed(Moment(end - 1)));
        assert!(deadline.has_passed(Moment(end + NANOS_PER_MILLI)));
    }

    #[test]
    fn later_deadlines_are_greater_numbers() {
        let start = Moment(BEFORE_CLOCK);
        let year = 365 * 24 * 3600;
        let deadlines = [1, year, 200 * year, 300 * year, 1_000 * year]
            .map(|seconds| Deadline::after(start, ttl(Duration::from_secs(seconds))));
        assert!(deadlines.is_sorted());
        assert!(deadlines.map(Deadline::number).is_sorted());
        assert!(deadlines[2].number() < FAR && deadlines[3].number() > FAR);
    }

    #[test]
    fn a_moment_before_the_clock_was_made_is_a_moment() {
        let clock = Clock {
            made: Instant::now() + Duration::from_secs(5),
        };
        assert!(clock.moment() < Moment(BEFORE_CLOCK));
    }

    #[test]
    fn no_deadline_is_early_where_milliseconds_take_over() {
        for nanos in [FAR - 1, FAR, FAR + 1] {
            let moment = Moment(u128::from(nanos) - NANOS_PER_MILLI);
            let deadline = Deadline::after(moment, ttl(Duration::from_millis(1)));
            assert!(
                !deadline.has_passed(Moment(u128::from(nanos) - 1)),
                "{nanos}"
            );
        }
    }

    #[test]
    fn a_deadline_beyond_all_numbers_is_the_last_of_them() {
        let moment = Moment(u128::from(u64::MAX - 1) * NANOS_PER_MILLI);
        let deadline = Deadline::after(moment, ttl(Duration::from_millis(1)));
        assert_eq!(deadline.number(), u64::MAX - 1);
    }
}
