//! Which clock a driver's deadlines follow, and what a read proves about a deadline.
//!
//! Separate so that no law waits or compares times by itself.

use std::time::Duration;

use tokio::time::Instant;

/// The clock that a driver's deadlines follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Time passes by itself, as on a server.
    Real {
        /// The finest step in which the driver measures time, such as 1 ms.
        grain: Duration,
        /// How much later than its deadline an entry may still be seen.
        slack: Duration,
    },
    /// tokio's clock, paused: the case runs on a current-thread runtime and time passes only when a
    /// law says so. Deadlines are exact, and nothing sleeps.
    Virtual,
}

impl Clock {
    /// The clock of a server that counts milliseconds, on this machine or nearby.
    #[must_use]
    pub fn real() -> Self {
        Self::Real {
            grain: Duration::from_millis(1),
            slack: Duration::from_millis(5),
        }
    }

    /// Whether time passes only when a law says so.
    #[must_use]
    pub fn is_virtual(self) -> bool {
        self == Self::Virtual
    }

    /// By how much a ttl that is read back may be off.
    pub(crate) fn grain(self) -> Duration {
        match self {
            Self::Real { grain, .. } => grain,
            Self::Virtual => Duration::ZERO,
        }
    }

    fn tolerance(self) -> Duration {
        match self {
            Self::Real { grain, slack } => grain + slack,
            Self::Virtual => Duration::ZERO,
        }
    }

    /// How long one call may take before it counts as hanging.
    ///
    /// On the virtual clock this passes at once when everything waits, and never while something
    /// runs.
    pub(crate) fn call_limit(self) -> Duration {
        match self {
            Self::Real { .. } => Duration::from_secs(20),
            Self::Virtual => Duration::from_secs(24 * 60 * 60),
        }
    }

    /// How long a case may take.
    pub(crate) fn case_limit(self) -> Duration {
        match self {
            Self::Real { .. } => Duration::from_secs(90),
            Self::Virtual => Duration::from_secs(300 * 24 * 60 * 60),
        }
    }

    /// Lets `duration` pass.
    pub(crate) async fn pass(self, duration: Duration) {
        match self {
            Self::Real { .. } => tokio::time::sleep(duration).await,
            Self::Virtual => tokio::time::advance(duration).await,
        }
    }
}

/// When a deadline can be: not before the call that set it began, not after it ended.
///
/// A read that ends before the window must hit. One that begins after it must miss. Between, a
/// read proves nothing: the machine may have been slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    ttl: Duration,
    earliest: Instant,
    latest: Instant,
    clock: Clock,
}

/// What a read at some time must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Hit,
    Miss,
    Either,
}

impl Window {
    /// The window of a `ttl` that was given by a call from `begun` to `ended`.
    ///
    /// The ttl must be short enough to be added to a time.
    pub(crate) fn new(clock: Clock, ttl: Duration, begun: Instant, ended: Instant) -> Self {
        Self {
            ttl,
            earliest: begun + ttl,
            latest: ended + ttl + clock.tolerance(),
            clock,
        }
    }

    /// What a read from `begun` to `ended` must see.
    pub(crate) fn due(&self, begun: Instant, ended: Instant) -> Due {
        if begun >= self.latest {
            Due::Miss
        } else if ended < self.earliest {
            Due::Hit
        } else {
            Due::Either
        }
    }

    /// Lets time pass until a read must miss.
    pub(crate) async fn pass(&self) {
        let left = self.latest.saturating_duration_since(Instant::now());
        if left > Duration::ZERO {
            self.clock.pass(left).await;
        }
    }

    /// The bounds of a remaining ttl that is read from `begun` to `ended`, while alive.
    pub(crate) fn left(&self, begun: Instant, ended: Instant) -> (Duration, Duration) {
        let grain = self.clock.grain();
        let shortest = self.earliest.saturating_duration_since(ended);
        let set_to_read =
            begun.saturating_duration_since(self.latest - self.clock.tolerance() - self.ttl);
        let longest = self.ttl.saturating_sub(set_to_read);
        // Whole milliseconds, rounded up.
        let round = |left: Duration| {
            let millis = left.as_nanos().div_ceil(1_000_000);
            Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
        };
        (
            round(shortest.saturating_sub(grain)),
            round(longest + grain),
        )
    }
}
