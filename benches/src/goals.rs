//! The goals: what is to be reached, and the limit that a measured figure is held against.

/// Whether a figure is to be small or large.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    pub fn is_kept_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }
}

/// A row of the table of goals.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// By which an area says what it has measured: `report.measured(id, spread)`.
    pub id: &'static str,
    pub area: &'static str,
    pub text: &'static str,
    pub limit: Limit,
}

const fn at_most(id: &'static str, area: &'static str, text: &'static str, limit: f64) -> Goal {
    let limit = Limit::AtMost(limit);
    Goal {
        id,
        area,
        text,
        limit,
    }
}

const fn at_least(id: &'static str, area: &'static str, text: &'static str, limit: f64) -> Goal {
    let limit = Limit::AtLeast(limit);
    Goal {
        id,
        area,
        text,
        limit,
    }
}

/// Every goal, in the order of the report.
#[rustfmt::skip]
pub const ALL: &[Goal] = &[
    at_most("memory-hit", "memory", "get hit, JSON: time against DashMap by hand", 0.95),
    at_most("memory-miss", "memory", "get miss, JSON: time against DashMap by hand", 0.80),
    at_most("memory-set", "memory", "set, JSON: time against DashMap by hand", 0.80),
    at_most("memory-hit-message-pack", "memory", "get hit, MessagePack: time against DashMap by hand with JSON", 0.70),
    at_most("memory-hit-moka", "memory", "get hit, JSON: time against moka::future", 0.90),
    at_most("memory-set-moka", "memory", "set, JSON: time against moka::future", 0.35),
    at_most("memory-increment", "memory", "increment: time against get_mut on a native i64", 1.3),
    at_most("bytes", "bytes", "bytes an entry, ttl included", 250.0),
    at_most("expiry-stall", "expiry", "a million due at once: p99.9 of gets, during against quiet", 2.0),
    at_most("expiry-gone", "expiry", "a million due at once: seconds until all are gone", 1.0),
    at_most("publish-1", "publish", "1 subscriber: time against raw broadcast behind a look-up", 1.2),
    at_most("publish-10", "publish", "10 subscribers: time against raw broadcast behind a look-up", 1.2),
    at_most("publish-100", "publish", "100 subscribers: time against raw broadcast behind a look-up", 1.2),
    at_most("read-through-hit", "batch", "read-through hit: time against plain get", 1.1),
    at_most("read-through-loads", "batch", "1,000 tasks read through one cold key: loads", 1.0),

    at_least("redis-get-1", "redis", "get, 1 task: speed against the bare redis crate", 0.98),
    at_least("redis-get-4", "redis", "get, 4 tasks: speed against the bare redis crate", 0.95),
    at_least("redis-get-16", "redis", "get, 16 tasks: speed against the bare redis crate", 1.4),
    at_least("redis-get-64", "redis", "get, 64 tasks: speed against the bare redis crate", 1.4),
    at_least("redis-get-256", "redis", "get, 256 tasks: speed against the bare redis crate", 1.1),
    at_least("redis-get-64-one-worker", "redis", "get, 64 tasks on one worker: speed against the bare redis crate", 3.0),
    at_least("redis-set-1", "redis", "set, 1 task: speed against the bare redis crate", 0.98),
    at_least("redis-set-4", "redis", "set, 4 tasks: speed against the bare redis crate", 0.95),
    at_least("redis-set-16", "redis", "set, 16 tasks: speed against the bare redis crate", 1.4),
    at_least("redis-set-64", "redis", "set, 64 tasks: speed against the bare redis crate", 1.4),
    at_least("redis-set-256", "redis", "set, 256 tasks: speed against the bare redis crate", 1.1),
    at_least("redis-set-64-one-worker", "redis", "set, 64 tasks on one worker: speed against the bare redis crate", 3.0),
    at_most("redis-get-cpu-16", "redis", "get, 16 tasks: client CPU against the bare redis crate", 0.75),
    at_most("redis-get-cpu-64", "redis", "get, 64 tasks: client CPU against the bare redis crate", 0.75),
    at_most("redis-get-cpu-256", "redis", "get, 256 tasks: client CPU against the bare redis crate", 0.75),
    at_most("redis-set-cpu-16", "redis", "set, 16 tasks: client CPU against the bare redis crate", 0.75),
    at_most("redis-set-cpu-64", "redis", "set, 64 tasks: client CPU against the bare redis crate", 0.75),
    at_most("redis-set-cpu-256", "redis", "set, 256 tasks: client CPU against the bare redis crate", 0.75),
    at_least("redis-fred", "redis", "get and set: the lowest speed against fred at any task count", 1.0),
    at_least("redis-rustis", "redis", "get and set: the lowest speed against rustis at any task count", 1.0),
    at_least("redis-node", "redis", "get, 64 tasks: speed against Igniter.js on ioredis, its best setting", 2.5),
    at_most("redis-node-cpu", "redis", "get, 64 tasks: client CPU against Igniter.js on ioredis, its best setting", 0.25),
    at_most("redis-get-many", "redis-batch", "get_many(100): time against the best of redis, fred, rustis", 1.05),
    at_most("redis-set-many", "redis-batch", "set_many(100) with ttl: time against the best of redis, fred, rustis", 1.05),
    at_least("redis-pubsub", "redis-pubsub", "messages a second against the best of redis, fred, rustis", 1.0),
    at_most("redis-pubsub-latency", "redis-pubsub", "p50 latency against the best of redis, fred, rustis", 1.05),
    at_most("near-cache-hit", "near-cache", "near-cache hit: time against a memory get", 1.2),
    at_least("near-cache-network", "near-cache", "near-cache hit: speed against a network get", 50.0),
    at_most("near-cache-stale", "near-cache", "near-cache: stale answers", 0.0),

    at_most("growth-entries", "growth", "get hit: growth of time from 10^3 entries to any more, up to 10^7 (quick: 10^6), against that of DashMap by hand", 2.0),
    at_most("growth-inserts", "growth", "set of new keys: growth of time from 10^3 entries to any more, up to 10^7 (quick: 10^6), against that of DashMap by hand", 2.0),
    at_most("growth-channels", "growth", "publish: growth of time from 1 channel to any more, up to 10^5, against that of broadcast behind a look-up", 2.0),
];
