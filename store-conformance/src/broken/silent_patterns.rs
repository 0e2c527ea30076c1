//! Patterns that are treated with less care than channels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{StreamExt, stream};
use store_core::{Patterns, RawEvent, RawSubscription, Result, StoreAdapter, pattern};

use super::subscriptions::{Cuts, cut, on_drop, until_cut};
use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    patterns_subscribe_in_the_background: "subscribe_pattern answers before the backend has confirmed it",
        ["pubsub::subscribe_return_means_ready"], InTheBackground::default();
    patterns_replay_the_last: "a new subscription of a pattern gets the last message that it matches",
        ["pubsub::no_replay"], ReplaysLast::default();
    pattern_overflow_is_silent: "a slow subscriber of a pattern does not hear of what it loses",
        ["pubsub::burst_lossless_or_gap"], NoGap::default();
    one_in_six_of_a_pattern_swapped: "of a pattern one message in six comes after the next one",
        ["pubsub::publisher_order"], Swaps::default();
    dropped_patterns_stay: "a dropped subscription of a pattern stays with the backend",
        ["pubsub::drop_unsubscribes"], Stays::default();
    close_leaves_patterns: "close does not end subscriptions of patterns",
        ["pubsub::close_is_an_event"], CloseLeaves::default();
    pattern_leaves_with_its_channel: "dropping the subscription of a channel ends that of the pattern with its text",
        ["patterns::exact_plus_pattern_semantics"], LeavesWithChannel::default();
    channel_leaves_with_its_pattern: "dropping the subscription of a pattern ends that of the channel with its text",
        ["patterns::exact_plus_pattern_semantics"], LeavesWithPattern::default();
    last_pattern_takes_the_others_along: "dropping a subscription of a pattern ends all of the same pattern",
        ["patterns::exact_plus_pattern_semantics"], CutsOthers::default();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

twists! {
    InTheBackground => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let (driver, pattern) = (inner.another(), pattern.to_owned());
            let confirmed = tokio::spawn(async move { driver.subscribe_pattern(&pattern).await });
            let events = stream::once(confirmed).flat_map(|events| {
                stream::iter(events.ok().and_then(Result::ok)).flatten()
            });
            Ok(RawSubscription::new(events))
        }
    }
    ReplaysLast { last: Mutex<HashMap<String, RawEvent>> } => {
        async fn publish(&self, inner: &ReferenceDriver, channel: &str, message: &[u8]) -> Result<()> {
            let event = RawEvent::Message { channel: channel.into(), message: message.to_vec().into() };
            lock(&self.last).insert(channel.to_owned(), event);
            inner.publish(channel, message).await
        }
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let last: Vec<RawEvent> = {
                let last = lock(&self.last);
                let matching = last.iter().filter(|(channel, _)| pattern::matches(pattern.as_bytes(), channel.as_bytes()));
                matching.map(|(_, event)| event.clone()).collect()
            };
            Ok(RawSubscription::new(stream::iter(last).chain(inner.subscribe_pattern(pattern).await?)))
        }
    }
    NoGap => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let events = inner.subscribe_pattern(pattern).await?;
            Ok(RawSubscription::new(events.filter(|event| {
                std::future::ready(!matches!(event, RawEvent::Gap(_)))
            })))
        }
    }
    Swaps => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let (mut count, mut held) = (0_usize, None);
            Ok(RawSubscription::new(inner.subscribe_pattern(pattern).await?.flat_map(move |event| {
                count += 1;
                if count % 6 == 0 {
                    held = Some(event);
                    return stream::iter(vec![]);
                }
                stream::iter([Some(event), held.take()].into_iter().flatten().collect::<Vec<_>>())
            })))
        }
    }
    Stays { parked: Arc<Mutex<Vec<RawSubscription>>> } => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let parked = Arc::clone(&self.parked);
            Ok(on_drop(inner.subscribe_pattern(pattern).await?, move |events| {
                lock(&parked).extend(events.take());
            }))
        }
    }
    CloseLeaves => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            // Refused after close all the same.
            inner.has("any").await?;
            inner.another().subscribe_pattern(pattern).await
        }
    }
    LeavesWithChannel { cuts: Cuts } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let (cuts, channel) = (Arc::clone(&self.cuts), channel.to_owned());
            Ok(on_drop(inner.subscribe(&channel).await?, move |_| cut(&cuts, &channel)))
        }
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            // In a case the text of a pattern is the escaped scope and what the law has chosen.
            let text = pattern.replace('\\', "");
            Ok(until_cut(inner.subscribe_pattern(pattern).await?, &self.cuts, &text))
        }
    }
    LeavesWithPattern { cuts: Cuts } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            Ok(until_cut(inner.subscribe(channel).await?, &self.cuts, channel))
        }
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let (cuts, text) = (Arc::clone(&self.cuts), pattern.replace('\\', ""));
            Ok(on_drop(inner.subscribe_pattern(pattern).await?, move |_| cut(&cuts, &text)))
        }
    }
    CutsOthers { cuts: Cuts } => {
        async fn subscribe_pattern(&self, inner: &ReferenceDriver, pattern: &str) -> Result<RawSubscription> {
            let events = until_cut(inner.subscribe_pattern(pattern).await?, &self.cuts, pattern);
            let (cuts, pattern) = (Arc::clone(&self.cuts), pattern.to_owned());
            Ok(on_drop(events, move |_| cut(&cuts, &pattern)))
        }
    }
}
