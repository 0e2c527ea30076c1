//! Subscribers that are too slow: they lose their oldest messages, know how many, and hurt nobody.

use proptest::collection::vec;
use store_core::{RawEvent, RawSubscription, StoreAdapter};

use super::ledger::{Ledger, numbered};
use super::{expect_nothing_more, publish, subscribe};
use crate::case::{Case, CaseResult, ensure, ensure_eq};
use crate::handle::Handle;
use crate::laws::kv::put;
use crate::laws::patterns::subscribe_pattern;
use crate::runner::{Outcome, Run};

/// Publishes the next `count` numbers.
async fn burst(case: &Case, store: &Handle, sent: &mut u64, count: u64) -> CaseResult {
    for _ in 0..count {
        publish(case, store, "news", numbered(0, *sent)).await?;
        *sent += 1;
    }
    Ok(())
}

/// A subscription that is read now and then, and its account.
struct Slow {
    subscription: RawSubscription,
    ledger: Ledger,
}

impl Slow {
    fn new(subscription: RawSubscription) -> Self {
        Self {
            subscription,
            ledger: Ledger::new(1),
        }
    }

    /// Reads so many events, or up to the newest message.
    async fn read(&mut self, case: &Case, events: usize, sent: u64) -> CaseResult {
        for _ in 0..events {
            let event = case.next_event(&mut self.subscription).await?;
            if self.ledger.take(&event)? == Some((0, sent - 1)) {
                break;
            }
        }
        Ok(())
    }
}

pub(in crate::laws) async fn burst_lossless_or_gap(run: Run) -> Outcome {
    // How many are published while nobody reads, then how many events are read.
    let turns = vec((0..2_200_u64, 0..1_500_usize), 1..3);
    run.fewer(16)
        .for_all(turns, |case, turns| async move {
            let [store, publisher] = [case.open().await?, case.open().await?];
            let mut all = vec![Slow::new(subscribe(&case, &store, "news").await?)];
            if store.as_patterns().is_some() {
                all.push(Slow::new(subscribe_pattern(&case, &store, "n*").await?));
            }
            let mut sent = 0;
            burst(&case, &publisher, &mut sent, 3_000).await?;
            for (published, read) in turns {
                burst(&case, &publisher, &mut sent, published).await?;
                for slow in &mut all {
                    slow.read(&case, read, sent).await?;
                }
            }
            // The newest one is kept, since it is the oldest that are lost.
            burst(&case, &publisher, &mut sent, 1).await?;
            for slow in &mut all {
                slow.read(&case, usize::MAX, sent).await?;
                slow.ledger.close(&[sent])?;
                expect_nothing_more(&case, &mut slow.subscription, "the slow subscription")?;
            }
            // Having lagged once, it is a subscription like any other.
            publish(&case, &publisher, "news", "after").await?;
            for slow in &mut all {
                let event = case.next_event(&mut slow.subscription).await?;
                let is_message =
                    matches!(&event, RawEvent::Message { message, .. } if message == "after");
                ensure!(
                    is_message,
                    "the next event must be the next message, was {event:?}"
                );
            }
            Ok(())
        })
        .await
}

pub(in crate::laws) async fn slow_subscriber_delays_nobody(run: Run) -> Outcome {
    run.fewer(32)
        .for_all(2_000..3_000_u64, |case, count| async move {
            let [store, publisher] = [case.open().await?, case.open().await?];
            let mut slow = subscribe(&case, &store, "news").await?;
            let mut fast = subscribe(&case, &store, "news").await?;
            let mut elsewhere = subscribe(&case, &publisher, "other news").await?;
            for number in 0..count {
                publish(&case, &publisher, "news", numbered(0, number)).await?;
                let event = case.next_event(&mut fast).await?;
                ensure_eq!(
                    event,
                    super::message(&case, "news", numbered(0, number)),
                    "what a reader in step gets"
                );
                if number % 500 == 0 {
                    let text = number.to_string();
                    put(&store, &case.key("k"), text.as_bytes()).await?;
                    publish(&case, &store, "other news", &text).await?;
                    super::expect(&case, &mut elsewhere, "other news", &text).await?;
                }
            }
            let mut ledger = Ledger::new(1);
            loop {
                let event = case.next_event(&mut slow).await?;
                if ledger.take(&event)? == Some((0, count - 1)) {
                    break;
                }
            }
            ledger.close(&[count])?;
            ensure!(
                store.has(&case.key("k")).await?,
                "the store must work meanwhile"
            );
            Ok(())
        })
        .await
}
