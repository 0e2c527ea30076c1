//! Publishing in memory, beside tokio's broadcast channel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use igniter_store::{MemoryDriver, Store};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::charts::latencies;
use crate::compare::{Comparison, Contender, Sample, interleave};
use crate::peers::publishing::{ByHand, ByHandBytes, ByHandTyped, Channels, DriverBytes};
use crate::report::{OURS, Report};
use crate::settings::Settings;
use crate::work::{self, Start, User};

pub const ABOUT: &str = "Messages in the memory of this process. A publisher publishes bursts of 500 messages, fewer \
    than a channel holds, so that nobody loses one; between bursts the subscribers read all of them. Publishing is \
    timed alone, with subscribers that wait until the burst is over, and then with subscribers that read meanwhile.";

/// Fewer than [`CAPACITY`](crate::peers::publishing::CAPACITY).
const BURST: u64 = 500;

const CHANNEL: &str = "user-events";

const BY_HAND: &str = "broadcast behind a look-up, JSON";
const BYTES_BY_HAND: &str = "broadcast behind a look-up, bytes";
const OURS_JSON: &str = "igniter-store, JSON";

/// What is timed.
#[derive(Clone, Copy)]
enum Timed {
    Publishing,
    Delivery,
    Latency,
}

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let runtime = work::runtime(work::workers())?;
    for subscribers in [1, 10, 100] {
        let comparison = compare(settings, &runtime, Timed::Publishing, subscribers);
        report.measured(
            &format!("publish-{subscribers}"),
            comparison.time_ratio(OURS_JSON, BY_HAND),
        );
        report.comparison(&comparison);
    }
    for subscribers in [1, 10, 100] {
        report.comparison(&compare(settings, &runtime, Timed::Delivery, subscribers));
    }
    let latency = compare(settings, &runtime, Timed::Latency, 1);
    report.comparison(&latency);
    report.plot(
        "publish-latency",
        &latencies("From publish to subscriber, in memory", &latency),
    )?;
    bytes(settings, &runtime, report);
    Ok(())
}

fn compare(
    settings: &Settings,
    runtime: &Arc<Runtime>,
    timed: Timed,
    subscribers: usize,
) -> Comparison {
    let ours = Store::new(MemoryDriver::new());
    let contenders = vec![
        contender(
            settings,
            BY_HAND,
            runtime,
            timed,
            subscribers,
            ByHand::default(),
        ),
        contender(settings, OURS_JSON, runtime, timed, subscribers, ours),
        contender(
            settings,
            "broadcast behind a look-up, value cloned",
            runtime,
            timed,
            subscribers,
            ByHandTyped::default(),
        ),
    ];
    let to = plural(subscribers);
    let title = match timed {
        Timed::Publishing => format!("publish to {to}, an operation is a publish"),
        Timed::Delivery => {
            format!("publish to {to} that read meanwhile, an operation is a delivery")
        }
        Timed::Latency => {
            format!("from publish to a task that has it, {to}, one message at a time")
        }
    };
    interleave(
        &title,
        settings.rounds(),
        BY_HAND,
        contenders,
        &settings.progress,
    )
}

/// What the handle and the codec do not have a share in.
fn bytes(settings: &Settings, runtime: &Arc<Runtime>, report: &mut Report) {
    for subscribers in [1, 10, 100] {
        let timed = Timed::Publishing;
        let name = format!("{OURS}, the driver alone, bytes");
        let contenders = vec![
            contender(
                settings,
                BYTES_BY_HAND,
                runtime,
                timed,
                subscribers,
                ByHandBytes::default(),
            ),
            contender(
                settings,
                &name,
                runtime,
                timed,
                subscribers,
                DriverBytes::default(),
            ),
        ];
        let title = format!(
            "publish 100 bytes to {}, nothing encoded",
            plural(subscribers)
        );
        let rounds = settings.rounds();
        report.comparison(&interleave(
            &title,
            rounds,
            BYTES_BY_HAND,
            contenders,
            &settings.progress,
        ));
    }
}

fn plural(subscribers: usize) -> String {
    match subscribers {
        1 => "1 subscriber".to_owned(),
        more => format!("{more} subscribers"),
    }
}

fn contender<C: Channels>(
    settings: &Settings,
    name: &str,
    runtime: &Arc<Runtime>,
    timed: Timed,
    subscribers: usize,
    channels: C,
) -> Contender {
    let runtime = Arc::clone(runtime);
    // About as many deliveries in each case, since they take the time.
    let bursts = settings.choose(40, 200) / (subscribers as u64).ilog2().max(1) as u64;
    Contender::new(name, move || {
        let channels = channels.clone();
        let work = async move {
            match timed {
                Timed::Publishing => publishing(&channels, subscribers, bursts.max(3)).await,
                Timed::Delivery => delivery(&channels, subscribers, bursts.max(3)).await,
                Timed::Latency => latency(&channels, bursts * 50).await,
            }
        };
        // On a worker, as a service does it, and not on the thread that waits for the runtime.
        runtime.block_on(async { tokio::spawn(work).await })?
    })
}

/// Only the bursts are timed; reading what they have published is not.
async fn publishing<C: Channels>(channels: &C, subscribers: usize, bursts: u64) -> Result<Sample> {
    let user = User::new(7);
    let mut subscriptions = Vec::new();
    for _ in 0..subscribers {
        subscriptions.push(channels.subscribe(CHANNEL).await?);
    }
    let mut sum = Sample::default();
    for _ in 0..bursts {
        let start = Start::now();
        for _ in 0..BURST {
            channels.publish(CHANNEL, &user).await?;
        }
        let burst = start.sample(BURST, Vec::new());
        sum.operations += burst.operations;
        sum.wall += burst.wall;
        sum.client_cpu += burst.client_cpu;
        sum.sleeps = Some(sum.sleeps.unwrap_or(0) + burst.sleeps.unwrap_or(0));
        for subscription in &mut subscriptions {
            for _ in 0..BURST {
                C::receive(subscription).await?;
            }
        }
    }
    Ok(sum)
}

/// From the first publish of a burst to the last delivery of it.
async fn delivery<C: Channels>(channels: &C, subscribers: usize, bursts: u64) -> Result<Sample> {
    let user = User::new(7);
    let (done, mut all_done) = mpsc::channel(subscribers);
    let mut readers = Vec::new();
    for _ in 0..subscribers {
        let mut subscription = channels.subscribe(CHANNEL).await?;
        let done = done.clone();
        readers.push(tokio::spawn(async move {
            for _ in 0..bursts {
                for _ in 0..BURST {
                    C::receive(&mut subscription).await?;
                }
                done.send(()).await?;
            }
            anyhow::Ok(())
        }));
    }
    drop(done);
    let start = Start::now();
    'bursts: for _ in 0..bursts {
        for _ in 0..BURST {
            channels.publish(CHANNEL, &user).await?;
        }
        for _ in 0..subscribers {
            // None: every reader has ended, and one of them says below why.
            if all_done.recv().await.is_none() {
                break 'bursts;
            }
        }
    }
    let sample = start.sample(bursts * BURST * subscribers as u64, Vec::new());
    drop(all_done);
    for reader in readers {
        reader.await.context("a reader has panicked")??;
    }
    Ok(sample)
}

/// One message at a time, to a task that waits for it.
async fn latency<C: Channels>(channels: &C, messages: u64) -> Result<Sample> {
    let mut subscription = channels.subscribe(CHANNEL).await?;
    let (received, mut times) = mpsc::channel(1);
    let reader = tokio::spawn(async move {
        loop {
            C::receive(&mut subscription).await?;
            if received.send(Instant::now()).await.is_err() {
                return anyhow::Ok(());
            }
        }
    });
    let user = User::new(7);
    let mut latencies = Vec::with_capacity(messages as usize);
    let start = Start::now();
    for _ in 0..messages {
        let published = Instant::now();
        channels.publish(CHANNEL, &user).await?;
        let Some(received) = times.recv().await else {
            break;
        };
        let latency: Duration = received - published;
        latencies.push(latency.as_nanos() as u64);
    }
    let sample = start.sample(messages, latencies);
    drop(times);
    // The reader sees that nobody listens any more with the next message.
    channels.publish(CHANNEL, &user).await?;
    reader.await.context("the reader has panicked")??;
    Ok(sample)
}
