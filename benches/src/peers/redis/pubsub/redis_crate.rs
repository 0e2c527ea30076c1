//! The three ways in which people subscribe with the redis crate.

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncCommands, Client, PushInfo, PushKind, Value};
use tokio::sync::{broadcast, mpsc};

use super::super::redis_crate;
use super::{BUFFER, Messenger, Subscriber};
use crate::work::User;

/// The redis crate: its `PubSub`, a connection for each subscriber.
#[derive(Clone)]
pub struct RedisPubSub {
    client: Client,
    publisher: MultiplexedConnection,
}

impl RedisPubSub {
    pub async fn connect(url: &str) -> Result<Self> {
        let client = redis_crate::client(url)?;
        let publisher = redis_crate::connection(&client).await?;
        Ok(Self { client, publisher })
    }
}

impl Messenger for RedisPubSub {
    type Subscriber = PubSubStream;

    async fn publish(&self, channel: &str, user: &User) -> Result<()> {
        publish_by_redis(&self.publisher, channel, user).await
    }

    async fn subscribe(&self, channel: &str) -> Result<PubSubStream> {
        let mut connection = self.client.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        Ok(connection.into_on_message())
    }
}

impl Subscriber for PubSubStream {
    async fn next(&mut self) -> Result<User> {
        let message = StreamExt::next(self)
            .await
            .context("the stream has ended")?;
        Ok(serde_json::from_slice(message.get_payload_bytes())?)
    }
}

/// The redis crate on RESP3, where messages are pushed: a connection and an unbounded channel for
/// each subscriber, as its docs show.
#[derive(Clone)]
pub struct RedisPush(RedisPubSub);

impl RedisPush {
    pub async fn connect(url: &str) -> Result<Self> {
        let url = format!("{url}/?protocol=resp3");
        Ok(Self(RedisPubSub::connect(&url).await?))
    }
}

/// Dropping it ends the subscription, with its connection.
pub struct PushSubscriber {
    pushes: mpsc::UnboundedReceiver<PushInfo>,
    _connection: MultiplexedConnection,
}

impl Messenger for RedisPush {
    type Subscriber = PushSubscriber;

    async fn publish(&self, channel: &str, user: &User) -> Result<()> {
        self.0.publish(channel, user).await
    }

    async fn subscribe(&self, channel: &str) -> Result<PushSubscriber> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let config = redis_crate::config().set_push_sender(sender);
        let client = &self.0.client;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connecting.await?;
        connection.subscribe(channel).await?;
        Ok(PushSubscriber {
            pushes,
            _connection: connection,
        })
    }
}

impl Subscriber for PushSubscriber {
    async fn next(&mut self) -> Result<User> {
        loop {
            let push = self
                .pushes
                .recv()
                .await
                .context("the connection has ended")?;
            if let Some(user) = pushed(&push)? {
                return Ok(user);
            }
        }
    }
}

/// The same with one connection for all subscribers, which share what it pushes by a broadcast
/// channel: what a person writes who has many of them.
#[derive(Clone)]
pub struct RedisFanOut {
    publisher: MultiplexedConnection,
    connection: MultiplexedConnection,
    pushes: broadcast::Sender<PushInfo>,
}

impl RedisFanOut {
    pub async fn connect(url: &str) -> Result<Self> {
        let client = redis_crate::client(&format!("{url}/?protocol=resp3"))?;
        let (pushes, _) = broadcast::channel(BUFFER);
        let config = redis_crate::config().set_push_sender(pushes.clone());
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Self {
            publisher: redis_crate::connection(&client).await?,
            connection: connecting.await?,
            pushes,
        })
    }
}

impl Messenger for RedisFanOut {
    type Subscriber = broadcast::Receiver<PushInfo>;

    async fn publish(&self, channel: &str, user: &User) -> Result<()> {
        publish_by_redis(&self.publisher, channel, user).await
    }

    async fn subscribe(&self, channel: &str) -> Result<broadcast::Receiver<PushInfo>> {
        let receiver = self.pushes.subscribe();
        self.connection.clone().subscribe(channel).await?;
        Ok(receiver)
    }
}

impl Subscriber for broadcast::Receiver<PushInfo> {
    async fn next(&mut self) -> Result<User> {
        loop {
            if let Some(user) = pushed(&self.recv().await?)? {
                return Ok(user);
            }
        }
    }
}

async fn publish_by_redis(
    connection: &MultiplexedConnection,
    channel: &str,
    user: &User,
) -> Result<()> {
    let message = serde_json::to_vec(user)?;
    Ok(connection.clone().publish(channel, message).await?)
}

/// The user in a push, unless it confirms a subscription.
fn pushed(push: &PushInfo) -> Result<Option<User>> {
    if push.kind != PushKind::Message {
        return Ok(None);
    }
    let Some(Value::BulkString(message)) = push.data.get(1) else {
        bail!("a message without a payload: {push:?}");
    };
    Ok(Some(serde_json::from_slice(message)?))
}
