//! Subscriptions: the stream a driver makes, and the typed stream that users read.

use std::any::type_name;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Message, RawEvent, Undecodable};

/// The stream of a subscription as a driver makes it, on bytes.
///
/// Dropping it unsubscribes. Its end says that the store was closed.
pub struct RawSubscription(Mutex<Pin<Box<dyn Stream<Item = RawEvent> + Send>>>);

impl RawSubscription {
    /// Wraps a stream. Whatever ends the subscription must be in the stream's own `Drop`.
    pub fn new(events: impl Stream<Item = RawEvent> + Send + 'static) -> Self {
        // The mutex is never locked; it makes the type `Sync` without asking it of the stream.
        Self(Mutex::new(Box::pin(events)))
    }
}

impl Stream for RawSubscription {
    type Item = RawEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        let events = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        events.as_mut().poll_next(context)
    }
}

impl fmt::Debug for RawSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSubscription").finish_non_exhaustive()
    }
}

pub(crate) type Decode<T> = Arc<dyn Fn(&[u8]) -> Result<T> + Send + Sync>;
type Rename = Box<dyn Fn(&str) -> Option<Arc<str>> + Send + Sync>;

/// A subscription to a channel or a pattern: a stream of [`Event`]s.
///
/// Delivery is at most once, in the order of each publisher. The subscription is bounded: a reader
/// that is too slow loses its oldest messages and reads an [`Event::Gap`] before the next one; it
/// never delays the publisher or another subscription. The stream ends when the store is closed.
/// Dropping the subscription unsubscribes.
pub struct Subscription<T> {
    raw: RawSubscription,
    decode: Decode<T>,
    channel: ChannelName,
}

/// How the physical channel of a message becomes the name that the user knows.
pub(crate) enum ChannelName {
    /// Always this one.
    Exact(Arc<str>),
    /// Asked for each message; `None` where the message is not for this store.
    Derived(Rename),
}

impl<T> Subscription<T> {
    pub(crate) fn new(raw: RawSubscription, decode: Decode<T>, channel: ChannelName) -> Self {
        Self {
            raw,
            decode,
            channel,
        }
    }

    /// The next event, or `None` once the store is closed.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event<T>> {
        StreamExt::next(self).await
    }

    /// The messages alone, for a reader that need not know of gaps and undecodable messages.
    ///
    /// It passes over [`Event::Gap`] and [`Event::Undecodable`]: a reader that keeps state by what
    /// it reads, such as a cache that is cleared by messages, wants the events instead.
    pub fn messages(self) -> impl Stream<Item = T> + Send + Unpin
    where
        T: Send + 'static,
    {
        self.filter_map(|event| {
            std::future::ready(match event {
                Event::Message(message) => Some(message.value),
                Event::Gap(_) | Event::Undecodable(_) => None,
            })
        })
    }

    /// The same events, with a panic in `T`'s `Deserialize` as an [`Event::Undecodable`].
    pub(crate) fn catching_panics(mut self) -> Self
    where
        T: 'static,
    {
        let decode = self.decode;
        self.decode = Arc::new(move |bytes| {
            // A panic leaves nothing half done: the value was not there yet.
            catch_unwind(AssertUnwindSafe(|| decode(bytes))).unwrap_or_else(|_panic| {
                Err(Error::new(
                    ErrorKind::Decode,
                    format!("a panic in Deserialize of {}", type_name::<T>()),
                ))
            })
        });
        self
    }

    fn event(&self, raw: RawEvent) -> Option<Event<T>> {
        let (channel, bytes) = match raw {
            RawEvent::Gap(gap) => return Some(Event::Gap(gap)),
            RawEvent::Message { channel, message } => (channel, message),
        };
        let channel = match &self.channel {
            ChannelName::Exact(name) => Arc::clone(name),
            ChannelName::Derived(rename) => rename(&channel)?,
        };
        Some(match (self.decode)(&bytes) {
            Ok(value) => Event::Message(Message { channel, value }),
            Err(error) => Event::Undecodable(Undecodable {
                error: error.with_operation("subscribe").with_key(&*channel),
                channel,
                bytes,
            }),
        })
    }
}

impl<T> Stream for Subscription<T> {
    type Item = Event<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event<T>>> {
        loop {
            let Some(raw) = ready!(self.raw.poll_next_unpin(context)) else {
                return Poll::Ready(None);
            };
            if let Some(event) = self.event(raw) {
                return Poll::Ready(Some(event));
            }
        }
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Subscription");
        if let ChannelName::Exact(channel) = &self.channel {
            debug.field("channel", channel);
        }
        debug.finish_non_exhaustive()
    }
}
