//! When the connection or the store goes: subscribers hear of it, and messages come again.

use std::time::Duration;

use proptest::prelude::any;
use store_core::{ErrorKind, RawEvent, RawSubscription, StoreAdapter};
use tokio::time::timeout;

use super::ledger::{Ledger, numbered};
use super::{expect, publish, show, subscribe};
use crate::case::{Case, CaseResult, Failure, ensure, ensure_kind};
use crate::handle::Handle;
use crate::laws::patterns::subscribe_pattern;
use crate::runner::{Outcome, Run};

/// How long a driver may take to come back, in rounds of [`ROUND`].
const ROUNDS: usize = 400;
const ROUND: Duration = Duration::from_millis(25);

/// One subscription through the outages of a case.
struct Listener {
    subscription: RawSubscription,
    /// All events since the last outage.
    events: Vec<RawEvent>,
}

impl Listener {
    fn new(subscription: RawSubscription) -> Self {
        Self {
            subscription,
            events: Vec::new(),
        }
    }

    async fn read(&mut self, case: &Case) -> CaseResult {
        let event = case.next_event(&mut self.subscription).await?;
        self.events.push(event);
        Ok(())
    }

    /// Reads what comes within a round; answers whether there was a message since the outage.
    async fn listen(&mut self, case: &Case) -> CaseResult<bool> {
        while let Ok(read) = timeout(ROUND, self.read(case)).await {
            read?;
        }
        Ok(self.events.iter().any(is_message))
    }
}

fn is_message(event: &RawEvent) -> bool {
    matches!(event, RawEvent::Message { .. })
}

/// Publishes numbers until one is acknowledged. What fails may have been delivered.
async fn publish_through(case: &Case, store: &Handle, next: &mut u64) -> CaseResult<u64> {
    for _ in 0..ROUNDS {
        let number = *next;
        *next += 1;
        match publish_kind(case, store, number).await? {
            None => return Ok(number),
            Some(_) => case.pass(ROUND).await,
        }
    }
    Err(Failure::new("the driver did not come back within 10 s"))
}

async fn publish_kind(case: &Case, store: &Handle, number: u64) -> CaseResult<Option<ErrorKind>> {
    let Err(error) = store.publish(&case.key("news"), &numbered(0, number)).await else {
        return Ok(None);
    };
    let kind = error.kind();
    ensure!(
        matches!(kind, ErrorKind::Unavailable | ErrorKind::Indeterminate),
        "a publish on a lost connection must be Unavailable or Indeterminate, was {kind:?}: {error}"
    );
    Ok(Some(kind))
}

/// Cuts every connection `outages` times, with subscribers of a channel and of a pattern; answers
/// for each outage and subscriber what it saw until messages came again.
async fn through_outages(case: &Case, outages: &[bool]) -> CaseResult<Vec<(u64, Vec<RawEvent>)>> {
    let Some(faults) = case.harness().faults() else {
        return Err(Failure::new("the harness offers no faults"));
    };
    let [store, publisher] = [case.open().await?, case.open().await?];
    let mut listeners = vec![Listener::new(subscribe(case, &store, "news").await?)];
    if store.as_patterns().is_some() {
        let pattern = subscribe_pattern(case, &store, "new[rs]").await?;
        listeners.push(Listener::new(pattern));
    }
    let (mut next, mut seen) = (0, Vec::new());
    for frozen in outages {
        // In step, so that nothing is on the way when the connections go.
        for _ in 0..2 {
            let number = publish_through(case, &publisher, &mut next).await?;
            for listener in &mut listeners {
                let message = super::message(case, "news", numbered(0, number));
                while listener.events.last() != Some(&message) {
                    listener.read(case).await?;
                }
            }
        }
        let before = next;
        listeners
            .iter_mut()
            .for_each(|listener| listener.events.clear());
        if *frozen {
            faults.stall().await;
            publish_kind(case, &publisher, next).await?;
            next += 1;
        }
        faults.sever().await;
        faults.restore().await;
        // A message may be lost until the subscriptions are there again, so it takes a few.
        let mut all_came = false;
        for _ in 0..ROUNDS {
            publish_through(case, &publisher, &mut next).await?;
            all_came = true;
            for listener in &mut listeners {
                all_came &= listener.listen(case).await?;
            }
            if all_came {
                break;
            }
        }
        ensure!(
            all_came,
            "after an outage, a subscription got no message for 10 s"
        );
        let events = listeners
            .iter()
            .map(|listener| (before, listener.events.clone()));
        seen.extend(events);
    }
    Ok(seen)
}

pub(in crate::laws) async fn reconnect_resubscribes(run: Run) -> Outcome {
    run.for_each(vec![[false, false]], |case, outages| async move {
        through_outages(&case, &outages).await.map(|_| ())
    })
    .await
}

pub(in crate::laws) async fn gap_is_reported(run: Run) -> Outcome {
    // Each by whether the connections were frozen before they were cut. Few: a real driver takes
    // its time to notice.
    let outages = vec![vec![false, false], vec![true]];
    run.for_each(outages, |case, outages| async move {
        for (before, events) in through_outages(&case, &outages).await? {
            let mut ledger = Ledger::starting_at(before);
            for event in &events {
                ledger.take(event)?;
            }
            let first = events.first().map(|event| show(&case, event));
            ensure!(
                events.first().is_some_and(|event| !is_message(event)),
                "the first event after an outage must be a gap, was {first:?}"
            );
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn close_is_an_event(run: Run) -> Outcome {
    let inputs = (0..4_usize, any::<bool>());
    run.fewer(2)
        .for_all(inputs, |case, (unread, waits)| async move {
            let [store, other] = [case.open().await?, case.open().await?];
            let mut closing = vec![subscribe(&case, &store, "news").await?];
            closing.push(subscribe(&case, &store, "news").await?);
            if store.as_patterns().is_some() {
                closing.push(subscribe_pattern(&case, &store, "n*").await?);
            }
            let mut lasting = subscribe(&case, &other, "news").await?;
            for number in 0..unread {
                publish(&case, &other, "news", format!("{number}")).await?;
            }
            let ends = closing.into_iter().map(|mut subscription| {
                let case = case.clone();
                async move {
                    // What arrived before the close may still be read.
                    for number in 0..unread {
                        match case.next_or_end(&mut subscription).await? {
                            None => return Ok(()),
                            event => {
                                let expected = super::message(&case, "news", format!("{number}"));
                                ensure!(event == Some(expected), "unexpected {event:?}");
                            }
                        }
                    }
                    let event = case.next_or_end(&mut subscription).await?;
                    ensure!(
                        event.is_none(),
                        "after close a subscription ends, was {event:?}"
                    );
                    CaseResult::Ok(())
                }
            });
            let ends: Vec<_> = if waits {
                // Somebody is waiting for the next message when the store is closed.
                let waiting = ends.map(tokio::spawn).collect::<Vec<_>>();
                tokio::task::yield_now().await;
                store.close().await?;
                waiting
            } else {
                store.close().await?;
                ends.map(tokio::spawn).collect()
            };
            for end in ends {
                end.await
                    .map_err(|error| Failure::new(error.to_string()))??;
            }
            store.close().await?;
            let key = case.key("news");
            ensure_kind(
                store.subscribe(&key).await,
                ErrorKind::Closed,
                "subscribe after close",
            )?;
            ensure_kind(
                store.publish(&key, b"x").await,
                ErrorKind::Closed,
                "publish after close",
            )?;
            if case.harness().handles_close_together() {
                return Ok(());
            }
            for number in 0..unread {
                expect(&case, &mut lasting, "news", format!("{number}")).await?;
            }
            publish(&case, &other, "news", "still here").await?;
            expect(&case, &mut lasting, "news", "still here").await
        })
        .await
}
