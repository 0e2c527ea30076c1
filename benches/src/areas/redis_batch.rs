//! Batches of 100 on Redis.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::redis::{at_once, fastest};
use crate::compare::{Comparison, interleave};
use crate::peers::redis::calls::{Data, Slice, Work};
use crate::peers::redis::clients::{Clients, FRED, OURS, REDIS, RUSTIS};
use crate::peers::redis::igniter_js::Node;
use crate::report::Report;
use crate::server::RedisServer;
use crate::settings::Settings;
use crate::statistics::Spread;
use crate::work::{KEYS, User};

pub const ABOUT: &str = "Batches of 100 keys on a Redis of this run's own, JSON on both sides; an operation is a key. Reads \
    are one MGET. Writes have a ttl, which no single command takes before Redis 8.4, so they are a pipeline of SET. \
    Two tokio workers.";

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let server = Arc::new(RedisServer::start()?);
    let clients = Clients::connect(&server, &server.url(), 2)?;
    let users = Data::new(KEYS, User::new);
    clients.fill(&users)?;
    let node = Node::start(&server, &settings.output, KEYS);
    for (work, name, id) in [
        (Work::GetMany, "get_many(100)", "redis-get-many"),
        (Work::SetMany, "set_many(100) with a ttl", "redis-set-many"),
    ] {
        for tasks in [1, 16] {
            let time = Duration::from_millis(settings.choose(60, 300));
            let slice = Slice::new(tasks, time);
            let mut contenders = clients.main(work, slice, &users);
            contenders.extend(node.contenders(work, slice));
            let title = format!("Redis {name}, {}", at_once(tasks));
            let (rounds, progress) = (settings.rounds(), &settings.progress);
            let comparison = interleave(&title, rounds, REDIS, contenders, progress);
            report.comparison(&comparison);
            if tasks == 1 {
                report.measured(id, against_the_best(&comparison));
            }
        }
    }
    Ok(())
}

fn against_the_best(comparison: &Comparison) -> Option<Spread> {
    let best = fastest(comparison, &[REDIS, FRED, RUSTIS])?;
    comparison.time_ratio(OURS, best)
}
