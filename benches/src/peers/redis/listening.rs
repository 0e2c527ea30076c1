//! A publisher and its subscribers at work, with every message checked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::pubsub::{Messenger, Subscriber};
use crate::compare::Sample;
use crate::work::{Start, User};

const PUBLISHERS: usize = 64;

/// Less than the smallest buffer of a subscriber.
const BURST: usize = 512;

/// After which a message that has not come is taken for lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// A messenger and its subscribers, each in a task of its own.
pub struct Listening<M> {
    messenger: M,
    channel: Arc<str>,
    /// What has arrived at a subscriber, and when; or why it gave up.
    arrivals: mpsc::UnboundedReceiver<Result<Instant>>,
    /// What each subscriber is to expect next.
    orders: Vec<mpsc::UnboundedSender<Order>>,
    /// How many messages each publisher has published.
    published: u64,
}

/// So many messages, of which the last one or each is told of.
#[derive(Clone, Copy)]
struct Order {
    messages: usize,
    each: bool,
}

impl<M: Messenger> Listening<M> {
    pub async fn start(messenger: M, name: &str, subscribers: usize) -> Result<Self> {
        // One of its own, or it would hear what the others publish.
        let channel: Arc<str> = format!("user-events of {name}").into();
        let (done, arrivals) = mpsc::unbounded_channel();
        let mut orders = Vec::new();
        for _ in 0..subscribers {
            let subscriber = messenger.subscribe(&channel).await?;
            let (order, ordered) = mpsc::unbounded_channel();
            orders.push(order);
            tokio::spawn(listen(subscriber, ordered, done.clone()));
        }
        Ok(Self {
            messenger,
            channel,
            arrivals,
            orders,
            published: 0,
        })
    }

    /// Bursts until the time is over. An operation is a message that has arrived at a subscriber.
    pub async fn throughput(&mut self, time: Duration) -> Result<Sample> {
        let start = Start::now();
        let began = Instant::now();
        let mut bursts = 0;
        while began.elapsed() < time {
            self.order(BURST, false)?;
            try_join_all((0..PUBLISHERS).map(|publisher| self.publish_some(publisher)))
                .await?
                .into_iter()
                .collect::<Result<()>>()?;
            self.published += (BURST / PUBLISHERS) as u64;
            for _ in 0..self.orders.len() {
                self.arrival().await?;
            }
            bursts += 1;
        }
        let delivered = bursts * BURST * self.orders.len();
        Ok(start.sample(delivered as u64, Vec::new()))
    }

    /// The share of one publisher in a burst, in a task.
    fn publish_some(&self, publisher: usize) -> tokio::task::JoinHandle<Result<()>> {
        let (messenger, channel) = (self.messenger.clone(), Arc::clone(&self.channel));
        let first = self.published;
        tokio::spawn(async move {
            let mut user = User::new(0);
            for number in first..first + (BURST / PUBLISHERS) as u64 {
                user.id = number * PUBLISHERS as u64 + publisher as u64;
                messenger.publish(&channel, &user).await?;
            }
            Ok(())
        })
    }

    /// One message after the other. An operation is a message, with the answer to its publisher.
    pub async fn latency(&mut self, messages: usize) -> Result<Sample> {
        self.order(messages, true)?;
        let mut latencies = Vec::with_capacity(messages);
        let mut user = User::new(0);
        let start = Start::now();
        for _ in 0..messages {
            // All as the first of the publishers of a burst.
            user.id = self.published * PUBLISHERS as u64;
            self.published += 1;
            let sent = Instant::now();
            self.messenger.publish(&self.channel, &user).await?;
            latencies.push((self.arrival().await? - sent).as_nanos() as u64);
        }
        Ok(start.sample(messages as u64, latencies))
    }

    fn order(&self, messages: usize, each: bool) -> Result<()> {
        for order in &self.orders {
            order.send(Order { messages, each })?;
        }
        Ok(())
    }

    async fn arrival(&mut self) -> Result<Instant> {
        self.arrivals
            .recv()
            .await
            .context("no subscriber is left")?
    }
}

async fn listen(
    mut subscriber: impl Subscriber,
    mut ordered: mpsc::UnboundedReceiver<Order>,
    done: mpsc::UnboundedSender<Result<Instant>>,
) {
    // The number that is due from each publisher.
    let mut due = [0_u64; PUBLISHERS];
    while let Some(order) = ordered.recv().await {
        let reading = read(&mut subscriber, order, &mut due, &done);
        let read = tokio::time::timeout(PATIENCE, reading).await;
        let read = read.unwrap_or_else(|_| Err(anyhow::anyhow!("messages that never come")));
        let failed = read.is_err();
        // Nobody waits any more once another subscriber has failed.
        let told = done.send(read.map(|()| Instant::now()));
        if failed || told.is_err() {
            return;
        }
    }
}

async fn read(
    subscriber: &mut impl Subscriber,
    order: Order,
    due: &mut [u64; PUBLISHERS],
    done: &mpsc::UnboundedSender<Result<Instant>>,
) -> Result<()> {
    for message in 1..=order.messages {
        let user = subscriber.next().await?;
        let (number, publisher) = (user.id / PUBLISHERS as u64, user.id as usize % PUBLISHERS);
        ensure!(
            number == due[publisher],
            "message {number} where {} is due",
            due[publisher]
        );
        due[publisher] += 1;
        // The last one is told of when the order is done.
        if order.each && message < order.messages {
            done.send(Ok(Instant::now()))?;
        }
    }
    Ok(())
}
