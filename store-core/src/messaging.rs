//! Publishing, and the three ways to listen: a stream, a pattern, a handler.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::listener::{Listener, Outcome};
use crate::options::ListenOptions;
use crate::pattern;
use crate::store::{During, Store};
use crate::subscription::{ChannelName, Decode, Subscription};

impl<C: Codec> Store<C> {
    /// Sends `message` to everybody who is subscribed to `channel` now.
    ///
    /// Delivery is at most once; nobody listening is no error. A subscriber never delays the
    /// publisher.
    ///
    /// # Errors
    ///
    /// [`Encode`](crate::ErrorKind::Encode) if the codec has no form for the message,
    /// [`TooLarge`](crate::ErrorKind::TooLarge) if the driver does not take one of this size.
    pub async fn publish<T: Serialize + ?Sized>(&self, channel: &str, message: &T) -> Result<()> {
        let name = self.channels.physical(channel).during("publish", channel)?;
        let bytes = self.encode(message).during("publish", channel)?;
        let sent = self.adapter.publish(&name, &bytes).await;
        sent.during("publish", channel)
    }

    /// Subscribes to `channel`. What is published after this resolves is delivered, what was
    /// published before is not.
    ///
    /// # Errors
    ///
    /// Only those of every operation.
    pub async fn subscribe<T>(&self, channel: &str) -> Result<Subscription<T>>
    where
        T: DeserializeOwned + 'static,
    {
        let name = self
            .channels
            .physical(channel)
            .during("subscribe", channel)?;
        let raw = self.adapter.subscribe(&name).await;
        let raw = raw.during("subscribe", channel)?;
        let name = ChannelName::Exact(Arc::from(channel));
        Ok(Subscription::new(raw, self.decoder(), name))
    }

    /// Subscribes to every channel that `pattern` matches, by the rules of
    /// [`pattern::matches`]. Each message names its channel.
    ///
    /// A message that two subscriptions match comes to both. With a pattern, the count of a
    /// [`Gap`](crate::Gap) may include messages that the backend sends and the store passes over:
    /// those on channels of scopes inside of this store's, and where the pattern begins with `?`, or
    /// a bracket that takes `~`, those on channels that what follows matches behind anything.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the pattern is empty, is longer than twice
    /// [`MAX_NAME_LEN`](crate::MAX_NAME_LEN) with its prefix escaped, or has a range beyond ASCII.
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the driver has no patterns.
    #[doc(alias = "psubscribe")]
    pub async fn subscribe_pattern<T>(&self, pattern: &str) -> Result<Subscription<T>>
    where
        T: DeserializeOwned + 'static,
    {
        let answer = async {
            let physical = self.channels.physical_pattern(pattern)?;
            let patterns = self
                .adapter
                .as_patterns()
                .ok_or_else(|| Error::unsupported(self.adapter.name(), "patterns"))?;
            patterns.subscribe_pattern(&physical).await
        };
        let raw = answer.await.during("subscribe_pattern", pattern)?;
        let channels = self.channels.clone();
        let pattern = pattern.to_owned();
        let rename = move |physical: &str| {
            let channel = channels.logical(physical)?;
            pattern::matches(pattern.as_bytes(), channel.as_bytes()).then(|| Arc::from(channel))
        };
        let name = ChannelName::Derived(Box::new(rename));
        Ok(Subscription::new(raw, self.decoder(), name))
    }

    /// Runs `handler` for each message on `channel`, one after the other, in order.
    ///
    /// The handler answers nothing or a `Result<(), _>`. It runs in a task of the current tokio
    /// runtime. An error or a panic is counted, and the next message is handled. It sees messages alone: for gaps use
    /// [`Subscription::listen`], whose handler is given every event. What it did not see is counted
    /// in [`Listener::counts`].
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime.
    pub async fn on<T, F, H>(&self, channel: &str, handler: F) -> Result<Listener>
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(T) -> H + Send + Sync + 'static,
        H: Future<Output: Outcome> + Send + 'static,
    {
        let subscription = self.subscribe(channel).await?;
        Ok(subscription.listen(ListenOptions::new(), move |event| {
            let handled = match event {
                Event::Message(message) => Some(handler(message.value)),
                Event::Gap(_) | Event::Undecodable(_) => None,
            };
            async {
                match handled {
                    Some(handled) => Some(handled.await),
                    None => None,
                }
            }
        }))
    }

    fn decoder<T: DeserializeOwned + 'static>(&self) -> Decode<T> {
        let codec = self.codec.clone();
        Arc::new(move |bytes| codec.decode(bytes))
    }
}
