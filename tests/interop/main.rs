//! The bytes that are shared with Igniter.js, frozen; on every driver.
//!
//! `ci/interop` proves against the npm packages that these are the right ones.

#![expect(clippy::unwrap_used, reason = "a test stops at the first failure")]

#[cfg(feature = "redis")]
mod redis;
mod types;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use igniter_store::{
    Codec, Condition, ErrorKind, Event, Expiry, Json, MemoryDriver, RawEvent, Store, StoreAdapter,
    Ttl,
};
use types::{Envelope, EnvelopeScope, User, UserEvent};

const HOUR: Duration = Duration::from_secs(3600);
const ADA: &str = "{\"id\":1,\"name\":\"Ada \\\"é😀\u{2028}\\u0001\",\"roles\":[\"admin\"]}";

/// A driver, the store over it with Igniter's layout, and what keeps the driver's server alive.
struct Side {
    driver: Arc<dyn StoreAdapter>,
    store: Store,
    #[cfg(feature = "redis")]
    server: Option<store_conformance::server::RedisServer>,
}

impl Side {
    fn new(driver: impl StoreAdapter) -> Self {
        let driver: Arc<dyn StoreAdapter> = Arc::new(driver);
        Self {
            store: Store::from_adapter(Arc::clone(&driver)).with_key_prefix("igniter-app:"),
            driver,
            #[cfg(feature = "redis")]
            server: None,
        }
    }

    /// The bytes under a physical key, as text.
    async fn stored(&self, key: &str) -> Option<String> {
        let bytes = self.driver.get(key).await.unwrap()?;
        Some(String::from_utf8(bytes.into()).unwrap())
    }

    /// Puts what Igniter.js would write under a physical key.
    async fn plant(&self, key: &str, text: &str) {
        let written = self
            .driver
            .set(key, text.as_bytes(), Expiry::Never, Condition::Always);
        assert!(written.await.unwrap());
    }
}

async fn sides() -> Vec<Side> {
    let mut sides = vec![Side::new(MemoryDriver::new())];
    sides.extend(redis_side().await);
    sides
}

#[cfg(not(feature = "redis"))]
async fn redis_side() -> Option<Side> {
    None
}

#[cfg(feature = "redis")]
async fn redis_side() -> Option<Side> {
    use igniter_store::RedisDriver;
    use store_conformance::server::{RedisServer, or_skip};

    let server = or_skip(RedisServer::spawn())?;
    let mut side = Side::new(RedisDriver::connect(&server.url()).await.unwrap());
    side.server = Some(server);
    Some(side)
}

#[tokio::test]
async fn a_value_is_json_text_under_the_prefixed_key() {
    for side in sides().await {
        side.store.set("user:1", &User::ada()).await.unwrap();
        assert_eq!(side.stored("igniter-app:user:1").await.unwrap(), ADA);
        side.store.set("text", "a").await.unwrap();
        assert_eq!(side.stored("igniter-app:text").await.unwrap(), "\"a\"");
        side.store.set("nothing", &None::<u8>).await.unwrap();
        assert_eq!(side.stored("igniter-app:nothing").await.unwrap(), "null");
        assert_eq!(side.stored("user:1").await, None);
    }
}

#[tokio::test]
async fn a_value_of_igniter_is_read() {
    for side in sides().await {
        side.plant("igniter-app:user:1", ADA).await;
        assert_eq!(side.store.get("user:1").await.unwrap(), Some(User::ada()));
        for (text, number) in [
            ("1", 1.0),
            ("9007199254740992", 2_f64.powi(53)),
            ("1e+21", 1e21),
        ] {
            side.plant("igniter-app:float", text).await;
            assert_eq!(side.store.get("float").await.unwrap(), Some(number));
        }
        side.plant("igniter-app:null", "null").await;
        assert_eq!(side.store.get("null").await.unwrap(), Some(None::<u8>));
    }
}

#[tokio::test]
async fn a_counter_is_decimal_text_and_an_integer_of_igniter_is_a_counter() {
    for side in sides().await {
        assert_eq!(side.store.increment("views").await.unwrap(), 1);
        assert_eq!(side.stored("igniter-app:views").await.unwrap(), "1");
        side.plant("igniter-app:views", "5").await;
        assert_eq!(side.store.get("views").await.unwrap(), Some(5_i64));
        assert_eq!(side.store.increment("views").await.unwrap(), 6);
        side.store.set("views", &5_i64).await.unwrap();
        assert_eq!(side.stored("igniter-app:views").await.unwrap(), "5");
    }
}

#[tokio::test]
async fn a_message_is_json_text_on_the_bare_channel() {
    const MESSAGE: &[u8] = br#"{"type":"ROLE_UPDATED","payload":{"userId":"1"}}"#;
    for side in sides().await {
        let mut raw = side.driver.subscribe("user-events").await.unwrap();
        let mut typed = side
            .store
            .subscribe::<UserEvent>("user-events")
            .await
            .unwrap();
        let event = UserEvent::role_updated("1");
        side.store.publish("user-events", &event).await.unwrap();
        side.driver.publish("user-events", MESSAGE).await.unwrap();
        for _ in 0..2 {
            let expected = RawEvent::Message {
                channel: Arc::from("user-events"),
                message: MESSAGE.into(),
            };
            assert_eq!(raw.next().await, Some(expected));
            let Some(Event::Message(message)) = typed.next().await else {
                panic!("no message");
            };
            assert_eq!(message.value, event);
        }
    }
}

#[tokio::test]
async fn text_that_is_no_json_is_a_decode_error_that_names_key_and_type() {
    for side in sides().await {
        // A raw string of another program, and what Igniter.js makes of `undefined`.
        for (key, text) in [("raw", "hello"), ("undefined", "")] {
            side.plant(&format!("igniter-app:{key}"), text).await;
            let error = side.store.get::<String>(key).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert_eq!(error.key(), Some(key));
            assert_eq!(error.bytes().unwrap(), text);
            assert!(error.to_string().contains("String"), "{error}");
            assert!(!error.to_string().contains("igniter-app:"), "{error}");
            assert!(side.store.has(key).await.unwrap());
        }
        side.plant("igniter-app:fine", "1").await;
        let keys = ["raw", "undefined", "fine"];
        let answers = side.store.get_many::<i64>(&keys).await.unwrap();
        assert!(matches!(answers[..], [Err(_), Err(_), Ok(Some(1))]));
    }
}

#[tokio::test]
async fn an_undefined_message_does_not_end_the_subscription() {
    for side in sides().await {
        let mut events = side.store.subscribe::<u8>("user-events").await.unwrap();
        side.driver.publish("user-events", b"").await.unwrap();
        side.store.publish("user-events", &7).await.unwrap();
        let Some(Event::Undecodable(undecodable)) = events.next().await else {
            panic!("an empty message is no JSON");
        };
        assert_eq!(undecodable.bytes, "");
        let Some(Event::Message(message)) = events.next().await else {
            panic!("no message");
        };
        assert_eq!(message.value, 7);
    }
}

#[tokio::test]
async fn the_layout_of_igniter_store_is_a_prefix_for_each_kind() {
    for side in sides().await {
        let of_kind = |kind: &str| {
            Store::from_adapter(Arc::clone(&side.driver))
                .with_key_prefix(&format!("igniter:store:api:{kind}:"))
        };
        let (values, counters) = (of_kind("kv"), of_kind("counter"));
        values.set_with("user:1", &User::ada(), HOUR).await.unwrap();
        assert_eq!(
            side.stored("igniter:store:api:kv:user:1").await.unwrap(),
            ADA
        );
        assert!(matches!(values.ttl("user:1").await.unwrap(), Ttl::Left(_)));
        side.plant("igniter:store:api:counter:n", "5").await;
        assert_eq!(counters.decrement("n").await.unwrap(), 4);
        assert!(!values.has("n").await.unwrap());
    }
}

#[test]
fn the_envelope_of_igniter_store_is_a_struct() {
    let text = r#"{"type":"user:created","data":{"type":"ROLE_UPDATED","payload":{"userId":"1"}},"timestamp":"2026-01-02T03:04:05.678Z","scope":{"key":"workspace","identifier":"42"}}"#;
    let envelope = Envelope {
        kind: "user:created".to_owned(),
        data: UserEvent::role_updated("1"),
        timestamp: "2026-01-02T03:04:05.678Z".to_owned(),
        scope: Some(EnvelopeScope {
            key: "workspace".to_owned(),
            identifier: "42".to_owned(),
        }),
    };
    assert_eq!(Json.encode(&envelope).unwrap(), text.as_bytes());
    let decoded: Envelope<UserEvent> = Json.decode(text.as_bytes()).unwrap();
    assert_eq!(decoded, envelope);
}
