//! Publishing and subscribing through Redis, from end to end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::redis::fastest;
use crate::compare::{Comparison, Contender, interleave};
use crate::peers::redis::listening::Listening;
use crate::peers::redis::ours;
use crate::peers::redis::pubsub::redis_crate::{RedisFanOut, RedisPubSub, RedisPush};
use crate::peers::redis::pubsub::{Fred, Messenger, Rustis};
use crate::plot::{Plot, Series};
use crate::report::Report;
use crate::server::RedisServer;
use crate::settings::Settings;
use crate::statistics::{Spread, percentile};
use crate::work;

pub const ABOUT: &str = "Messages of about 100 bytes of JSON through a Redis of this run's own, publisher and subscribers in \
    this process on two tokio workers. For throughput, 64 tasks publish bursts of 512 messages in all, and the next \
    burst begins when every subscriber has decoded every message of the last one, so nobody can lose any: a message \
    that is missing or out of order fails the contender. For latency one message is under way at a time, from before \
    the publish until a subscriber has decoded it.";

const OURS: &str = "igniter-store";
const REDIS: &str = "redis, PubSub";
const REDIS_PUSH: &str = "redis, RESP3 push";
const REDIS_FAN_OUT: &str = "redis, RESP3 push, one connection for all";
const FRED: &str = "fred";
const RUSTIS: &str = "rustis";
const PEERS: [&str; 5] = [REDIS, REDIS_PUSH, REDIS_FAN_OUT, FRED, RUSTIS];

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let server = RedisServer::start()?;
    let bench = Bench {
        settings,
        url: server.url(),
        runtime: work::runtime(2)?,
    };
    for subscribers in [1, 10, 100] {
        let comparison = bench.compare(Measured::Throughput { subscribers })?;
        report.comparison(&comparison);
        if subscribers == 1 {
            let best = fastest(&comparison, &PEERS);
            report.measured(
                "redis-pubsub",
                best.and_then(|best| comparison.speed_ratio(OURS, best)),
            );
        }
    }
    let comparison = bench.compare(Measured::Latency)?;
    report.comparison(&comparison);
    report.measured("redis-pubsub-latency", median_latency(&comparison));
    report.plot("redis-pubsub-latency", &distribution(&comparison))
}

#[derive(Clone, Copy, Debug)]
enum Measured {
    Throughput { subscribers: usize },
    Latency,
}

struct Bench<'a> {
    settings: &'a Settings,
    url: String,
    runtime: Arc<Runtime>,
}

impl Bench<'_> {
    fn compare(&self, measured: Measured) -> Result<Comparison> {
        let title = match measured {
            Measured::Throughput { subscribers: 1 } => {
                "Redis publish to 1 subscriber, messages delivered".to_owned()
            }
            Measured::Throughput { subscribers } => {
                format!("Redis publish to {subscribers} subscribers, messages delivered")
            }
            Measured::Latency => "Redis publish to 1 subscriber, latency".to_owned(),
        };
        let url = &self.url;
        let mut contenders = vec![
            self.contender(OURS, measured, ours::store(url)),
            self.contender(REDIS, measured, RedisPubSub::connect(url)),
            self.contender(REDIS_PUSH, measured, RedisPush::connect(url)),
            self.contender(FRED, measured, Fred::connect(url)),
            self.contender(RUSTIS, measured, Rustis::connect(url)),
        ];
        if matches!(measured, Measured::Throughput { subscribers } if subscribers > 1) {
            contenders.push(self.contender(REDIS_FAN_OUT, measured, RedisFanOut::connect(url)));
        }
        let (rounds, progress) = (self.settings.rounds(), &self.settings.progress);
        Ok(interleave(&title, rounds, REDIS, contenders, progress))
    }

    fn contender<M: Messenger>(
        &self,
        name: &str,
        measured: Measured,
        connecting: impl Future<Output = Result<M>>,
    ) -> Contender {
        let subscribers = match measured {
            Measured::Throughput { subscribers } => subscribers,
            Measured::Latency => 1,
        };
        let connected = self
            .runtime
            .block_on(async { Listening::start(connecting.await?, name, subscribers).await });
        let mut held = match connected {
            Ok(listening) => Some(listening),
            Err(error) => return Contender::absent(name, format!("{error:#}")),
        };
        let runtime = Arc::clone(&self.runtime);
        let time = Duration::from_millis(self.settings.choose(80, 300));
        let messages = self.settings.choose(600, 3_000);
        Contender::new(name, move || {
            let mut listening = held.take().context("an earlier round has failed")?;
            // In a task, as users' code is: the thread that blocks belongs to no worker.
            let task = async move {
                let sample = match measured {
                    Measured::Throughput { .. } => listening.throughput(time).await,
                    Measured::Latency => listening.latency(messages).await,
                };
                sample.map(|sample| (sample, listening))
            };
            let (sample, listening) = runtime.block_on(runtime.spawn(task))??;
            held = Some(listening);
            Ok(sample)
        })
    }
}

/// Against the peer whose median latency is the lowest.
fn median_latency(comparison: &Comparison) -> Option<Spread> {
    let median = |name: &&str| {
        let row = comparison.row(name)?;
        row.latency(0.5).filter(|_| row.failure.is_none())
    };
    let named = PEERS.iter().filter_map(|name| Some((median(name)?, name)));
    let (_, best) = named.min()?;
    comparison.latency_ratio(OURS, best)
}

fn distribution(comparison: &Comparison) -> Plot {
    // In percent; the steps are finer where the tail begins.
    let shares = (1..100).map(f64::from).chain([99.5, 99.9]);
    let series = comparison.rows.iter().map(|row| Series {
        name: row.name.clone(),
        points: shares
            .clone()
            .filter_map(|share| {
                let nanos = percentile(&row.latencies, share / 100.0)?;
                Some((nanos as f64 / 1e3, share))
            })
            .collect(),
    });
    Plot {
        title: "Latency of a message through Redis".to_owned(),
        x: "microseconds".to_owned(),
        y: "percent of the messages that arrived by then".to_owned(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
        log_x: true,
        log_y: false,
    }
}
