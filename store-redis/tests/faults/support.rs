//! Servers, drivers, waiting, and the bounds on time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use store_conformance::faults::Proxy;
use store_conformance::server::{RedisOptions as ServerOptions, RedisServer, or_skip};
use store_core::{RawEvent, RawSubscription, StoreAdapter};
use store_redis::{RedisDriver, RedisOptions};

/// How long a call may take: the driver's default.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_millis(500);

/// What the bounds on time are exceeded by at most.
///
/// The bounds are for a quiet machine. One that runs tests has few cores, and other tests, three
/// processes a test, compete for them: a task may then run a good while after it could. No other
/// criterion has any slack.
const SLACK: Duration = Duration::from_secs(1);

/// The deadline in tests whose subject it is not, since the machine may hold up anything for longer
/// than the default.
const PATIENT: Duration = Duration::from_secs(3);

/// Within this time something must happen at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints what was measured, and fails where it is more than `bound` and [`SLACK`].
pub(crate) fn at_most(what: &str, measured: Duration, bound: Duration) {
    println!(
        "{what}: {} ms, of {} ms",
        measured.as_millis(),
        bound.as_millis()
    );
    assert!(
        measured <= bound + SLACK,
        "{what} took {measured:?}; {bound:?} and {SLACK:?} of slack are allowed"
    );
}

/// Prints how many megabytes something took, and fails where they are more than `bound`.
pub(crate) fn megabytes_at_most(what: &str, megabytes: u64, bound: u64) {
    println!("{what}: {megabytes} MB, of {bound} MB");
    assert!(
        megabytes <= bound,
        "{what}: {megabytes} MB, where {bound} MB are allowed"
    );
}

/// A moment that is certainly after something that happens within `bound` of `began`.
pub(crate) fn after(began: Instant, bound: Duration) -> Instant {
    began + bound + SLACK
}

/// A server that loses nothing when it is killed.
pub(crate) fn durable_server() -> Option<RedisServer> {
    server(&["--appendonly", "yes", "--appendfsync", "always"])
}

pub(crate) fn server(arguments: &[&str]) -> Option<RedisServer> {
    or_skip(
        ServerOptions::new()
            .arguments(arguments.iter().copied())
            .spawn(),
    )
}

pub(crate) fn options(server: &RedisServer) -> RedisOptions {
    RedisOptions::new().address("127.0.0.1", server.port())
}

/// Options with which nothing ends early.
pub(crate) fn patient_options(server: &RedisServer) -> RedisOptions {
    options(server).call_timeout(PATIENT)
}

pub(crate) async fn connect(options: RedisOptions) -> Arc<RedisDriver> {
    let driver = RedisDriver::connect_with(options).await;
    Arc::new(driver.expect("the driver connects"))
}

/// A driver whose connections all go through a proxy.
pub(crate) async fn connect_through_proxy(
    server: &RedisServer,
    options: RedisOptions,
) -> (Proxy, Arc<RedisDriver>) {
    let proxy = Proxy::start(server.address()).await.expect("a proxy");
    let driver = connect(options.address("127.0.0.1", proxy.port())).await;
    (proxy, driver)
}

/// How many connections of drivers the server counts.
pub(crate) fn connections(server: &RedisServer) -> usize {
    let list = server.command(&["CLIENT", "LIST"]).unwrap();
    list.matches("name=igniter-store").count()
}

/// Waits until the server has so many connections of drivers, and thus nothing left to read from
/// those that are gone.
pub(crate) async fn settled(server: &RedisServer, count: usize) {
    until(&format!("{count} connections"), || {
        connections(server) == count
    })
    .await;
}

/// How long it takes from now until the driver writes.
pub(crate) async fn recovery(driver: &RedisDriver) -> Duration {
    let began = Instant::now();
    let writes = async { while driver.increment("probe", 1, None).await.is_err() {} };
    soon("the driver writes again", writes).await;
    began.elapsed()
}

/// Awaits what must come soon, so that a test fails instead of waiting for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("never: {what}"),
    }
}

/// Asks again and again until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Publishes `text` on the channel `c`, and again if need be.
pub(crate) async fn publish(driver: &RedisDriver, text: &str) {
    let published = async { while driver.publish("c", text.as_bytes()).await.is_err() {} };
    soon("the message is published", published).await;
}

pub(crate) async fn next_event(subscription: &mut RawSubscription) -> RawEvent {
    let event = soon("an event", subscription.next()).await;
    event.expect("the subscription is not at its end")
}

/// The next event as text: the message, or the reason of a gap and its number.
pub(crate) async fn next_text(subscription: &mut RawSubscription) -> String {
    match next_event(subscription).await {
        RawEvent::Message { message, .. } => String::from_utf8_lossy(&message).into_owned(),
        RawEvent::Gap(gap) => format!("{:?} {:?}", gap.reason, gap.missed),
    }
}

/// A scenario takes this time: the fault lasts so long.
pub(crate) async fn lasting(time: Duration) {
    tokio::time::sleep(time).await;
}
