//! Publishing and subscribing through Redis, as the users of each client do.

pub mod redis_crate;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fred::clients::Client as FredClient;
use fred::interfaces::{EventInterface, PubsubInterface};
use fred::types::Message as FredMessage;
use futures_util::StreamExt;
use igniter_store::{Event, Store, Subscription};
use rustis::client::{Client as RustisClient, PubSubStream as RustisStream};
use rustis::commands::PubSubCommands;
use rustis::resp::BulkString;
use tokio::sync::broadcast;

use super::fred as fred_peer;
use crate::work::User;

/// How many messages a subscriber's buffer holds where its client asks for a number: as many as
/// this project's by default.
const BUFFER: usize = 1024;

/// A client that publishes, and makes subscribers.
pub trait Messenger: Clone + Send + Sync + 'static {
    type Subscriber: Subscriber;

    fn publish(&self, channel: &str, user: &User) -> impl Future<Output = Result<()>> + Send;

    fn subscribe(&self, channel: &str) -> impl Future<Output = Result<Self::Subscriber>> + Send;
}

/// A subscription to one channel.
pub trait Subscriber: Send + 'static {
    /// The next message. That one was lost is an error.
    fn next(&mut self) -> impl Future<Output = Result<User>> + Send;
}

impl Messenger for Store {
    type Subscriber = Subscription<User>;

    async fn publish(&self, channel: &str, user: &User) -> Result<()> {
        Ok(self.publish(channel, user).await?)
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription<User>> {
        Ok(self.subscribe(channel).await?)
    }
}

impl Subscriber for Subscription<User> {
    async fn next(&mut self) -> Result<User> {
        match self.next().await.context("the store was closed")? {
            Event::Message(message) => Ok(message.value),
            other => bail!("instead of a message there is {other:?}"),
        }
    }
}

/// fred: a client to publish and one for all subscribers, each of which has every message of it.
#[derive(Clone)]
pub struct Fred {
    publisher: FredClient,
    subscriber: FredClient,
}

impl Fred {
    pub async fn connect(url: &str) -> Result<Self> {
        Ok(Self {
            publisher: fred_peer::client(url).await?,
            subscriber: fred_peer::client_with_buffer(url, BUFFER).await?,
        })
    }
}

impl Messenger for Fred {
    type Subscriber = broadcast::Receiver<FredMessage>;

    async fn publish(&self, channel: &str, user: &User) -> Result<()> {
        let message = bytes::Bytes::from(serde_json::to_vec(user)?);
        Ok(self.publisher.publish(channel, message).await?)
    }

    async fn subscribe(&self, channel: &str) -> Result<broadcast::Receiver<FredMessage>> {
        let receiver = self.subscriber.message_rx();
        self.subscriber.subscribe(channel).await?;
        Ok(receiver)
    }
}

impl Subscriber for broadcast::Receiver<FredMessage> {
    async fn next(&mut self) -> Result<User> {
        let message = self.recv().await?;
        let payload = message
            .value
            .as_bytes()
            .context("a message without bytes")?;
        Ok(serde_json::from_slice(payload)?)
    }
}

/// rustis: a client to publish, and one for each subscriber, since a client refuses a second
/// subscription to a channel.
#[derive(Clone)]
pub struct Rustis {
    url: Arc<str>,
    publisher: RustisClient,
}

impl Rustis {
    pub async fn connect(url: &str) -> Result<Self> {
        Ok(Self {
            url: url.into(),
            publisher: RustisClient::connect(url).await?,
        })
    }
}

/// The client stays for as long as its subscription.
pub struct RustisSubscriber {
    stream: RustisStream,
    _client: RustisClient,
}

impl Messenger for Rustis {
    type Subscriber = RustisSubscriber;

    async fn publish(&self, channel: &str, user: &User) -> Result<()> {
        let message = BulkString::new(serde_json::to_vec(user)?);
        self.publisher.publish(channel, message).await?;
        Ok(())
    }

    async fn subscribe(&self, channel: &str) -> Result<RustisSubscriber> {
        let client = RustisClient::connect(&*self.url).await?;
        Ok(RustisSubscriber {
            stream: client.subscribe(channel).await?,
            _client: client,
        })
    }
}

impl Subscriber for RustisSubscriber {
    async fn next(&mut self) -> Result<User> {
        let message = self.stream.next().await.context("the stream has ended")??;
        Ok(serde_json::from_slice(message.payload())?)
    }
}
