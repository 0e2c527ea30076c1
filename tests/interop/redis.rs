//! What a bare Redis client sees of the layout that is shared with Igniter.js.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use igniter_store::{Event, RedisDriver, Store, Ttl};
use store_conformance::server::{RedisServer, or_skip};

use crate::types::{User, UserEvent};

const HOUR: Duration = Duration::from_secs(3600);

async fn store_on(server: &RedisServer) -> Store {
    Store::new(RedisDriver::connect(&server.url()).await.unwrap()).with_key_prefix("igniter-app:")
}

fn number(server: &RedisServer, command: &[&str]) -> i64 {
    server.command(command).unwrap().parse().unwrap()
}

#[tokio::test]
async fn keys_texts_and_ttls_are_those_of_igniter() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let store = store_on(&server).await;
    store.set_with("user:1", &User::ada(), HOUR).await.unwrap();
    assert_eq!(
        server.command(&["KEYS", "*"]).unwrap(),
        "igniter-app:user:1"
    );
    assert_eq!(
        server.command(&["GET", "igniter-app:user:1"]).unwrap(),
        "{\"id\":1,\"name\":\"Ada \\\"é😀\u{2028}\\u0001\",\"roles\":[\"admin\"]}"
    );
    let left = number(&server, &["PTTL", "igniter-app:user:1"]);
    assert!((3_540_000..=3_600_000).contains(&left), "{left}");

    store.set("user:1", &User::ada()).await.unwrap();
    assert_eq!(number(&server, &["PTTL", "igniter-app:user:1"]), -1);
    assert!(store.expire("user:1", HOUR).await.unwrap());
    assert!(number(&server, &["TTL", "igniter-app:user:1"]) > 3_500);

    assert_eq!(store.increment("views").await.unwrap(), 1);
    assert_eq!(
        server.command(&["TYPE", "igniter-app:views"]).unwrap(),
        "string"
    );
    assert_eq!(number(&server, &["INCR", "igniter-app:views"]), 2);
    assert_eq!(store.get("views").await.unwrap(), Some(2_i64));
}

#[tokio::test]
async fn a_ttl_in_seconds_is_read_in_milliseconds() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let store = store_on(&server).await;
    let set = ["SET", "igniter-app:session", "\"abc\"", "EX", "3600"];
    server.command(&set).unwrap();
    let Ttl::Left(left) = store.ttl("session").await.unwrap() else {
        panic!("the ttl is not seen");
    };
    assert!(
        left <= HOUR && left > HOUR - Duration::from_secs(60),
        "{left:?}"
    );
    assert_eq!(store.get("session").await.unwrap(), Some("abc".to_owned()));
    server.command(&["PERSIST", "igniter-app:session"]).unwrap();
    assert_eq!(store.ttl("session").await.unwrap(), Ttl::Forever);
}

#[tokio::test]
async fn a_published_message_is_these_bytes_on_the_wire() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let store = store_on(&server).await;
    let mut wire = TcpStream::connect(server.address()).unwrap();
    wire.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    wire.write_all(b"SUBSCRIBE user-events\r\n").unwrap();
    let mut expect = |expected: &str| {
        let mut bytes = vec![0; expected.len()];
        wire.read_exact(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    };
    expect("*3\r\n$9\r\nsubscribe\r\n$11\r\nuser-events\r\n:1\r\n");
    let event = UserEvent::role_updated("1");
    store.publish("user-events", &event).await.unwrap();
    expect(
        "*3\r\n$7\r\nmessage\r\n$11\r\nuser-events\r\n$48\r\n\
         {\"type\":\"ROLE_UPDATED\",\"payload\":{\"userId\":\"1\"}}\r\n",
    );
}

#[tokio::test]
async fn a_message_of_another_program_arrives_from_the_bare_channel() {
    let Some(server) = or_skip(RedisServer::spawn()) else {
        return;
    };
    let store = store_on(&server).await;
    let mut events = store.subscribe::<UserEvent>("user-events").await.unwrap();
    assert_eq!(
        server
            .command(&["PUBSUB", "NUMSUB", "user-events"])
            .unwrap(),
        "user-events\n1"
    );
    let text = r#"{"type":"ROLE_UPDATED","payload":{"userId":"1"}}"#;
    assert_eq!(number(&server, &["PUBLISH", "user-events", text]), 1);
    let Some(Event::Message(message)) = events.next().await else {
        panic!("no message");
    };
    assert_eq!(message.value, UserEvent::role_updated("1"));
    assert_eq!(&*message.channel, "user-events");
}
