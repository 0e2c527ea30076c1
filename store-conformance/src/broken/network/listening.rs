//! The subscriptions of the driver behind a connection.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use store_core::{Gap, GapReason, Patterns, RawEvent, RawSubscription, StoreAdapter};
use tokio::sync::watch;

use super::{Flaw, Link};
use crate::reference::ReferenceDriver;

#[derive(Debug)]
pub(super) enum Topic {
    Channel(String),
    Pattern(String),
}

/// The events of a subscription, through whatever happens to the connection.
pub(super) fn listen(
    driver: Arc<ReferenceDriver>,
    mut link: watch::Receiver<Link>,
    flaw: Flaw,
    events: RawSubscription,
    topic: Topic,
) -> RawSubscription {
    let generation = link.borrow_and_update().generation;
    let listening = Listening {
        events,
        topic,
        link,
        generation,
        driver,
        flaw,
        late: None,
    };
    let events = stream::unfold(listening, async |mut listening| {
        let event = listening.next().await?;
        Some((event, listening))
    });
    let doubled = flaw == Flaw::TwiceAfterReconnect;
    let mut gaps = 0;
    RawSubscription::new(events.flat_map(move |event| {
        gaps += usize::from(matches!(event, RawEvent::Gap(_)));
        let times = if doubled && gaps > 0 { 2 } else { 1 };
        stream::iter(std::iter::repeat_n(event, times))
    }))
}

struct Listening {
    events: RawSubscription,
    topic: Topic,
    link: watch::Receiver<Link>,
    generation: u64,
    driver: Arc<ReferenceDriver>,
    flaw: Flaw,
    late: Option<RawEvent>,
}

impl Listening {
    async fn next(&mut self) -> Option<RawEvent> {
        if let Some(late) = self.late.take() {
            if self.flaw != Flaw::GapComesLate {
                return Some(late);
            }
            let first = self.receive().await;
            self.late = None;
            return match first {
                Some(first) => {
                    self.flaw = Flaw::None;
                    self.late = Some(late);
                    Some(first)
                }
                None => None,
            };
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Option<RawEvent> {
        loop {
            let link = *self.link.borrow_and_update();
            if link.generation != self.generation {
                self.generation = link.generation;
                if let Some(event) = self.reconnect().await? {
                    return Some(event);
                }
                continue;
            }
            tokio::select! {
                biased;
                changed = self.link.changed() => changed.ok()?,
                event = self.events.next(), if !link.stalled => return event,
            }
        }
    }

    /// Subscribes again; answers what the subscriber is told, or `None` where the stream ends.
    async fn reconnect(&mut self) -> Option<Option<RawEvent>> {
        let forgotten = match (self.flaw, &self.topic) {
            (Flaw::StreamEnds, _) => return None,
            (Flaw::NeverResubscribes, _) => true,
            (Flaw::ForgetsPatterns, Topic::Pattern(_)) => true,
            _ => false,
        };
        let again = match &self.topic {
            _ if forgotten => Ok(RawSubscription::new(stream::pending())),
            Topic::Channel(channel) => self.driver.subscribe(channel).await,
            Topic::Pattern(pattern) => self.driver.subscribe_pattern(pattern).await,
        };
        self.events = again.ok()?;
        let gap = RawEvent::Gap(Gap::uncounted(GapReason::Reconnected));
        Some(match self.flaw {
            Flaw::NoGap => None,
            Flaw::GapComesLate => {
                self.late = Some(gap);
                None
            }
            _ => Some(gap),
        })
    }
}
