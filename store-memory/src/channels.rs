//! Channels and patterns, and the subscriptions to them.
//!
//! A channel is one tokio broadcast ring that all its subscriptions read from, and is there only
//! while it has some.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use dashmap::{DashMap, Entry};
use foldhash::fast::RandomState;
use futures_util::{StreamExt, stream};
use store_core::{Error, Gap, GapReason, RawEvent, RawSubscription, Result, pattern};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::coop;

use crate::turn;

/// All channels and patterns that have a subscription.
pub(crate) struct Channels {
    exact: DashMap<Arc<str>, Arc<Ring<Bytes>>, RandomState>,
    patterns: RwLock<Vec<Arc<Ring<PatternMessage>>>>,
    /// The length of `patterns`, so that a publisher need not lock it to find it empty.
    pattern_count: AtomicUsize,
    capacity: usize,
    closed: AtomicBool,
}

/// A message and the channel it was published on.
type PatternMessage = (Arc<str>, Bytes);

/// The ring of a channel or a pattern.
struct Ring<T> {
    /// The channel or the pattern.
    name: Arc<str>,
    sender: broadcast::Sender<T>,
    sent: AtomicUsize,
    /// After how many messages a publisher looks at how many are unread: a power of two.
    turn: usize,
}

impl<T: Clone> Ring<T> {
    fn new(name: &str, capacity: usize) -> Self {
        Self {
            name: Arc::from(name),
            sender: broadcast::Sender::new(capacity),
            sent: AtomicUsize::new(0),
            turn: turn::messages(capacity),
        }
    }

    fn is_unread(&self) -> bool {
        self.sender.receiver_count() == 0
    }

    /// Answers whether a publisher on the thread of the subscribers would soon send more than the
    /// ring holds.
    fn send(&self, message: T) -> bool {
        // Fails if the last subscription has just gone, and then there is nobody to deliver to.
        let _unheard = self.sender.send(message);
        let sent = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        // Counting the unread takes several locks, so not for each message.
        sent & (self.turn - 1) == 0 && self.sender.len() >= self.turn
    }
}

impl Channels {
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            exact: DashMap::with_hasher(RandomState::default()),
            patterns: RwLock::default(),
            pattern_count: AtomicUsize::new(0),
            capacity,
            closed: AtomicBool::new(false),
        })
    }

    /// Sends `message` to those who are subscribed; copies it only if somebody is. Answers whether
    /// they should have their turn before more is published.
    pub(crate) fn publish(&self, channel: &str, message: &[u8]) -> bool {
        // Taken out of the map: sending wakes tasks, which must not happen under a lock.
        let exact = self.exact.get(channel).map(|ring| Arc::clone(&ring));
        let patterns = self.patterns_of(channel);
        if exact.is_none() && patterns.is_empty() {
            return false;
        }
        let message = Bytes::copy_from_slice(message);
        let mut are_behind = false;
        if !patterns.is_empty() {
            let name = exact
                .as_ref()
                .map_or_else(|| Arc::from(channel), |ring| Arc::clone(&ring.name));
            for ring in patterns {
                are_behind |= ring.send((Arc::clone(&name), message.clone()));
            }
        }
        if let Some(ring) = exact {
            are_behind |= ring.send(message);
        }
        are_behind
    }

    pub(crate) fn subscribe(self: &Arc<Self>, channel: &str) -> Result<RawSubscription> {
        let (name, receiver) = {
            // The lock on the entry is what keeps the ring from being removed meanwhile.
            let ring = match self.exact.entry(Arc::from(channel)) {
                Entry::Occupied(ring) => ring.into_ref(),
                // Asked under the lock: `close` either finds the new ring, or is seen here.
                Entry::Vacant(_) if self.is_closed() => return Err(Error::closed()),
                Entry::Vacant(place) => {
                    let ring = Ring::new(channel, self.capacity);
                    place.insert(Arc::new(ring))
                }
            };
            (Arc::clone(&ring.name), ring.sender.subscribe())
        };
        let lease = Lease {
            channels: Arc::downgrade(self),
            name: Arc::clone(&name),
            kind: Kind::Exact,
        };
        let event = move |message| RawEvent::Message {
            channel: Arc::clone(&name),
            message,
        };
        let listener = Listener {
            receiver,
            work: turn::message(self.capacity),
            event,
            _lease: lease,
        };
        Ok(listener.into_subscription())
    }

    pub(crate) fn subscribe_pattern(self: &Arc<Self>, pattern: &str) -> Result<RawSubscription> {
        let (name, receiver) = {
            let mut patterns = self
                .patterns
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if self.is_closed() {
                return Err(Error::closed());
            }
            let known = patterns.iter().find(|ring| &*ring.name == pattern);
            let ring =
                known.map_or_else(|| Arc::new(Ring::new(pattern, self.capacity)), Arc::clone);
            let receiver = ring.sender.subscribe();
            let name = Arc::clone(&ring.name);
            if known.is_none() {
                patterns.push(ring);
                self.pattern_count.store(patterns.len(), Ordering::Release);
            }
            (name, receiver)
        };
        let lease = Lease {
            channels: Arc::downgrade(self),
            name,
            kind: Kind::Pattern,
        };
        let listener = Listener {
            receiver,
            work: turn::message(self.capacity),
            event: |(channel, message)| RawEvent::Message { channel, message },
            _lease: lease,
        };
        Ok(listener.into_subscription())
    }

    /// Ends every subscription once it has read what it was sent, and lets no new one in.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Dropped after the locks are released, since the end wakes the subscribers.
        let mut ended = Vec::new();
        self.exact.retain(|_, ring| {
            ended.push(Arc::clone(ring));
            false
        });
        self.exact.shrink_to_fit();
        let mut patterns = self
            .patterns
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let ended_patterns = std::mem::take(&mut *patterns);
        self.pattern_count.store(0, Ordering::Release);
        drop(patterns);
        drop((ended, ended_patterns));
    }

    /// How many channels and patterns have a subscription.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.pattern_count.load(Ordering::Acquire)
    }

    /// How many subscriptions there are, to channels and to patterns.
    pub(crate) fn subscriptions(&self) -> usize {
        let exact = self.exact.iter().map(|ring| ring.sender.receiver_count());
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        let patterns = patterns.iter().map(|ring| ring.sender.receiver_count());
        exact.sum::<usize>() + patterns.sum::<usize>()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn patterns_of(&self, channel: &str) -> Vec<Arc<Ring<PatternMessage>>> {
        if self.pattern_count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        let matching = patterns
            .iter()
            .filter(|ring| pattern::matches(ring.name.as_bytes(), channel.as_bytes()));
        matching.map(Arc::clone).collect()
    }

    fn remove_unread(&self, name: &str, kind: Kind) {
        match kind {
            // What is removed is dropped when the map is not locked any more.
            Kind::Exact => drop(self.exact.remove_if(name, |_, ring| ring.is_unread())),
            Kind::Pattern => {
                let mut patterns = self
                    .patterns
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                let unread = patterns
                    .iter()
                    .position(|ring| &*ring.name == name && ring.is_unread())
                    .map(|index| patterns.swap_remove(index));
                self.pattern_count.store(patterns.len(), Ordering::Release);
                drop(patterns);
                drop(unread);
            }
        }
    }
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Exact,
    Pattern,
}

/// Removes a ring when its last subscription goes.
struct Lease {
    // Weak: a subscription that outlives the driver ends instead of keeping it.
    channels: Weak<Channels>,
    name: Arc<str>,
    kind: Kind,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(channels) = self.channels.upgrade() {
            channels.remove_unread(&self.name, self.kind);
        }
    }
}

/// What a subscription reads with, in the order in which it must be dropped.
struct Listener<T, F> {
    receiver: broadcast::Receiver<T>,
    work: usize,
    event: F,
    _lease: Lease,
}

impl<T, F> Listener<T, F>
where
    T: Clone + Send + 'static,
    F: Fn(T) -> RawEvent + Send + Sync + 'static,
{
    fn into_subscription(self) -> RawSubscription {
        // Fused, since the end may be asked for more than once.
        RawSubscription::new(stream::unfold(self, Self::next).fuse())
    }

    async fn next(mut self) -> Option<(RawEvent, Self)> {
        turn::take(self.work).await;
        // Has taken its turn.
        let event = match coop::unconstrained(self.receiver.recv()).await {
            Ok(message) => (self.event)(message),
            Err(RecvError::Lagged(missed)) => {
                RawEvent::Gap(Gap::counted(GapReason::Lagged, missed))
            }
            Err(RecvError::Closed) => return None,
        };
        Some((event, self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_are_behind_where_half_of_the_ring_is_unread_at_the_end_of_a_turn() {
        let ring = Ring::new("channel", 1000);
        let mut receiver = ring.sender.subscribe();
        let behind = |messages| (0..messages).filter(|_| ring.send(())).count();
        assert_eq!(behind(300), 0);
        assert!(receiver.try_recv().is_ok());
        // 512 are sent, and one of them is read.
        assert_eq!(behind(511), 0);
        assert_eq!(receiver.len(), 810);
        assert_eq!(behind(213), 1);
        assert_eq!(receiver.len(), 1023);
    }

    #[test]
    fn a_publisher_hears_of_who_is_behind_by_channel_or_by_pattern() {
        let behind = |first: &str, second: &str| {
            let channels = Channels::new(4);
            let subscribe = |name: &str| match name {
                "*" => channels.subscribe_pattern(name).unwrap(),
                _ => channels.subscribe(name).unwrap(),
            };
            let _behind = subscribe(first);
            let alone = channels.publish("channel", b"1");
            // Who comes now has read everything so far.
            let _other = subscribe(second);
            (alone, channels.publish("channel", b"2"))
        };
        assert_eq!(behind("*", "channel"), (false, true));
        assert_eq!(behind("channel", "*"), (false, true));
    }

    #[test]
    fn who_comes_after_the_end_is_refused() {
        let channels = Channels::new(1);
        channels.close();
        assert!(channels.subscribe("channel").is_err());
        assert!(channels.subscribe_pattern("*").is_err());
        assert_eq!(channels.len(), 0);
    }
}
