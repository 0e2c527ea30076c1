//! Messages that are lost, doubled, changed, exchanged or delivered to others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use store_core::{
    Gap, GapReason, Patterns, RawEvent, RawSubscription, Result, StoreAdapter, pattern,
};
use tokio::sync::mpsc;

use super::twist::{drivers, twists};
use crate::reference::{ReferenceDriver, SUBSCRIPTION_CAPACITY};

drivers! {
    one_in_six_swapped: "one message in six comes after the next one",
        ["pubsub::publisher_order"], Swaps::default();
    one_in_six_twice: "one message in six is delivered twice",
        ["pubsub::publisher_order", "pubsub::exactly_once_per_subscription"], Doubles::default();
    equal_messages_are_one: "a message that equals the one before it is not delivered",
        ["pubsub::exactly_once_per_subscription"], DropsEqual::default();
    shared_queue: "two subscriptions of a channel share its messages",
        ["pubsub::fan_out", "pubsub::exactly_once_per_subscription"], Shares::default();
    second_subscription_doubles: "with two subscriptions of a channel on a handle each gets every message twice",
        ["pubsub::exactly_once_per_subscription", "pubsub::fan_out"], DoublesSecond::default();
    no_own_messages: "a handle does not get what it has published itself",
        ["pubsub::fan_out"], NoOwn::default();
    channels_by_prefix: "a subscription of `a` also gets `ab`",
        ["pubsub::channel_isolation"], ByPrefix::default();
    channels_are_globs: "the name of a channel is a pattern",
        ["pubsub::channel_isolation"], IsGlob::default();
    channels_ignore_case: "channels are compared without regard to case",
        ["pubsub::channel_isolation"], IgnoresCase::default();
    channels_end_at_nul: "the name of a channel ends at its first NUL",
        ["pubsub::channel_isolation"], EndsAtNul::default();
    lossy_messages: "messages go through a string",
        ["pubsub::binary_payload"], Changed { change: |message| Some(String::from_utf8_lossy(message).into_owned().into_bytes()) };
    long_messages_are_cut: "messages are cut at 65,535 bytes",
        ["pubsub::binary_payload"], Changed { change: |message| Some(message[..message.len().min(65_535)].to_vec()) };
    empty_messages_are_dropped: "an empty message is not delivered",
        ["pubsub::exactly_once_per_subscription", "pubsub::binary_payload"], Changed { change: |message| (!message.is_empty()).then(|| message.to_vec()) };
    large_messages_are_dropped: "a message over 512 KiB is not delivered",
        ["pubsub::binary_payload"], Changed { change: |message| (message.len() <= 1 << 19).then(|| message.to_vec()) };
    overflow_is_silent: "a slow subscriber loses messages and does not hear of it",
        ["pubsub::burst_lossless_or_gap"], EditsGaps { edit: |_| None };
    gap_is_one_short: "a gap declares one message less than were lost",
        ["pubsub::burst_lossless_or_gap"], EditsGaps { edit: |missed| Some(missed - 1) };
    gap_counts_capacity: "a gap declares what the buffer holds, not what was lost",
        ["pubsub::burst_lossless_or_gap"], EditsGaps { edit: |_| Some(SUBSCRIPTION_CAPACITY as u64) };
    gap_counts_all: "a gap declares all that was lost since the beginning",
        ["pubsub::burst_lossless_or_gap"], GapsAddUp::default();
    gap_comes_late: "a gap comes after the first message behind the hole",
        ["pubsub::burst_lossless_or_gap"], GapComesLate::default();
    one_gap_only: "only the first overflow is reported",
        ["pubsub::burst_lossless_or_gap"], OneGap::default();
    overflow_ends_the_stream: "a subscriber that was too slow is unsubscribed",
        ["pubsub::burst_lossless_or_gap"], OverflowEnds::default();
    overflow_loses_the_newest: "a full buffer drops what comes, not what is there",
        ["pubsub::burst_lossless_or_gap"], DropsNewest::default();
    full_buffer_blocks: "publish waits for the slowest subscriber",
        ["pubsub::slow_subscriber_delays_nobody", "pubsub::burst_lossless_or_gap"], Blocks::default();
    slow_one_costs_all: "when a buffer overflows, all subscribers of the channel lose a message",
        ["pubsub::slow_subscriber_delays_nobody"], SlowCostsAll::default();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Channels that do not go through the reference driver, for exact subscriptions.
type Hub = Mutex<HashMap<String, Vec<Queue>>>;

#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<RawEvent>,
    missed: u64,
}

fn queue(hub: &Hub, channel: &str) -> RawSubscription {
    let (sender, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
    let queue = Queue { sender, missed: 0 };
    lock(hub).entry(channel.to_owned()).or_default().push(queue);
    let events = stream::unfold(receiver, async |mut receiver| {
        let event = receiver.recv().await?;
        Some((event, receiver))
    });
    RawSubscription::new(events)
}

fn message(channel: &str, message: &[u8]) -> RawEvent {
    RawEvent::Message {
        channel: channel.into(),
        message: message.to_vec().into(),
    }
}

fn renamed(events: RawSubscription, channel: &str) -> RawSubscription {
    let name: Arc<str> = channel.into();
    RawSubscription::new(events.map(move |event| match event {
        RawEvent::Message { message, .. } => RawEvent::Message {
            channel: Arc::clone(&name),
            message,
        },
        gap => gap,
    }))
}

#[derive(Debug)]
struct Changed {
    change: fn(&[u8]) -> Option<Vec<u8>>,
}

#[store_core::async_trait]
impl super::twist::Twist for Changed {
    async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
        match (self.change)(message) {
            Some(message) => inner.publish(channel, &message).await,
            None => Ok(()),
        }
    }
}

/// Another answer to an overflow: how many are declared missing, or no gap at all.
#[derive(Debug)]
struct EditsGaps {
    edit: fn(u64) -> Option<u64>,
}

#[store_core::async_trait]
impl super::twist::Twist for EditsGaps {
    async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
        let edit = self.edit;
        let events = inner.subscribe(channel).await?;
        Ok(RawSubscription::new(events.filter_map(move |event| {
            std::future::ready(match event {
                RawEvent::Gap(Gap {
                    reason,
                    missed: Some(missed),
                    ..
                }) => edit(missed).map(|missed| RawEvent::Gap(Gap::counted(reason, missed))),
                event => Some(event),
            })
        })))
    }
}

twists! {
    Swaps { sent: Mutex<HashMap<String, (usize, Option<Vec<u8>>)>> } => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            let held = {
                let mut sent = lock(&self.sent);
                let (count, held) = sent.entry(channel.to_owned()).or_default();
                *count += 1;
                if *count % 6 == 0 {
                    *held = Some(message.to_vec());
                    return Ok(());
                }
                held.take()
            };
            inner.publish(channel, message).await?;
            match held {
                Some(held) => inner.publish(channel, &held).await,
                None => Ok(()),
            }
        }
    }
    Doubles { sent: AtomicUsize } => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            if self.sent.fetch_add(1, Ordering::SeqCst) % 6 == 5 {
                inner.publish(channel, message).await?;
            }
            inner.publish(channel, message).await
        }
    }
    DropsEqual => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let mut last = None;
            let events = inner.subscribe(channel).await?;
            Ok(RawSubscription::new(events.filter(move |event| {
                let new = last.as_ref() != Some(event);
                last = Some(event.clone());
                std::future::ready(new)
            })))
        }
    }
    Shares { counts: Arc<Mutex<HashMap<String, usize>>> } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let place = {
                let mut counts = lock(&self.counts);
                let count = counts.entry(channel.to_owned()).or_default();
                *count += 1;
                *count - 1
            };
            let (counts, name) = (Arc::clone(&self.counts), channel.to_owned());
            let mut seen = place;
            Ok(RawSubscription::new(inner.subscribe(channel).await?.filter(move |_| {
                let sharing = lock(&counts).get(&name).copied().unwrap_or(1);
                seen += 1;
                std::future::ready(seen % sharing == 0)
            })))
        }
    }
    DoublesSecond { counts: Mutex<HashMap<(usize, String), usize>> } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let is_second = {
                let mut counts = lock(&self.counts);
                let place = (std::ptr::from_ref(inner).addr(), channel.to_owned());
                let count = counts.entry(place).or_default();
                *count += 1;
                *count > 1
            };
            let events = inner.subscribe(channel).await?;
            Ok(RawSubscription::new(events.flat_map(move |event| {
                let times = if is_second { 2 } else { 1 };
                stream::iter(std::iter::repeat_n(event, times))
            })))
        }
    }
    NoOwn => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            let own = std::ptr::from_ref(inner).addr().to_string();
            inner.publish(&format!("{channel}\0from\0{own}"), message).await?;
            inner.publish(channel, message).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let own = std::ptr::from_ref(inner).addr().to_string();
            let all = format!("{}\0from\0*", pattern::escape(channel));
            let events = inner.subscribe_pattern(&all).await?.filter(move |event| {
                let is_own = matches!(event, RawEvent::Message { channel, .. } if channel.ends_with(&own));
                std::future::ready(!is_own)
            });
            Ok(renamed(RawSubscription::new(events), channel))
        }
    }
    ByPrefix => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            inner.subscribe_pattern(&format!("{}*", pattern::escape(channel))).await
        }
    }
    IsGlob => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            inner.subscribe_pattern(channel).await
        }
    }
    IgnoresCase => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            inner.publish(&channel.to_lowercase(), message).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            Ok(renamed(inner.subscribe(&channel.to_lowercase()).await?, channel))
        }
    }
    EndsAtNul => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            inner.publish(channel.split('\0').next().unwrap_or_default(), message).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let cut = channel.split('\0').next().unwrap_or_default();
            Ok(renamed(inner.subscribe(cut).await?, channel))
        }
    }
    GapsAddUp => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let (mut gaps, mut total) = (0, 0);
            Ok(RawSubscription::new(inner.subscribe(channel).await?.map(move |event| match event {
                RawEvent::Gap(gap) => {
                    gaps += 1;
                    total += gap.missed.unwrap_or_default();
                    // What the buffer still held counts as lost as well.
                    let held = if gaps == 1 { SUBSCRIPTION_CAPACITY as u64 } else { 0 };
                    RawEvent::Gap(Gap::counted(gap.reason, total + held))
                }
                event => event,
            })))
        }
    }
    GapComesLate => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let mut late = None;
            Ok(RawSubscription::new(inner.subscribe(channel).await?.flat_map(move |event| {
                let events = match event {
                    RawEvent::Gap(_) => {
                        late = Some(event);
                        vec![]
                    }
                    event => [Some(event), late.take()].into_iter().flatten().collect(),
                };
                stream::iter(events)
            })))
        }
    }
    OneGap => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let mut gaps = 0;
            // The reference loses once for a burst; losing the message after it makes it twice.
            Ok(RawSubscription::new(inner.subscribe(channel).await?.filter(move |event| {
                let since = if matches!(event, RawEvent::Gap(_)) { 0 } else { gaps + 1 };
                gaps = since;
                std::future::ready(since != 2)
            })))
        }
    }
    OverflowEnds => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let events = inner.subscribe(channel).await?;
            Ok(RawSubscription::new(events.take_while(|event| {
                std::future::ready(!matches!(event, RawEvent::Gap(_)))
            })))
        }
    }
    DropsNewest { hub: Hub } => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, bytes: &[u8]) -> Result<()> {
            inner.publish(channel, bytes).await?;
            for queue in lock(&self.hub).get_mut(channel).into_iter().flatten() {
                if queue.missed > 0 && queue.sender.capacity() > 1 {
                    let gap = Gap::counted(GapReason::Lagged, std::mem::take(&mut queue.missed));
                    let _ = queue.sender.try_send(RawEvent::Gap(gap));
                }
                if queue.missed > 0 || queue.sender.try_send(message(channel, bytes)).is_err() {
                    queue.missed += 1;
                }
            }
            Ok(())
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            inner.subscribe(channel).await?;
            Ok(queue(&self.hub, channel))
        }
    }
    Blocks { hub: Hub } => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, bytes: &[u8]) -> Result<()> {
            inner.publish(channel, bytes).await?;
            let queues = lock(&self.hub).get(channel).cloned().unwrap_or_default();
            for queue in queues {
                let _ = queue.sender.send(message(channel, bytes)).await;
            }
            Ok(())
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            inner.subscribe(channel).await?;
            Ok(queue(&self.hub, channel))
        }
    }
    SlowCostsAll { hub: Hub } => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, bytes: &[u8]) -> Result<()> {
            let is_full = lock(&self.hub).get_mut(channel).is_some_and(|queues| {
                queues.retain(|queue| !queue.sender.is_closed());
                queues.iter_mut().any(|queue| {
                    let full = queue.missed == 0 && queue.sender.try_send(message(channel, bytes)).is_err();
                    queue.missed += u64::from(full);
                    full
                })
            });
            if is_full {
                return Ok(());
            }
            inner.publish(channel, bytes).await
        }
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            // The queue only counts; the events are the reference driver's.
            let counting = queue(&self.hub, channel);
            let events = inner.subscribe(channel).await?;
            let events = stream::unfold((counting, events), async |(mut counting, mut events)| {
                let event = events.next().await?;
                let counted = futures_util::FutureExt::now_or_never(counting.next());
                drop(counted);
                Some((event, (counting, events)))
            });
            Ok(RawSubscription::new(events))
        }
    }
}
