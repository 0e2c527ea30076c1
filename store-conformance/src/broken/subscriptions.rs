//! Subscriptions that begin late, end early, or never end.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use store_core::{Error, ErrorKind, RawEvent, RawSubscription, Result, StoreAdapter};
use tokio::sync::watch;
use tokio::task::yield_now;

use super::twist::{drivers, twists};
use crate::reference::ReferenceDriver;

drivers! {
    subscribes_at_first_read: "subscribe answers at once, and subscribes when somebody reads",
        ["pubsub::subscribe_return_means_ready"], AtFirstRead::default();
    subscribes_in_the_background: "subscribe answers before the backend has confirmed it",
        ["pubsub::subscribe_return_means_ready"], InTheBackground::default();
    replays_the_last: "a new subscription gets the last message of the channel",
        ["pubsub::no_replay"], ReplaysLast::default();
    parked_queues_come_back: "a new subscription takes over the queue of one that has left",
        ["pubsub::unsubscribe_stops"], Parks::default();
    dropped_subscriptions_stay: "a dropped subscription stays with the backend",
        ["pubsub::drop_unsubscribes"], Leaks::default();
    given_up_subscriptions_stay: "a subscribe that is dropped half way stays with the backend",
        ["pubsub::drop_unsubscribes"], LeaksHalfWay::default();
    leaving_takes_the_others_along: "dropping a subscription unsubscribes its channel for all",
        ["pubsub::fan_out"], CutsOthers::default();
    late_unsubscribe: "the unsubscribe of a drop comes late and hits the next subscription",
        ["pubsub::resubscribe_works"], CutsLate::default();
    forty_subscriptions: "a handle can subscribe forty times in its life",
        ["pubsub::resubscribe_works"], Forty::default();
    close_leaves_subscriptions: "close does not end subscriptions",
        ["pubsub::close_is_an_event", "driver::closed_store_refuses"], CloseLeaves::default();
    close_ends_all_subscriptions: "close ends the subscriptions of all handles",
        ["pubsub::close_is_an_event"], CloseEndsAll::default();
    close_is_a_gap: "close yields a gap and then ends",
        ["pubsub::close_is_an_event"], CloseIsGap::default();
    one_subscription_a_channel: "a second subscription of a channel on a handle ends the first",
        ["pubsub::fan_out", "pubsub::exactly_once_per_subscription"], OneAChannel::default();
}

pub(super) type Cuts = Arc<Mutex<HashMap<String, u64>>>;
type Parked = Arc<Mutex<Vec<(String, RawSubscription)>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream that does something when it is dropped.
struct OnDrop<F: FnMut(&mut Option<RawSubscription>) + Send + Unpin> {
    events: Option<RawSubscription>,
    end: F,
}

impl<F: FnMut(&mut Option<RawSubscription>) + Send + Unpin> Stream for OnDrop<F> {
    type Item = RawEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        match &mut self.events {
            Some(events) => events.poll_next_unpin(context),
            None => Poll::Ready(None),
        }
    }
}

impl<F: FnMut(&mut Option<RawSubscription>) + Send + Unpin> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.end)(&mut self.events);
    }
}

pub(super) fn on_drop(
    events: RawSubscription,
    end: impl FnMut(&mut Option<RawSubscription>) + Send + Unpin + 'static,
) -> RawSubscription {
    RawSubscription::new(OnDrop {
        events: Some(events),
        end,
    })
}

/// Delivers until the channel is cut, then stays silent.
pub(super) fn until_cut(events: RawSubscription, cuts: &Cuts, channel: &str) -> RawSubscription {
    let begun = lock(cuts).get(channel).copied().unwrap_or_default();
    let (cuts, channel) = (Arc::clone(cuts), channel.to_owned());
    RawSubscription::new(events.filter(move |_| {
        let now = lock(&cuts).get(&channel).copied().unwrap_or_default();
        std::future::ready(now == begun)
    }))
}

pub(super) fn cut(cuts: &Cuts, channel: &str) {
    *lock(cuts).entry(channel.to_owned()).or_default() += 1;
}

twists! {
    AtFirstRead => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let (driver, channel) = (inner.another(), channel.to_owned());
            let events = stream::once(async move {
                let events = driver.subscribe(&channel).await;
                stream::iter(events).flatten()
            });
            Ok(RawSubscription::new(events.flatten()))
        }
    }
    InTheBackground => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let (driver, channel) = (inner.another(), channel.to_owned());
            let confirmed = tokio::spawn(async move { driver.subscribe(&channel).await });
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
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let last = lock(&self.last).get(channel).cloned();
            Ok(RawSubscription::new(stream::iter(last).chain(inner.subscribe(channel).await?)))
        }
    }
    Parks { parked: Parked } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let parked = {
                let mut parked = lock(&self.parked);
                let place = parked.iter().position(|(name, _)| name == channel);
                place.map(|place| parked.swap_remove(place).1)
            };
            let events = match parked {
                Some(parked) => parked,
                None => inner.subscribe(channel).await?,
            };
            let (parked, channel) = (Arc::clone(&self.parked), channel.to_owned());
            Ok(on_drop(events, move |events| {
                let events = events.take().map(|events| (channel.clone(), events));
                lock(&parked).extend(events);
            }))
        }
    }
    Leaks { parked: Parked } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let (parked, name) = (Arc::clone(&self.parked), channel.to_owned());
            Ok(on_drop(inner.subscribe(channel).await?, move |events| {
                let events = events.take().map(|events| (name.clone(), events));
                lock(&parked).extend(events);
            }))
        }
    }
    LeaksHalfWay { begun: Mutex<HashMap<String, RawSubscription>> } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let events = inner.subscribe(channel).await?;
            let place = format!("{channel}/{}", lock(&self.begun).len());
            lock(&self.begun).insert(place.clone(), events);
            yield_now().await;
            let events = lock(&self.begun).remove(&place);
            events.ok_or_else(|| Error::new(ErrorKind::Backend, "lost"))
        }
    }
    CutsOthers { cuts: Cuts } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let events = until_cut(inner.subscribe(channel).await?, &self.cuts, channel);
            let (cuts, channel) = (Arc::clone(&self.cuts), channel.to_owned());
            Ok(on_drop(events, move |_| cut(&cuts, &channel)))
        }
    }
    CutsLate { cuts: Cuts } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let events = until_cut(inner.subscribe(channel).await?, &self.cuts, channel);
            let (cuts, channel) = (Arc::clone(&self.cuts), channel.to_owned());
            Ok(on_drop(events, move |_| {
                let (cuts, channel) = (Arc::clone(&cuts), channel.clone());
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move { cut(&cuts, &channel) });
                }
            }))
        }
    }
    Forty { counts: Mutex<HashMap<usize, usize>> } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let count = {
                let mut counts = lock(&self.counts);
                let count = counts.entry(std::ptr::from_ref(inner).addr()).or_default();
                *count += 1;
                *count
            };
            if count > 40 {
                return Err(Error::new(ErrorKind::Backend, "no subscription left"));
            }
            inner.subscribe(channel).await
        }
    }
    CloseLeaves => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            inner.has("any").await?;
            inner.another().subscribe(channel).await
        }
    }
    CloseEndsAll { closed: watch::Sender<()> } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let mut closed = self.closed.subscribe();
            let events = inner.subscribe(channel).await?;
            Ok(RawSubscription::new(events.take_until(Box::pin(async move {
                let _ = closed.changed().await;
            }))))
        }
        async fn close(&self, inner: &ReferenceDriver) -> Result<()> {
            self.closed.send_replace(());
            inner.close().await
        }
    }
    CloseIsGap => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            use store_core::{Gap, GapReason};
            let gap = RawEvent::Gap(Gap::uncounted(GapReason::Reconnected));
            let events = inner.subscribe(channel).await?;
            Ok(RawSubscription::new(events.chain(stream::iter([gap]))))
        }
    }
    OneAChannel { cuts: Cuts } => {
        async fn subscribe(&self, inner: &ReferenceDriver, channel: &str) -> Result<RawSubscription> {
            let place = format!("{channel}/{}", std::ptr::from_ref(inner).addr());
            cut(&self.cuts, &place);
            Ok(until_cut(inner.subscribe(channel).await?, &self.cuts, &place))
        }
    }
}
