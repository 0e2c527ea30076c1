//! A reader that blocks has a link of its own, on the transport of the others: no part of the
//! driver yet, but what streams will need of links.

use std::pin::pin;

use futures_util::FutureExt;
use redis::cmd;
use store_conformance::server::{RedisServer, or_skip};

use super::*;
use crate::command::Payload;
use crate::options::RedisOptions;
use crate::reply::Shape;

/// Waits for an element of a list for so many seconds, for ever where that is zero.
async fn pop(link: &Link, list: &str, seconds: f64) -> Result<Option<Vec<u8>>> {
    let mut command = cmd("BLPOP");
    command.arg(list).arg(seconds);
    let request = Request {
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

/// A link for calls and one for a reader.
async fn lanes(server: &RedisServer, call_timeout: Duration) -> (Link, Link) {
    let options = RedisOptions::from_url(&server.url()).unwrap();
    let transport = Transport::new(options.call_timeout(call_timeout)).unwrap();
    let transport = Arc::new(transport);
    let calls = Link::connect(Arc::clone(&transport)).await.unwrap();
    (calls, Link::connect(transport).await.unwrap())
}

#[tokio::test]
async fn a_reader_that_blocks_delays_no_call() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let (calls, reader) = lanes(&server, Duration::from_secs(30)).await;
    let mut popped = pin!(pop(&reader, "list", 0.0));
    let is_blocked = || {
        let clients = server.command(&["INFO", "clients"]).unwrap();
        clients.contains("blocked_clients:1")
    };
    while !is_blocked() {
        assert!((&mut popped).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    for expected in 1..=100 {
        assert_eq!(count(&calls).await, expected);
    }
    assert!(is_blocked());
    server.command(&["RPUSH", "list", "element"]).unwrap();
    assert_eq!(popped.await.unwrap().unwrap(), b"element");
}

#[tokio::test]
async fn a_reader_that_blocks_again_and_again_keeps_its_connection() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let (calls, reader) = lanes(&server, Duration::from_millis(500)).await;
    let began = Instant::now();
    // Longer than a server may be silent, each time for less than the time of a call.
    while began.elapsed() < 3 * reader.shared.transport.options.patience() {
        assert_eq!(pop(&reader, "list", 0.1).await.unwrap(), None);
        count(&calls).await;
    }
    server.command(&["RPUSH", "list", "element"]).unwrap();
    let element = pop(&reader, "list", 0.1).await.unwrap().unwrap();
    assert_eq!(element, b"element");
    assert_eq!(
        (reader.shared.generation(), calls.shared.generation()),
        (1, 1)
    );
}
