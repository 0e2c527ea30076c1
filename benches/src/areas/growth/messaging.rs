//! How the cost of a publish and of a subscribe grows with channels and subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use igniter_store::{MemoryDriver, MemoryOptions, Store};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{BY_HAND, OURS, Steps, lines, powers, relative_growth};
use crate::compare::{Contender, interleave};
use crate::peers::publishing::{self, Channels};
use crate::report::Report;
use crate::settings::Settings;
use crate::work::{Generator, Start, User, place};

/// Small, since each of 100,000 channels has a buffer of this many messages.
const CHANNEL_CAPACITY: usize = 16;

pub(super) fn channels(
    settings: &Settings,
    report: &mut Report,
    runtime: &Arc<Runtime>,
) -> Result<()> {
    let counts = powers(1, 100_000).map(|count| (count, count, 1));
    let (publishes, subscribes) = messaging(settings, runtime, "channels", counts)?;
    report.measured("growth-channels", relative_growth(&publishes));
    let title = "Publish on one of many channels, a subscriber each";
    lines(report, "growth-channels", title, "channels", &publishes)?;
    let title = "Subscribe, by channels";
    lines(
        report,
        "growth-subscribe-channels",
        title,
        "channels",
        &subscribes,
    )
}

pub(super) fn subscribers(
    settings: &Settings,
    report: &mut Report,
    runtime: &Arc<Runtime>,
) -> Result<()> {
    let counts = powers(1, 100_000).map(|count| (count, 1, count));
    let (publishes, subscribes) = messaging(settings, runtime, "subscribers", counts)?;
    let title = "Publish on one channel, by subscribers that are behind";
    lines(
        report,
        "growth-subscribers",
        title,
        "subscribers",
        &publishes,
    )?;
    let title = "Subscribe, by subscribers of the channel";
    lines(
        report,
        "growth-subscribe",
        title,
        "subscribers",
        &subscribes,
    )?;
    let mut deliveries = Steps::new();
    for count in powers(1, 100_000) {
        let by_hand = publishing::ByHand::with_capacity(CHANNEL_CAPACITY);
        let contenders = vec![
            delivering(BY_HAND, runtime, count, by_hand)?,
            delivering(OURS, runtime, count, store())?,
        ];
        let title = format!("publish to {count} subscribers that wait for it");
        let (rounds, progress) = (settings.choose(3, 7), &settings.progress);
        let comparison = interleave(&title, rounds, BY_HAND, contenders, progress);
        deliveries.push((count, comparison));
    }
    let title = "Publish to subscribers that wait, a delivery, by subscribers";
    lines(
        report,
        "growth-deliveries",
        title,
        "subscribers",
        &deliveries,
    )
}

fn store() -> Store {
    let options = MemoryOptions::new().channel_capacity(CHANNEL_CAPACITY);
    Store::new(MemoryDriver::with_options(options))
}

/// Publishes and subscribes at each of `counts`: the count, so many channels, with so many
/// subscribers each.
fn messaging(
    settings: &Settings,
    runtime: &Arc<Runtime>,
    unit: &str,
    counts: impl Iterator<Item = (usize, usize, usize)>,
) -> Result<(Steps, Steps)> {
    let (mut publishes, mut subscribes) = (Steps::new(), Steps::new());
    let compare = |title: String, contenders| {
        interleave(
            &title,
            settings.choose(3, 7),
            BY_HAND,
            contenders,
            &settings.progress,
        )
    };
    for (count, channels, subscribers) in counts {
        let by_hand = || publishing::ByHand::with_capacity(CHANNEL_CAPACITY);
        let contenders = vec![
            subscribing(BY_HAND, runtime, channels, subscribers, by_hand),
            subscribing(OURS, runtime, channels, subscribers, store),
        ];
        subscribes.push((
            count,
            compare(format!("subscribe, {count} {unit}"), contenders),
        ));
        let contenders = vec![
            publishing(BY_HAND, runtime, channels, subscribers, by_hand())?,
            publishing(OURS, runtime, channels, subscribers, store())?,
        ];
        publishes.push((
            count,
            compare(format!("publish, {count} {unit}"), contenders),
        ));
    }
    Ok((publishes, subscribes))
}

fn room(id: usize) -> String {
    format!("room:{id}")
}

async fn subscribe_all<C: Channels>(
    to: &C,
    channels: usize,
    subscribers: usize,
) -> Result<Vec<C::Subscription>> {
    let mut subscriptions = Vec::with_capacity(channels * subscribers);
    for id in 0..channels {
        let name = room(id);
        for _ in 0..subscribers {
            subscriptions.push(to.subscribe(&name).await?);
        }
    }
    Ok(subscriptions)
}

fn subscribing<C: Channels>(
    name: &str,
    runtime: &Arc<Runtime>,
    channels: usize,
    subscribers: usize,
    make: impl Fn() -> C + 'static,
) -> Contender {
    let runtime = Arc::clone(runtime);
    Contender::new(name, move || {
        runtime.block_on(async {
            let to = make();
            let start = Start::now();
            let subscriptions = subscribe_all(&to, channels, subscribers).await?;
            let sample = start.sample((channels * subscribers) as u64, Vec::new());
            drop(subscriptions);
            Ok(sample)
        })
    })
}

/// One message at a time, until each of the tasks that wait for it has it. An operation is a
/// delivery.
fn delivering<C: Channels>(
    name: &str,
    runtime: &Arc<Runtime>,
    subscribers: usize,
    to: C,
) -> Result<Contender> {
    let left = Arc::new(AtomicUsize::new(0));
    let (all_have_it, mut everybody) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for mut subscription in runtime.block_on(subscribe_all(&to, 1, subscribers))? {
        let (left, all_have_it) = (Arc::clone(&left), all_have_it.clone());
        let reading = async move {
            loop {
                let received = C::receive(&mut subscription).await.map(drop);
                let failed = received.is_err();
                // One that has failed says so at once, the others when they are the last.
                if failed || left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    all_have_it.send(received)?;
                }
                if failed {
                    return anyhow::Ok(());
                }
            }
        };
        readers.spawn_on(reading, runtime.handle());
    }
    let messages = (20_000 / subscribers).clamp(3, 1_000);
    let runtime = Arc::clone(runtime);
    Ok(Contender::new(name, move || {
        let _held = &readers;
        runtime.block_on(async {
            let user = User::new(7);
            let start = Start::now();
            for _ in 0..messages {
                left.store(subscribers, Ordering::Release);
                to.publish(&room(0), &user).await?;
                everybody.recv().await.context("every reader has ended")??;
            }
            Ok(start.sample((messages * subscribers) as u64, Vec::new()))
        })
    }))
}

/// Nobody waits: the readers are behind. What it costs to wake those that wait is in
/// [`delivering`].
fn publishing<C: Channels>(
    name: &str,
    runtime: &Arc<Runtime>,
    channels: usize,
    subscribers: usize,
    to: C,
) -> Result<Contender> {
    let subscriptions = runtime.block_on(subscribe_all(&to, channels, subscribers))?;
    let names: Vec<String> = (0..channels).map(room).collect();
    let runtime = Arc::clone(runtime);
    let user = User::new(7);
    Ok(Contender::new(name, move || {
        let _held = &subscriptions;
        runtime.block_on(async {
            let mut generator = Generator::new(1);
            let start = Start::now();
            for _ in 0..10_000 {
                let name = &names[place(generator.next_number(), channels)];
                to.publish(name, &user).await?;
            }
            Ok(start.sample(10_000, Vec::new()))
        })
    }))
}
