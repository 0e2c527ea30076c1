//! What a write and a listener can be told.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::error::Result;
use crate::time::{Expiry, TtlMillis};

/// How [`Store::set_with`](crate::Store::set_with) writes.
///
/// A plain ttl converts, so `store.set_with(key, &value, Duration::from_secs(60))` works.
///
/// ```
/// use std::time::Duration;
/// use store_core::SetOptions;
///
/// let claim = SetOptions::new().ttl(Duration::from_secs(30)).if_absent();
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    ttl: SetTtl,
    presence: Presence,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SetTtl {
    #[default]
    None,
    After(Duration),
    Keep,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    #[default]
    Any,
    Absent,
    Present,
}

impl SetOptions {
    /// A write in any case, of an entry that never expires.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the entry expire after `ttl`, rounded up to whole milliseconds, from 1 ns to
    /// [`TtlMillis::MAX`].
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = SetTtl::After(ttl);
        self
    }

    /// Keeps the deadline that the key has. A key that is not there gets none.
    #[must_use]
    pub fn keep_ttl(mut self) -> Self {
        self.ttl = SetTtl::Keep;
        self
    }

    /// Writes only where no live key is there.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.presence = Presence::Absent;
        self
    }

    /// Writes only where a live key is there.
    #[must_use]
    pub fn if_present(mut self) -> Self {
        self.presence = Presence::Present;
        self
    }

    pub(crate) fn expiry(self) -> Result<Expiry> {
        Ok(match self.ttl {
            SetTtl::None => Expiry::Never,
            SetTtl::After(ttl) => Expiry::After(TtlMillis::new(ttl)?),
            SetTtl::Keep => Expiry::Keep,
        })
    }

    pub(crate) fn presence(self) -> Presence {
        self.presence
    }
}

impl From<Duration> for SetOptions {
    fn from(ttl: Duration) -> Self {
        Self::new().ttl(ttl)
    }
}

/// How [`Store::increment_with`](crate::Store::increment_with) counts.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncrementOptions {
    pub(crate) by: i64,
    pub(crate) initial_ttl: Option<Duration>,
}

impl IncrementOptions {
    /// One more, without a ttl.
    #[must_use]
    pub fn new() -> Self {
        Self {
            by: 1,
            initial_ttl: None,
        }
    }

    /// Adds `by`, which may be negative or zero.
    #[must_use]
    pub fn by(mut self, by: i64) -> Self {
        self.by = by;
        self
    }

    /// Lets a counter that this call creates expire after `ttl`. One that is there keeps its
    /// deadline, or its lack of one.
    #[must_use]
    pub fn initial_ttl(mut self, ttl: Duration) -> Self {
        self.initial_ttl = Some(ttl);
        self
    }
}

impl Default for IncrementOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How a [`Listener`](crate::Listener) runs its handler.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    pub(crate) concurrency: NonZeroUsize,
}

impl ListenOptions {
    /// One message after the other, in order.
    #[must_use]
    pub fn new() -> Self {
        Self {
            concurrency: NonZeroUsize::MIN,
        }
    }

    /// Runs the handler for up to `concurrency` messages at a time. They begin in order.
    #[must_use]
    pub fn concurrency(mut self, concurrency: NonZeroUsize) -> Self {
        self.concurrency = concurrency;
        self
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}
