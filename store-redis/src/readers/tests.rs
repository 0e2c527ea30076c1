use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use redis::cmd;
use store_conformance::server::{RedisServer, or_skip};
use store_core::{ErrorKind, RawEvent, StoreAdapter};
use tokio::time::Instant;

use super::*;
use crate::command::{self, Effect, Payload};
use crate::driver::RedisDriver;
use crate::lane::Lane;
use crate::options::RedisOptions;
use crate::reply::{self, Refusal, Shape};
use crate::resp::Frame;

const LONG: Duration = Duration::from_secs(30);

/// Waits for an element of a list for so many seconds, for ever where that is zero.
async fn pop(link: &Link, list: &str, seconds: f64) -> Result<Option<Vec<u8>>> {
    let mut command = cmd("BLPOP");
    command.arg(list).arg(seconds);
    let request = command::Request {
        payload: Payload::One(command),
        effect: Effect::Write,
        shape: Shape::Any(1),
    };
    let read = |frame: Frame<'_>| match frame {
        Frame::Nil => Ok(None),
        Frame::Array(parts) => match parts.as_slice() {
            [_, Frame::Bulk(element)] => Ok(Some(element.to_vec())),
            _ => Err(Refusal::Malformed),
        },
        _ => Err(Refusal::Malformed),
    };
    link.call(|| request, read).await
}

async fn count(link: &Link) -> i64 {
    let count = link.call(|| command::increment("n", 1), reply::counter);
    count.await.unwrap()
}

/// The generation of the connection that answers a call which may be repeated.
async fn generation(link: &Link) -> u64 {
    let has = link.call_on(None, || command::has("n"), reply::flag);
    has.await.unwrap().1
}

async fn driver(server: &RedisServer, call_timeout: Duration) -> RedisDriver {
    let options = RedisOptions::from_url(&server.url()).unwrap();
    let options = options.call_timeout(call_timeout);
    RedisDriver::connect_with(options).await.unwrap()
}

/// Lets others have their turn until `is_so`, for a bounded time.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// Lets `popped` wait until the server says that somebody does.
async fn block<T: Debug>(popped: &mut (impl Future<Output = T> + Unpin), server: &RedisServer) {
    until("a reader blocks", || {
        assert!((&mut *popped).now_or_never().is_none());
        is_blocked(server)
    })
    .await;
}

fn is_blocked(server: &RedisServer) -> bool {
    let clients = server.command(&["INFO", "clients"]).unwrap();
    clients.contains("blocked_clients:1")
}

/// The ids of a driver's connections, as the server has them.
fn connections(server: &RedisServer) -> Vec<String> {
    let clients = server.command(&["CLIENT", "LIST"]).unwrap();
    let of_drivers = clients
        .lines()
        .filter(|line| line.contains("name=igniter-store"));
    let ids = of_drivers.map(|line| line.split(['=', ' ']).nth(1).unwrap().to_owned());
    ids.collect()
}

#[tokio::test]
async fn a_reader_that_blocks_delays_no_call_and_no_other_reader() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let driver = driver(&server, LONG).await;
    let blocked = driver.readers.open().await.unwrap();
    let other = driver.readers.open().await.unwrap();
    let mut popped = pin!(pop(&blocked, "list", 0.0));
    block(&mut popped, &server).await;
    for expected in 1..=100 {
        assert_eq!(driver.increment("n", 1, None).await.unwrap(), expected);
    }
    assert_eq!(pop(&other, "list", 0.1).await.unwrap(), None);
    assert!(is_blocked(&server));
    server.command(&["RPUSH", "list", "element"]).unwrap();
    assert_eq!(popped.await.unwrap().unwrap(), b"element");
}

#[tokio::test]
async fn a_reader_that_blocks_again_and_again_keeps_its_connection() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let driver = driver(&server, Duration::from_secs(1)).await;
    let reader = driver.readers.open().await.unwrap();
    let began = Instant::now();
    // Longer than a server may be silent, each time for less than the time of a call.
    while began.elapsed() < 2 * reader.patience() {
        assert_eq!(pop(&reader, "list", 0.1).await.unwrap(), None);
    }
    server.command(&["RPUSH", "list", "element"]).unwrap();
    let element = pop(&reader, "list", 0.1).await.unwrap().unwrap();
    assert_eq!(element, b"element");
    assert_eq!(generation(&reader).await, 1);
}

#[tokio::test]
async fn a_reader_that_comes_and_is_replaced_disturbs_no_subscription_and_no_call() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let driver = driver(&server, LONG).await;
    let mut subscription = driver.subscribe("c").await.unwrap();
    let before = connections(&server);
    let reader = driver.readers.open().await.unwrap();
    let mut after = connections(&server);
    after.retain(|id| !before.contains(id));
    let [id] = after.as_slice() else {
        panic!("a reader has {after:?}");
    };
    server.command(&["CLIENT", "KILL", "ID", id]).unwrap();
    while generation(&reader).await == 1 {}
    driver.publish("c", b"message").await.unwrap();
    let event = subscription.next().await;
    assert!(
        matches!(&event, Some(RawEvent::Message { message, .. }) if message == "message"),
        "{event:?}"
    );
    assert_eq!(driver.health().await.generation, 1);
}

#[tokio::test]
async fn a_reader_follows_the_commands_and_loses_nothing_on_the_way() {
    let servers = [RedisServer::spawn(), RedisServer::spawn()];
    let [Some(first), Some(second)] = servers.map(or_skip) else {
        return;
    };
    let driver = driver(&first, LONG).await;
    let reader = driver.readers.open().await.unwrap();
    let mut popped = pin!(pop(&reader, "list", 0.0));
    block(&mut popped, &first).await;
    let commands = Lane::new(Arc::clone(&driver.readers.transport), Purpose::Commands);
    let address = SocketAddr::from(([127, 0, 0, 1], second.port()));
    commands.note(Some(address), &Ok(()));
    second.command(&["SET", "n", "10"]).unwrap();
    let is_down = || format!("{reader:?}").contains("down");
    until("the reader leaves", is_down).await;
    // What it waits for at the first server is not given up for that, and nothing more asked of it.
    let mut counted = pin!(count(&reader));
    assert!((&mut counted).now_or_never().is_none());
    first.command(&["RPUSH", "list", "element"]).unwrap();
    assert_eq!(popped.await.unwrap().unwrap(), b"element");
    assert_eq!(counted.await, 11);
    assert_eq!(generation(&reader).await, 2);
}

/// A reader that waits in vain when its driver goes, by `end`.
async fn left_with_a_reader(end: impl AsyncFnOnce(RedisDriver)) {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let driver = driver(&server, LONG).await;
    let reader = driver.readers.open().await.unwrap();
    drop(driver.readers.open().await.unwrap());
    let mut popped = pin!(pop(&reader, "list", 0.0));
    block(&mut popped, &server).await;
    assert_eq!(connections(&server).len(), 2);
    end(driver).await;
    // It was sent, and may have popped something.
    let error = popped.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    let error = pop(&reader, "list", 0.0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let is_alone = || connections(&server).is_empty();
    until("no connection is left", is_alone).await;
}

#[tokio::test]
async fn closing_a_driver_ends_its_readers() {
    left_with_a_reader(async |driver| {
        let lanes = || driver.readers.transport.commands.receiver_count();
        driver.readers.close().await;
        assert_eq!(lanes(), 2, "tasks of calls and subscriptions, and no other");
        driver.close().await.unwrap();
        assert_eq!(lanes(), 0, "tasks that have not ended");
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_comes_while_its_driver_closes_is_refused() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let driver = driver(&server, LONG).await;
    let mut opening = pin!(driver.readers.open());
    assert!((&mut opening).now_or_never().is_none());
    driver.close().await.unwrap();
    for late in [opening.await, driver.readers.open().await] {
        assert_eq!(late.map(drop).unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn dropping_a_driver_ends_its_readers() {
    left_with_a_reader(async |driver| drop(driver)).await;
}
