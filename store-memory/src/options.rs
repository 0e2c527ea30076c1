//! What can be set when a driver is made.

use std::time::Duration;

/// Options of a [`MemoryDriver`](crate::MemoryDriver).
///
/// ```
/// use std::time::Duration;
/// use store_memory::{MemoryDriver, MemoryOptions};
///
/// let options = MemoryOptions::new()
///     .channel_capacity(256)
///     .max_value_len(1 << 20)
///     .sweep_interval(Duration::from_secs(1));
/// let driver = MemoryDriver::with_options(options);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    pub(crate) channel_capacity: usize,
    pub(crate) max_value_len: Option<usize>,
    pub(crate) sweep_interval: Duration,
}

impl MemoryOptions {
    /// The largest channel capacity; a larger one counts as this.
    pub const MAX_CHANNEL_CAPACITY: usize = 1 << 20;

    /// The shortest sweep interval; a shorter one counts as this.
    pub const MIN_SWEEP_INTERVAL: Duration = Duration::from_millis(1);

    /// The defaults: 1024 messages a channel, values of any length, a sweep every 250 ms.
    #[must_use]
    pub fn new() -> Self {
        Self {
            channel_capacity: 1024,
            max_value_len: None,
            sweep_interval: Duration::from_millis(250),
        }
    }

    /// How many messages a subscription may be behind before it loses its oldest.
    ///
    /// Rounded up to a power of two; 0 counts as 1. The subscriptions of a channel share one
    /// buffer, which is allocated with the first of them and takes about 56 bytes a message, or 72
    /// for a pattern, plus the messages that not all of them have read.
    #[must_use]
    pub fn channel_capacity(mut self, messages: usize) -> Self {
        self.channel_capacity = messages.clamp(1, Self::MAX_CHANNEL_CAPACITY);
        self
    }

    /// The longest value and message in bytes. Without it there is no limit.
    #[must_use]
    pub fn max_value_len(mut self, bytes: usize) -> Self {
        self.max_value_len = Some(bytes);
        self
    }

    /// How often the memory of expired entries is freed, in real time.
    ///
    /// It has no influence on what is visible: an entry is absent from its deadline on.
    #[must_use]
    pub fn sweep_interval(mut self, interval: Duration) -> Self {
        self.sweep_interval = interval.max(Self::MIN_SWEEP_INTERVAL);
        self
    }
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self::new()
    }
}
