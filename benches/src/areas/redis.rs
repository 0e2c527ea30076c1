//! Redis: get and set at every number of tasks, other work too in a full run, other sizes at 64.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use crate::charts::latencies;
use crate::compare::{Comparison, Contender, interleave};
use crate::line::{self, Line};
use crate::peers::redis::Encoded;
use crate::peers::redis::calls::{Data, Slice, Work};
use crate::peers::redis::clients::{self, Clients, FRED, OURS, REDIS, RUSTIS};
use crate::peers::redis::igniter_js::{self, IGNITER_JS, IGNITER_JS_PIPELINING, Node};
use crate::peers::redis::redis_benchmark::RedisBenchmark;
use crate::plot::{Plot, Series};
use crate::report::Report;
use crate::server::RedisServer;
use crate::settings::Settings;
use crate::statistics::Spread;
use crate::work::{KEYS, User};

pub const ABOUT: &str = "A redis-server of this run's own on loopback, without persistence, on the same cores as the \
    clients. JSON on both sides: `igniter-store` is the store as a user calls it, the others call serde_json by \
    hand. 10,000 keys; two tokio workers unless said otherwise; each contender has one connection that all tasks \
    share, except the pools. Every answer is checked, and the server's own count of commands must agree. \
    The reference is the bare redis crate's multiplexed connection with TCP_NODELAY. Igniter.js is its Redis \
    adapter in a Node process that measures itself. redis-benchmark is what the server gives to a client that neither \
    encodes, decodes nor checks. The CPU of these two is that of their own processes.";

/// Numbers of tasks.
const TASKS: [usize; 5] = [1, 4, 16, 64, 256];

/// The number of tasks at which everything is measured.
const MANY: usize = 64;

pub fn run(settings: &Settings, report: &mut Report) -> Result<()> {
    let bench = Bench::new(settings)?;
    report.text(&format!("Packages for Node: {}.", igniter_js::versions()?));
    bench.task_counts(report)?;
    bench.latencies(report)?;
    bench.one_worker(report)?;
    bench.far_away(report)?;
    bench.other_work(report)?;
    bench.sizes(report)?;
    bench.bytes_alone(report)
}

struct Bench<'a> {
    settings: &'a Settings,
    server: Arc<RedisServer>,
    clients: Clients,
    users: Data<User>,
    node: Node,
}

impl<'a> Bench<'a> {
    fn new(settings: &'a Settings) -> Result<Self> {
        let server = Arc::new(RedisServer::start()?);
        let clients = Clients::connect(&server, &server.url(), 2)?;
        let users = Data::new(KEYS, User::new);
        clients.fill(&users)?;
        let node = Node::start(&server, &settings.output, KEYS);
        Ok(Self {
            settings,
            server,
            clients,
            users,
            node,
        })
    }

    /// Short, and many rounds of them: with few tasks the speed of a slice depends on which cores the
    /// kernel happens to give to the workers and to the server.
    fn slice(&self, tasks: usize) -> Slice {
        let millis = self.settings.choose(30, 80);
        Slice::new(tasks, Duration::from_millis(millis))
    }

    fn compare(&self, title: &str, contenders: Vec<Contender>) -> Comparison {
        let rounds = self.settings.choose(10, 45);
        interleave(title, rounds, REDIS, contenders, &self.settings.progress)
    }

    fn task_counts(&self, report: &mut Report) -> Result<()> {
        let mut all = Vec::new();
        for (name, work) in [("get", Work::Get), ("set", Work::Set)] {
            let mut comparisons = Vec::new();
            for tasks in TASKS {
                let slice = self.slice(tasks);
                let mut contenders = self.clients.main(work, slice, &self.users);
                contenders.extend(self.clients.others(work, slice, &self.users));
                contenders.extend(self.node.contenders(work, slice));
                contenders.extend(self.redis_benchmark(work, slice));
                let title = format!("Redis {name}, {}", at_once(tasks));
                let comparison = self.compare(&title, contenders);
                report.comparison(&comparison);
                let id = format!("redis-{name}-{tasks}");
                report.measured(&id, comparison.speed_ratio(OURS, REDIS));
                if tasks >= 16 {
                    let id = format!("redis-{name}-cpu-{tasks}");
                    report.measured(&id, comparison.cpu_ratio(OURS, REDIS));
                }
                if work == Work::Get && tasks == MANY {
                    against_node(report, &comparison);
                }
                comparisons.push(comparison);
            }
            report.plot(&format!("redis-{name}"), &by_tasks(name, &comparisons))?;
            all.extend(comparisons);
        }
        report.measured("redis-fred", lowest_speed(&all, FRED));
        report.measured("redis-rustis", lowest_speed(&all, RUSTIS));
        Ok(())
    }

    /// What a caller waits for, and not only how many are answered in all.
    fn latencies(&self, report: &mut Report) -> Result<()> {
        for tasks in [1, 16, MANY] {
            let slice = Slice {
                latencies: true,
                ..self.slice(tasks)
            };
            let contenders = self.clients.main(Work::Get, slice, &self.users);
            let title = format!("Redis get, {}, each call timed", at_once(tasks));
            let comparison = self.compare(&title, contenders);
            report.comparison(&comparison);
            let title = format!("A get on Redis, {}", at_once(tasks));
            report.plot(
                &format!("redis-get-latency-{tasks}"),
                &latencies(&title, &comparison),
            )?;
        }
        Ok(())
    }

    fn one_worker(&self, report: &mut Report) -> Result<()> {
        let clients = Clients::connect(&self.server, &self.server.url(), 1)?;
        for (name, work) in [("get", Work::Get), ("set", Work::Set)] {
            for tasks in [16, MANY] {
                let contenders = clients.main(work, self.slice(tasks), &self.users);
                let title = format!("Redis {name}, {tasks} tasks on one worker");
                let comparison = self.compare(&title, contenders);
                report.comparison(&comparison);
                if tasks == MANY {
                    let id = format!("redis-{name}-{MANY}-one-worker");
                    report.measured(&id, comparison.speed_ratio(OURS, REDIS));
                }
            }
        }
        Ok(())
    }

    /// Through a proxy that passes on each byte late.
    fn far_away(&self, report: &mut Report) -> Result<()> {
        let line = Line::to(self.server.port())?;
        let clients = Clients::connect(&self.server, &line.url(), 2)?;
        for tasks in [1, 16, MANY] {
            let slice = self.slice(tasks);
            let mut contenders = clients.main(Work::Get, slice, &self.users);
            contenders.push(clients.nagle(Work::Get, slice, &self.users));
            let there_and_back = 2 * line::DELAY;
            let title = format!("Redis get, {}, {there_and_back:?} away", at_once(tasks));
            report.comparison(&self.compare(&title, contenders));
        }
        Ok(())
    }

    fn other_work(&self, report: &mut Report) -> Result<()> {
        for (name, work) in [
            ("get of an absent key", Work::Miss),
            ("set with a ttl", Work::SetTtl),
            ("nine gets to a set", Work::Mix),
            ("increment", Work::Increment),
        ] {
            for tasks in self.settings.choose(&[MANY][..], &TASKS) {
                let slice = self.slice(*tasks);
                let mut contenders = self.clients.main(work, slice, &self.users);
                contenders.extend(self.node.contenders(work, slice));
                let title = format!("Redis {name}, {}", at_once(*tasks));
                report.comparison(&self.compare(&title, contenders));
            }
        }
        Ok(())
    }

    fn sizes(&self, report: &mut Report) -> Result<()> {
        // A tenth of the keys for the large ones, which otherwise are 640 MB.
        for (size, text, keys) in [(1 << 10, "1 KiB", KEYS), (64 << 10, "64 KiB", KEYS / 10)] {
            let users = Data::new(keys, |id| User::of_size(id, size));
            self.clients.fill(&users)?;
            for (name, work) in [("get", Work::Get), ("set", Work::Set)] {
                let contenders = self.clients.main(work, self.slice(MANY), &users);
                let title = format!("Redis {name} of {text}, {MANY} tasks");
                report.comparison(&self.compare(&title, contenders));
            }
        }
        self.clients.fill(&self.users)
    }

    fn bytes_alone(&self, report: &mut Report) -> Result<()> {
        let json = |id| {
            Encoded(serde_json::to_vec(&User::new(id)).map_or_else(|_| Bytes::new(), Bytes::from))
        };
        let encoded = Data::new(KEYS, json);
        for (name, work) in [("get", Work::Get), ("set", Work::Set)] {
            for tasks in [1, MANY] {
                let contenders = self.clients.plain(work, self.slice(tasks), &encoded);
                let title = format!("Redis {name} without a codec, {}", at_once(tasks));
                report.comparison(&self.compare(&title, contenders));
            }
        }
        Ok(())
    }

    /// As many connections as tasks, and as many commands under way on one connection.
    fn redis_benchmark(&self, work: Work, slice: Slice) -> Vec<Contender> {
        let contender = |(name, connections, pipeline)| {
            let mut program = RedisBenchmark {
                port: self.server.port(),
                connections,
                pipeline,
                keys: KEYS,
                set: work == Work::Set,
                time: slice.time,
                speed: 0.0,
            };
            let server = Arc::clone(&self.server);
            Contender::new(name, move || {
                clients::counted(&server, work, || program.measure())
            })
        };
        let tasks = slice.tasks;
        let mut ways = vec![("redis-benchmark, a connection for each task", tasks, 1)];
        if tasks > 1 {
            ways.push(("redis-benchmark, one connection, pipelined", 1, tasks));
        }
        ways.into_iter().map(contender).collect()
    }
}

fn against_node(report: &mut Report, comparison: &Comparison) {
    let Some(best) = fastest(comparison, &[IGNITER_JS, IGNITER_JS_PIPELINING]) else {
        return;
    };
    report.measured("redis-node", comparison.speed_ratio(OURS, best));
    report.measured("redis-node-cpu", comparison.cpu_ratio(OURS, best));
}

pub(super) fn at_once(tasks: usize) -> String {
    match tasks {
        1 => "1 task".to_owned(),
        more => format!("{more} tasks"),
    }
}

/// The one of `names` that took the least time.
pub(super) fn fastest<'a>(comparison: &Comparison, names: &[&'a str]) -> Option<&'a str> {
    let nanos = |name: &&str| {
        let row = comparison.row(name).filter(|row| row.failure.is_none())?;
        row.median_nanos()
    };
    names
        .iter()
        .copied()
        .filter_map(|name| Some((name, nanos(&name)?)))
        .min_by(|one, other| one.1.total_cmp(&other.1))
        .map(|(name, _)| name)
}

/// Of the comparison in which this project's speed against `peer` is the lowest; none if one of
/// them has no figure, which may be that one.
fn lowest_speed(comparisons: &[Comparison], peer: &str) -> Option<Spread> {
    let speeds = comparisons.iter().map(|all| all.speed_ratio(OURS, peer));
    let speeds: Vec<Spread> = speeds.collect::<Option<_>>()?;
    let lowest = |one: &Spread, other: &Spread| one.median.total_cmp(&other.median);
    speeds.into_iter().min_by(lowest)
}

fn by_tasks(name: &str, comparisons: &[Comparison]) -> Plot {
    let names = comparisons[0].rows.iter().map(|row| &row.name);
    let series = names.map(|name| Series {
        name: name.clone(),
        points: TASKS
            .iter()
            .zip(comparisons)
            .filter_map(|(tasks, comparison)| {
                let speed = comparison.row(name)?.operations_per_second()?;
                Some((*tasks as f64, speed))
            })
            .collect(),
    });
    Plot {
        title: format!("Redis {name} by number of tasks"),
        x: "tasks".to_owned(),
        y: "operations a second".to_owned(),
        series: series.filter(|series| !series.points.is_empty()).collect(),
        log_x: true,
        log_y: true,
    }
}
