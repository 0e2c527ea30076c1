//! Works and listens under faults that are chosen at random, and accounts for everything:
//!
//! ```text
//! soak [SECONDS] [SEED]
//! ```
//!
//! It starts its own server and a proxy in front of it, and ends with a table and, where anything
//! was lost in silence, applied twice, wrong or late, or took too much memory (on Linux), with a failure. An even seed speaks RESP2, an odd one RESP3.

#![expect(
    clippy::print_stdout,
    reason = "a program for people, who read what it prints"
)]

#[path = "../../tests/faults/counter.rs"]
mod counter;
mod dice;
mod faults;
#[path = "../../tests/faults/follower.rs"]
mod follower;
#[path = "../../tests/faults/memory.rs"]
mod memory;
mod messages;
mod register;
mod report;
mod work;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store_conformance::faults::Proxy;
use store_conformance::server::{RedisOptions as ServerOptions, RedisServer};
use store_redis::{Protocol, RedisDriver, RedisOptions};

use dice::Dice;
use faults::{Fault, Recovery, Stage};
use memory::Baseline;
use messages::Messages;
use report::Report;
use work::Work;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How often the state is printed.
const PROGRESS: Duration = Duration::from_secs(10);
/// By then no connection of the past must be left.
const SETTLED: Duration = Duration::from_secs(20);
/// The subscription buffer of the driver whose reader is slow.
const SMALL_BUFFER: usize = 64;
/// What the server starts with: it loses nothing that it acknowledged, knows the user whose
/// password is rotated, soon gives up a subscriber that does not read, and soon says that it is busy.
const SERVER: [&str; 22] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--client-output-buffer-limit",
    "pubsub",
    "1mb",
    "1mb",
    "1",
    "--user",
    "app",
    "on",
    ">right",
    "+@all",
    "~*",
    "&*",
    "--maxclients",
    "1000",
    // The name that older servers know as well.
    "--lua-time-limit",
    "50",
    "--loglevel",
    "warning",
];

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let (seconds, seed) = match (arguments.next(), arguments.next(), arguments.next()) {
        (seconds, seed, None) => (seconds.unwrap_or(Ok(120)), seed.unwrap_or(Ok(1))),
        _ => (Ok(0), Ok(0)),
    };
    let (Ok(seconds @ 1..), Ok(seed)) = (seconds, seed) else {
        println!("usage: soak [SECONDS] [SEED]");
        return ExitCode::from(2);
    };
    match soak(Duration::from_secs(seconds), seed).await {
        Ok(report) => {
            report.print();
            report.exit_code()
        }
        Err(error) => {
            println!("the soak could not be run: {error}");
            ExitCode::from(2)
        }
    }
}

async fn soak(time: Duration, seed: u64) -> Outcome<Report> {
    let protocol = match seed.is_multiple_of(2) {
        true => Protocol::Resp2,
        false => Protocol::Resp3,
    };
    println!("soak: {} s, seed {seed}, {protocol:?}", time.as_secs());
    let server = ServerOptions::new().arguments(SERVER).spawn()?;
    let proxy = Proxy::start(server.address()).await?;
    let options = RedisOptions::new()
        .address("127.0.0.1", proxy.port())
        .username("app")
        .password("right")
        .protocol(protocol);
    let driver = Arc::new(RedisDriver::connect_with(options.clone()).await?);
    let slow = options.subscription_buffer(SMALL_BUFFER);
    let slow = Arc::new(RedisDriver::connect_with(slow).await?);

    let mut dice = Dice::new(seed);
    let messages = Messages::start(&driver, &slow).await?;
    let work = Work::start(&driver, &mut dice).await?;
    let baseline = connections(&server)?;
    let memory = Baseline::now().ok();
    let mut stage = Stage {
        server,
        proxy,
        driver,
        messages,
        violations: Vec::new(),
    };
    let recoveries = inject(&mut stage, &work, &mut dice, time).await?;
    let outcomes = work.stop().await;
    let unsettled = settle(&stage.server, baseline).await?;
    stage.violations.extend(unsettled);
    let mut report = Report::new(seed, recoveries, stage.violations);
    if let Some(memory) = memory {
        report.take_memory(memory.peak()?, memory.kept()?);
    }
    report.take_work(outcomes, &stage.server);
    report.take_messages(stage.messages.finish(&stage.driver).await);
    Ok(report)
}

/// One fault after the other, each with a rest behind it.
async fn inject(
    stage: &mut Stage,
    work: &Work,
    dice: &mut Dice,
    time: Duration,
) -> Outcome<Vec<(Fault, Recovery)>> {
    let began = Instant::now();
    let mut printed = began;
    let mut recoveries = Vec::new();
    while began.elapsed() < time {
        let fault = dice.pick(&Fault::ALL);
        stage.inject(fault, dice).await?;
        recoveries.push((fault, stage.recover(fault).await));
        tokio::time::sleep(dice.millis(100..1000)).await;
        if printed.elapsed() > PROGRESS {
            printed = Instant::now();
            println!(
                "{:>6} s: {} faults, {} operations, {} violations so far",
                began.elapsed().as_secs(),
                recoveries.len(),
                work.operations(),
                stage.violations.len()
            );
        }
    }
    Ok(recoveries)
}

/// Waits until the server has exactly the connections that it began with; answers what is wrong
/// otherwise.
async fn settle(server: &RedisServer, baseline: usize) -> Outcome<Option<String>> {
    let began = Instant::now();
    loop {
        let now = connections(server)?;
        if now == baseline {
            return Ok(None);
        }
        if began.elapsed() > SETTLED {
            return Ok(Some(format!(
                "{now} connections are left, there were {baseline}"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn connections(server: &RedisServer) -> Outcome<usize> {
    let list = server.command(&["CLIENT", "LIST"])?;
    Ok(list.matches("name=igniter-store").count())
}
