//! Channels in memory: ours, and tokio's broadcast as somebody uses it by hand.

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dashmap::DashMap;
use futures_util::StreamExt;
use igniter_store::{
    Event, MemoryDriver, RawEvent, RawSubscription, Store, StoreAdapter, Subscription,
};
use tokio::sync::broadcast::{Receiver, Sender};

use crate::work::User;

/// What a channel holds at most: ours by default, and so the others'.
pub const CAPACITY: usize = 1024;

/// Something to publish on.
pub trait Channels: Clone + Send + Sync + 'static {
    type Subscription: Send + 'static;

    fn subscribe(&self, channel: &str) -> impl Future<Output = Result<Self::Subscription>> + Send;

    fn publish(&self, channel: &str, message: &User) -> impl Future<Output = Result<()>> + Send;

    /// Receives the next message, which must not be a gap, and answers its id.
    fn receive(subscription: &mut Self::Subscription) -> impl Future<Output = Result<u64>> + Send;
}

impl Channels for Store {
    type Subscription = Subscription<User>;

    async fn subscribe(&self, channel: &str) -> Result<Self::Subscription> {
        Ok(Store::subscribe(self, channel).await?)
    }

    async fn publish(&self, channel: &str, message: &User) -> Result<()> {
        Ok(Store::publish(self, channel, message).await?)
    }

    async fn receive(subscription: &mut Self::Subscription) -> Result<u64> {
        match subscription.next().await {
            Some(Event::Message(message)) => Ok(black_box(message.value).id),
            other => bail!("a subscription answered {other:?}"),
        }
    }
}

/// Broadcast behind a look-up by name, messages as JSON: what ours is made of.
#[derive(Clone)]
pub struct ByHand {
    senders: Arc<DashMap<String, Sender<Bytes>>>,
    capacity: usize,
}

impl Default for ByHand {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl ByHand {
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            senders: Arc::default(),
            capacity,
        }
    }

    fn receiver(&self, channel: &str) -> Receiver<Bytes> {
        let sender = self.senders.entry(channel.to_owned());
        sender
            .or_insert_with(|| Sender::new(self.capacity))
            .subscribe()
    }

    fn send(&self, channel: &str, message: Bytes) {
        // Cloned, since sending wakes tasks, which should not happen under the lock of the map.
        let sender = self.senders.get(channel).map(|sender| sender.clone());
        if let Some(sender) = sender {
            // Nobody may be there, which is no failure.
            let _heard = sender.send(message);
        }
    }
}

impl Channels for ByHand {
    type Subscription = Receiver<Bytes>;

    async fn subscribe(&self, channel: &str) -> Result<Self::Subscription> {
        Ok(self.receiver(channel))
    }

    async fn publish(&self, channel: &str, message: &User) -> Result<()> {
        self.send(channel, Bytes::from(serde_json::to_vec(message)?));
        Ok(())
    }

    async fn receive(subscription: &mut Self::Subscription) -> Result<u64> {
        let user: User = serde_json::from_slice(&subscription.recv().await?)?;
        Ok(black_box(user).id)
    }
}

/// The same with the value itself, which then is cloned for each subscriber and never leaves the
/// process: no encoding at all.
#[derive(Clone, Default)]
pub struct ByHandTyped(Arc<DashMap<String, Sender<User>>>);

impl Channels for ByHandTyped {
    type Subscription = Receiver<User>;

    async fn subscribe(&self, channel: &str) -> Result<Self::Subscription> {
        let sender = self.0.entry(channel.to_owned());
        Ok(sender.or_insert_with(|| Sender::new(CAPACITY)).subscribe())
    }

    async fn publish(&self, channel: &str, message: &User) -> Result<()> {
        let sender = self.0.get(channel).map(|sender| sender.clone());
        if let Some(sender) = sender {
            let _heard = sender.send(message.clone());
        }
        Ok(())
    }

    async fn receive(subscription: &mut Self::Subscription) -> Result<u64> {
        Ok(black_box(subscription.recv().await?).id)
    }
}

/// Our driver without the handle: bytes in, bytes out.
#[derive(Clone, Default)]
pub struct DriverBytes(MemoryDriver);

/// What is published where nothing is encoded.
const BYTES: &[u8] = &[b'x'; 100];

impl Channels for DriverBytes {
    type Subscription = RawSubscription;

    async fn subscribe(&self, channel: &str) -> Result<Self::Subscription> {
        Ok(self.0.subscribe(channel).await?)
    }

    async fn publish(&self, channel: &str, _: &User) -> Result<()> {
        Ok(self.0.publish(channel, BYTES).await?)
    }

    async fn receive(subscription: &mut Self::Subscription) -> Result<u64> {
        match subscription
            .next()
            .await
            .context("a subscription has ended")?
        {
            RawEvent::Message { message, .. } => Ok(black_box(message).len() as u64),
            other => bail!("a subscription answered {other:?}"),
        }
    }
}

/// Broadcast behind a look-up with bytes.
#[derive(Clone, Default)]
pub struct ByHandBytes(ByHand);

impl Channels for ByHandBytes {
    type Subscription = Receiver<Bytes>;

    async fn subscribe(&self, channel: &str) -> Result<Self::Subscription> {
        Ok(self.0.receiver(channel))
    }

    async fn publish(&self, channel: &str, _: &User) -> Result<()> {
        self.0.send(channel, Bytes::copy_from_slice(BYTES));
        Ok(())
    }

    async fn receive(subscription: &mut Self::Subscription) -> Result<u64> {
        Ok(black_box(subscription.recv().await?).len() as u64)
    }
}
