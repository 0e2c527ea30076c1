//! When a subscription begins and ends: exactly when it says so, as often as one likes.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::any;
use store_core::StoreAdapter;

use super::{expect, expect_all, publish, subscribe};
use crate::case::{Case, CaseResult, Failure, ensure_eq};
use crate::laws::concurrency::{open_all, poll_at_most};
use crate::laws::patterns::subscribe_pattern;
use crate::runner::{Outcome, Run};

pub(in crate::laws) async fn subscribe_return_means_ready(run: Run) -> Outcome {
    let inputs = vec((0..3_usize, 0..3_usize, any::<bool>(), any::<bool>()), 1..8);
    run.for_all(inputs, |case, turns| async move {
        let handles = open_all(&case, 3).await?;
        let mut all = Vec::new();
        for (turn, (reader, publisher, shared, by_pattern)) in turns.into_iter().enumerate() {
            let channel = if shared {
                "shared".to_owned()
            } else {
                format!("own {turn}")
            };
            let reader = &handles[reader];
            let mut subscription = if by_pattern && reader.as_patterns().is_some() {
                subscribe_pattern(&case, reader, &format!("{channel}*")).await?
            } else {
                subscribe(&case, reader, &channel).await?
            };
            // Nothing comes between: what is published now is published after the confirmation.
            publish(&case, &handles[publisher], &channel, format!("{turn}: 1")).await?;
            publish(&case, &handles[publisher], &channel, format!("{turn}: 2")).await?;
            let both = [format!("{turn}: 1"), format!("{turn}: 2")];
            expect_all(&case, &mut subscription, &channel, &both).await?;
            all.push(subscription);
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn no_replay(run: Run) -> Outcome {
    let inputs = (0..5_usize, any::<bool>(), 0..2_usize);
    run.for_all(inputs, |case, (before, watched, publisher)| async move {
        let handles = open_all(&case, 2).await?;
        let publisher = &handles[publisher];
        // A buffer that is there for somebody else must not be there for a newcomer.
        let mut earlier = None;
        if watched {
            earlier = Some(subscribe(&case, &handles[0], "news").await?);
        }
        for number in 0..before {
            publish(&case, publisher, "news", format!("old {number}")).await?;
        }
        let mut first = subscribe(&case, &handles[0], "news").await?;
        publish(&case, publisher, "news", "new 1").await?;
        let mut second = subscribe(&case, &handles[0], "news").await?;
        let mut third = subscribe(&case, &handles[1], "news").await?;
        let mut by_pattern = None;
        if handles[1].as_patterns().is_some() {
            by_pattern = Some(subscribe_pattern(&case, &handles[1], "n*").await?);
        }
        publish(&case, publisher, "news", "new 2").await?;
        expect_all(&case, &mut first, "news", &["new 1", "new 2"]).await?;
        expect(&case, &mut second, "news", "new 2").await?;
        expect(&case, &mut third, "news", "new 2").await?;
        if let Some(by_pattern) = &mut by_pattern {
            expect(&case, by_pattern, "news", "new 2").await?;
        }
        if let Some(earlier) = &mut earlier {
            for number in 0..before {
                expect(&case, earlier, "news", format!("old {number}")).await?;
            }
            expect_all(&case, earlier, "news", &["new 1", "new 2"]).await?;
        }
        Ok(())
    })
    .await
}

pub(in crate::laws) async fn unsubscribe_stops(run: Run) -> Outcome {
    let inputs = (0..4_usize, 0..4_usize, any::<bool>(), any::<bool>());
    run.for_all(inputs, |case, (read, unread, pause, other)| async move {
        let [store, publisher] = [case.open().await?, case.open().await?];
        let mut witness = subscribe(&case, &publisher, "news").await?;
        let mut subscription = subscribe(&case, &store, "news").await?;
        for number in 0..read + unread {
            publish(&case, &publisher, "news", format!("{number}")).await?;
        }
        for number in 0..read {
            expect(&case, &mut subscription, "news", format!("{number}")).await?;
        }
        // Dropped with messages that nobody read, which must not come up again.
        drop(subscription);
        if pause {
            tokio::task::yield_now().await;
        }
        publish(&case, &publisher, "news", "to nobody").await?;
        let second = if other { &publisher } else { &store };
        let mut subscription = subscribe(&case, second, "news").await?;
        publish(&case, &publisher, "news", "to the second").await?;
        expect(&case, &mut subscription, "news", "to the second").await?;
        for number in 0..read + unread {
            expect(&case, &mut witness, "news", format!("{number}")).await?;
        }
        expect_all(&case, &mut witness, "news", &["to nobody", "to the second"]).await
    })
    .await
}

pub(in crate::laws) async fn resubscribe_works(run: Run) -> Outcome {
    // Whether the new one begins before the old one ends, and whether others run in between.
    let turns = vec((any::<bool>(), any::<bool>()), 50);
    run.fewer(8)
        .for_all(turns, |case, turns| async move {
            let [store, publisher] = [case.open().await?, case.open().await?];
            let mut subscription = subscribe(&case, &store, "news").await?;
            for (turn, (overlap, pause)) in turns.into_iter().enumerate() {
                if overlap {
                    let newer = subscribe(&case, &store, "news").await?;
                    subscription = newer;
                } else {
                    drop(subscription);
                    if pause {
                        tokio::task::yield_now().await;
                    }
                    subscription = subscribe(&case, &store, "news").await?;
                }
                let payload = format!("{turn}");
                publish(&case, &publisher, "news", &payload).await?;
                expect(&case, &mut subscription, "news", &payload).await?;
                if pause {
                    // An unsubscription that is late must not hit the new one.
                    tokio::task::yield_now().await;
                    publish(&case, &publisher, "news", "again").await?;
                    expect(&case, &mut subscription, "news", "again").await?;
                }
            }
            Ok(())
        })
        .await
}

/// Waits until the backend counts so many subscriptions.
async fn await_subscriptions(case: &Case, expected: u64) -> CaseResult {
    let mut last = None;
    for _ in 0..400 {
        let Some(live) = case.harness().live_resources(case.scope()).await else {
            return Err(Failure::new("the harness counts no resources"));
        };
        if live.subscriptions == expected {
            return Ok(());
        }
        last = Some(live.subscriptions);
        case.pass(Duration::from_millis(5)).await;
    }
    ensure_eq!(
        last,
        Some(expected),
        "the backend's count of subscriptions after 2 s"
    );
    Ok(())
}

pub(in crate::laws) async fn drop_unsubscribes(run: Run) -> Outcome {
    let inputs = (1..6_usize, 1..4_usize, 0..20_u32);
    run.fewer(4)
        .for_all(inputs, |case, (channels, polls, unread)| async move {
            let [store, publisher] = [case.open().await?, case.open().await?];
            await_subscriptions(&case, 0).await?;
            let mut all = Vec::new();
            if store.as_patterns().is_some() {
                all.push(subscribe_pattern(&case, &store, "n*").await?);
            }
            for channel in 0..channels {
                let channel = format!("news {channel}");
                all.push(subscribe(&case, &store, &channel).await?);
                for _ in 0..unread {
                    publish(&case, &publisher, &channel, "unread").await?;
                }
            }
            await_subscriptions(&case, all.len() as u64).await?;
            // A subscribe that is given up half way leaves nothing behind either.
            for polls in 0..=polls {
                drop(poll_at_most(store.subscribe(&case.key("given up")), polls).await);
            }
            await_subscriptions(&case, all.len() as u64).await?;
            while let Some(subscription) = all.pop() {
                drop(subscription);
                await_subscriptions(&case, all.len() as u64).await?;
            }
            let again = subscribe(&case, &store, "news 0").await?;
            await_subscriptions(&case, 1).await?;
            // A subscription that goes with its handle.
            drop((again, store));
            await_subscriptions(&case, 0).await
        })
        .await
}
