//! What a subscription yields: messages, and everything that is not one.
//!
//! Loss is data here: whatever keeps a message from its subscriber is an event itself.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::Error;

/// One item of a [`Subscription`](crate::Subscription). None of them ends the stream.
#[non_exhaustive]
#[derive(Debug)]
pub enum Event<T> {
    /// A message.
    Message(Message<T>),
    /// Messages are missing between the previous event and the next.
    Gap(Gap),
    /// A message that is not a `T`.
    Undecodable(Undecodable),
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<T> {
    /// The channel it was published on, without prefix and scope.
    pub channel: Arc<str>,
    /// What was published.
    pub value: T,
}

/// A hole in a subscription: messages may have been, or have been, lost here.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What made the hole.
    pub reason: GapReason,
    /// How many messages are missing, where the driver can count them.
    pub missed: Option<u64>,
}

impl Gap {
    /// A hole of a known size.
    #[must_use]
    pub fn counted(reason: GapReason, missed: u64) -> Self {
        Self {
            reason,
            missed: Some(missed),
        }
    }

    /// A hole of unknown size, which may be zero.
    #[must_use]
    pub fn uncounted(reason: GapReason) -> Self {
        Self {
            reason,
            missed: None,
        }
    }
}

/// What made a [`Gap`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The subscriber was too slow and lost its oldest messages.
    Lagged,
    /// The connection was lost and is there again; what was published meanwhile is not.
    Reconnected,
    /// The backend refuses the subscription since it was made; it is tried again until it is
    /// confirmed. Nothing arrives meanwhile.
    Refused,
    /// A message came on a channel whose name is not UTF-8, which no event can name.
    UnnamableChannel,
}

/// A message whose bytes are not a value of the subscription's type.
#[derive(Debug)]
pub struct Undecodable {
    /// The channel it was published on, without prefix and scope.
    pub channel: Arc<str>,
    /// The bytes as they were published.
    pub bytes: Bytes,
    /// Why they are no such value.
    pub error: Error,
}

/// One item of a [`RawSubscription`](crate::RawSubscription), as a driver makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawEvent {
    /// A message, with the physical name of its channel.
    Message {
        /// The channel it was published on.
        channel: Arc<str>,
        /// The bytes as they were published.
        message: Bytes,
    },
    /// Messages are missing before the next event.
    Gap(Gap),
}
