//! Numbered messages on several channels, and readers that account for each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use store_conformance::server::RedisServer;
use store_core::{RawSubscription, StoreAdapter};
use store_redis::RedisDriver;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::Outcome;
use crate::follower::{Follower, Ledger};

const CHANNELS: [&str; 4] = ["channel:0", "channel:1", "channel:2", "channel:3"];
/// A channel that only the overflow of the server's buffer uses.
const BURST: &str = "burst";
const BURST_MESSAGES: u64 = 64;
const PAUSE: Duration = Duration::from_millis(2);
/// A slow reader reads so many messages, and then none for a while.
const READ_AT_ONCE: u64 = 32;
const ASLEEP: Duration = Duration::from_millis(400);
/// By then the last messages must have come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Publishers and readers.
pub(crate) struct Messages {
    topics: Vec<Topic>,
    burst: Topic,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<Vec<String>>>,
}

/// A channel.
struct Topic {
    channel: &'static str,
    ledger: Arc<Ledger>,
    readers: Vec<Reader>,
}

struct Reader {
    follower: Arc<Mutex<Follower>>,
    is_slow: bool,
}

/// What was sent, and what every reader saw of it.
pub(crate) struct Account {
    pub(crate) sent: u64,
    pub(crate) doubtful: usize,
    pub(crate) followers: Vec<Follower>,
    pub(crate) violations: Vec<String>,
}

impl Messages {
    pub(crate) async fn start(driver: &Arc<RedisDriver>, slow: &RedisDriver) -> Outcome<Self> {
        let mut topics = Vec::new();
        for channel in CHANNELS {
            let mut topic = Topic::new(channel);
            topic.read(driver.subscribe(channel).await?, false);
            topics.push(topic);
        }
        let Some(patterns) = driver.as_patterns() else {
            return Err("the driver has no patterns".into());
        };
        topics[0].read(patterns.subscribe_pattern("channel:[0]").await?, false);
        topics[1].read(slow.subscribe(CHANNELS[1]).await?, true);
        let mut burst = Topic::new(BURST);
        burst.read(driver.subscribe(BURST).await?, false);
        let stop = Arc::new(AtomicBool::new(false));
        let publishers = topics.iter().map(|topic| {
            let publisher = publish(
                Arc::clone(driver),
                topic.channel,
                Arc::clone(&topic.ledger),
                Arc::clone(&stop),
            );
            tokio::spawn(publisher)
        });
        let publishers = publishers.collect();
        Ok(Self {
            topics,
            burst,
            stop,
            publishers,
        })
    }

    /// How many numbers were sent on each channel.
    pub(crate) fn sent(&self) -> Vec<u64> {
        self.topics
            .iter()
            .map(|topic| topic.ledger.next())
            .collect()
    }

    /// Whether every quick reader has seen a message that was sent after `sent`.
    pub(crate) fn heard_after(&self, sent: &[u64]) -> bool {
        self.topics.iter().zip(sent).all(|(topic, sent)| {
            let mut quick = topic.readers.iter().filter(|reader| !reader.is_slow);
            quick.all(|reader| reader.follower().next() > *sent + 1)
        })
    }

    /// Publishes more in one step than the server buffers for a subscriber.
    pub(crate) fn burst(&self, server: &RedisServer) -> Outcome<()> {
        let script = "for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
                redis.call('PUBLISH', ARGV[3], number .. ' ' .. string.rep('x', 65536))
            end";
        let first = self.burst.ledger.next().to_string();
        let count = BURST_MESSAGES.to_string();
        // What may arrive must be known before it does.
        for _ in 0..BURST_MESSAGES {
            self.burst.ledger.record(&Ok(()))?;
        }
        server.command(&["EVAL", script, "0", &first, &count, BURST])?;
        Ok(())
    }

    /// Publishes one last message on each channel, and waits until it was read.
    pub(crate) async fn finish(self, driver: &RedisDriver) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let mut account = Account {
            sent: 0,
            doubtful: 0,
            followers: Vec::new(),
            violations: Vec::new(),
        };
        for publisher in self.publishers {
            match publisher.await {
                Ok(violations) => account.violations.extend(violations),
                Err(error) => account.violations.push(format!("a publisher: {error}")),
            }
        }
        for topic in self.topics.into_iter().chain([self.burst]) {
            let last = publish_next(driver, topic.channel, &topic.ledger).await;
            account.violations.extend(last.err());
            account.sent += topic.ledger.next();
            account.doubtful += topic.ledger.doubtful();
            for reader in topic.readers {
                let caught_up = async {
                    while reader.follower().next() < topic.ledger.next() {
                        sleep(PAUSE).await;
                    }
                };
                if tokio::time::timeout(PATIENCE, caught_up).await.is_err() {
                    account.violations.push(format!(
                        "the last message on {} did not come",
                        topic.channel
                    ));
                }
                account
                    .followers
                    .push(std::mem::take(&mut *reader.follower()));
            }
        }
        account
    }
}

impl Topic {
    fn new(channel: &'static str) -> Self {
        Self {
            channel,
            ledger: Arc::default(),
            readers: Vec::new(),
        }
    }

    fn read(&mut self, mut subscription: RawSubscription, is_slow: bool) {
        let reader = Reader {
            follower: Arc::default(),
            is_slow,
        };
        let (follower, ledger) = (Arc::clone(&reader.follower), Arc::clone(&self.ledger));
        self.readers.push(reader);
        tokio::spawn(async move {
            let mut events = 0;
            while let Some(event) = subscription.next().await {
                lock(&follower).take(&event, &ledger);
                events += 1;
                if is_slow && events % READ_AT_ONCE == 0 {
                    sleep(ASLEEP).await;
                }
            }
        });
    }
}

impl Reader {
    fn follower(&self) -> MutexGuard<'_, Follower> {
        lock(&self.follower)
    }
}

fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn publish(
    driver: Arc<RedisDriver>,
    channel: &'static str,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut violations = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        violations.extend(publish_next(&driver, channel, &ledger).await.err());
        sleep(PAUSE).await;
    }
    violations
}

async fn publish_next(driver: &RedisDriver, channel: &str, ledger: &Ledger) -> Result<(), String> {
    let text = ledger.next().to_string();
    let outcome = driver.publish(channel, text.as_bytes()).await;
    ledger.record(&outcome)
}
