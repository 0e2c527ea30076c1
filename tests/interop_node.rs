//! Igniter.js itself on the other side of one Redis; run by `ci/interop`, which installs it.
//!
//! `ci/interop.d/peer.mjs` calls the real packages as these tests ask, so that all that is
//! expected stands here.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first failure"
)]

#[path = "interop/types.rs"]
mod types;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use igniter_store::{ErrorKind, Event, RedisDriver, Store, Subscription, Ttl};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store_conformance::server::{command_at, or_skip, shared_url};
use types::{Envelope, EnvelopeScope, User, UserEvent};

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of Node with the packages.
struct Igniter {
    process: Child,
    calls: ChildStdin,
    lines: Receiver<Value>,
    /// Messages that came before the answer of a call.
    messages: Vec<Value>,
}

impl Igniter {
    fn spawn(url: &str, key_prefix: &str, service: &str) -> Self {
        let peer = env::var("IGNITER_PEER").expect("IGNITER_PEER is not set; run ci/interop");
        let mut process = Command::new("node")
            .args([&peer, url, key_prefix, service])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot run node");
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line)
                    .unwrap_or_else(|_| panic!("the peer printed {line:?}"));
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            calls: process.stdin.take().unwrap(),
            process,
            lines,
            messages: Vec::new(),
        }
    }

    fn line(&self) -> Value {
        self.lines
            .recv_timeout(PATIENCE)
            .expect("the peer says nothing")
    }

    fn try_call(&mut self, call: &Value) -> Result<Value, String> {
        writeln!(self.calls, "{call}").unwrap();
        loop {
            let mut line = self.line();
            if let Some(message) = line.get_mut("message") {
                self.messages.push(message.take());
            } else if let Some(error) = line.get("error") {
                return Err(error.to_string());
            } else {
                return Ok(line["answer"].take());
            }
        }
    }

    /// Calls a method, such as `adapter.set`, and answers what it resolves to.
    fn call(&mut self, call: &str, arguments: Value) -> Value {
        self.try_call(&json!({ "call": call, "arguments": arguments }))
            .unwrap()
    }

    /// Calls a method of `@igniter-js/store` inside of scopes.
    fn scoped(&mut self, scope: &Value, call: &str, arguments: Value) -> Value {
        self.try_call(&json!({ "call": call, "arguments": arguments, "scope": scope }))
            .unwrap()
    }

    /// The next message on any subscription of the peer.
    fn message(&mut self) -> Value {
        if !self.messages.is_empty() {
            return self.messages.remove(0);
        }
        let mut line = self.line();
        line.get_mut("message").expect("not a message").take()
    }
}

impl Drop for Igniter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Both sides on one Redis, with names that no other test or program uses.
struct Pair {
    url: String,
    unique: String,
    igniter: Igniter,
    store: Store,
}

impl Pair {
    async fn new(test: &str) -> Option<Self> {
        let url = or_skip(shared_url())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let unique = format!("{test}-{}", now.as_nanos());
        let key_prefix = format!("igniter-app-{unique}:");
        let driver = RedisDriver::connect(&url).await.unwrap();
        Some(Self {
            igniter: Igniter::spawn(&url, &key_prefix, &unique),
            store: Store::new(driver).with_key_prefix(&key_prefix),
            url,
            unique,
        })
    }

    fn channel(&self) -> String {
        format!("user-events-{}", self.unique)
    }

    /// The store for one kind of keys of `@igniter-js/store`.
    async fn of_kind(&self, kind: &str) -> Store {
        let driver = RedisDriver::connect(&self.url).await.unwrap();
        let service = &self.unique;
        Store::new(driver).with_key_prefix(&format!("igniter:store:{service}:{kind}:"))
    }

    async fn end(self) {
        self.store.clear().await.unwrap();
    }
}

async fn event<T: DeserializeOwned + 'static>(events: &mut Subscription<T>) -> Event<T> {
    let event = tokio::time::timeout(PATIENCE, events.next()).await;
    event.expect("no event came").expect("the stream ended")
}

async fn message<T: DeserializeOwned + 'static>(events: &mut Subscription<T>) -> T {
    let Event::Message(message) = event(events).await else {
        panic!("the event is not a message");
    };
    message.value
}

fn within_the_last_minute_of_an_hour(ttl: Ttl) -> bool {
    ttl.left()
        .is_some_and(|left| left <= HOUR && left > HOUR - Duration::from_secs(60))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_igniter_writes_is_read_here() {
    let Some(mut pair) = Pair::new("read").await else {
        return;
    };
    let (igniter, store) = (&mut pair.igniter, &pair.store);

    let ada = json!(User::ada());
    igniter.call("adapter.set", json!(["user:1", ada, { "ttl": 3600 }]));
    assert_eq!(store.get("user:1").await.unwrap(), Some(User::ada()));
    assert!(within_the_last_minute_of_an_hour(
        store.ttl("user:1").await.unwrap()
    ));
    igniter.call("adapter.set", json!(["user:1", ada]));
    assert_eq!(store.ttl("user:1").await.unwrap(), Ttl::Forever);
    igniter.call("adapter.expire", json!(["user:1", 3600]));
    assert!(within_the_last_minute_of_an_hour(
        store.ttl("user:1").await.unwrap()
    ));
    igniter.call("adapter.delete", json!(["user:1"]));
    assert!(!store.has("user:1").await.unwrap());

    assert_eq!(igniter.call("adapter.increment", json!(["views"])), 1);
    assert_eq!(store.get("views").await.unwrap(), Some(1_i64));
    igniter.call("adapter.set", json!(["views", 5]));
    assert_eq!(store.increment("views").await.unwrap(), 6);

    for number in [0.1, -0.5, 1e21, 5e-324, 9_007_199_254_740_992.0] {
        igniter.call("adapter.set", json!(["number", number]));
        assert_eq!(store.get("number").await.unwrap(), Some(number));
    }
    igniter.call("adapter.set", json!(["null", null]));
    assert_eq!(store.get("null").await.unwrap(), Some(None::<u8>));
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_here_is_read_by_igniter() {
    let Some(mut pair) = Pair::new("write").await else {
        return;
    };
    let (igniter, store) = (&mut pair.igniter, &pair.store);

    store.set_with("user:1", &User::ada(), HOUR).await.unwrap();
    let read = igniter.call("adapter.get", json!(["user:1"]));
    assert_eq!(read, json!(User::ada()));
    let key = format!("igniter-app-{}:user:1", pair.unique);
    let left: i64 = command_at(&pair.url, &["TTL", &key])
        .unwrap()
        .parse()
        .unwrap();
    assert!((3_540..=3_600).contains(&left), "{left}");
    assert_eq!(igniter.call("adapter.has", json!(["user:1"])), true);
    assert!(store.delete("user:1").await.unwrap());
    assert_eq!(igniter.call("adapter.has", json!(["user:1"])), false);
    assert_eq!(igniter.call("adapter.get", json!(["user:1"])), Value::Null);

    assert_eq!(store.increment("views").await.unwrap(), 1);
    assert_eq!(igniter.call("adapter.increment", json!(["views"])), 2);
    store.set("views", &5_i64).await.unwrap();
    assert_eq!(igniter.call("adapter.get", json!(["views"])), 5);
    assert_eq!(igniter.call("adapter.increment", json!(["views"])), 6);

    let values = json!(["", "~", 0.1, -1.5e300, true, [], {}, [[1], { "a": null }]]);
    for value in values.as_array().unwrap() {
        store.set("any", value).await.unwrap();
        assert_eq!(igniter.call("adapter.get", json!(["any"])), *value);
    }
    let batch = [("a", 1), ("b", 2)];
    store.set_many(&batch).await.unwrap();
    assert_eq!(igniter.call("adapter.get", json!(["b"])), 2);
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_in_order() {
    let Some(mut pair) = Pair::new("messages").await else {
        return;
    };
    let channel = pair.channel();
    let (igniter, store) = (&mut pair.igniter, &pair.store);
    let mut events = store.subscribe::<UserEvent>(&channel).await.unwrap();
    igniter.call("adapter.subscribe", json!([channel]));
    for round in 0..20 {
        let event = UserEvent::role_updated(&round.to_string());
        let text = json!({ "type": "ROLE_UPDATED", "payload": { "userId": round.to_string() } });
        store.publish(&channel, &event).await.unwrap();
        assert_eq!(igniter.message(), text);
        assert_eq!(message(&mut events).await, event);
        igniter.call("adapter.publish", json!([channel, text]));
        assert_eq!(igniter.message(), text);
        assert_eq!(message(&mut events).await, event);
    }
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_changes_on_one_side_clears_the_profile_cached_on_the_other() {
    let Some(mut pair) = Pair::new("roles").await else {
        return;
    };
    let channel = pair.channel();
    let (igniter, store) = (&mut pair.igniter, &pair.store);
    let (cleared, mut was_cleared) = tokio::sync::mpsc::unbounded_channel();
    let cache = store.clone();
    let listener = store
        .on(&channel, move |event: UserEvent| {
            let (cache, cleared) = (cache.clone(), cleared.clone());
            async move {
                let UserEvent::RoleUpdated { user_id } = event;
                let was_there = cache.delete(&format!("user:{user_id}")).await.unwrap();
                cleared.send(was_there).unwrap();
            }
        })
        .await
        .unwrap();
    igniter.call("adapter.subscribe", json!([channel]));

    store.set_with("user:1", &User::ada(), HOUR).await.unwrap();
    let event = json!({ "type": "ROLE_UPDATED", "payload": { "userId": "1" } });
    igniter.call("adapter.publish", json!([channel, event]));
    let answer = tokio::time::timeout(PATIENCE, was_cleared.recv());
    assert_eq!(answer.await.expect("the handler did not run"), Some(true));
    assert_eq!(igniter.call("adapter.get", json!(["user:1"])), Value::Null);
    assert_eq!(igniter.message(), event);
    listener.unsubscribe().await;

    igniter.call("adapter.set", json!(["user:2", { "role": "member" }]));
    let changed = UserEvent::role_updated("2");
    store.publish(&channel, &changed).await.unwrap();
    let heard = igniter.message();
    let key = format!("user:{}", heard["payload"]["userId"].as_str().unwrap());
    igniter.call("adapter.delete", json!([key]));
    assert!(!store.has("user:2").await.unwrap());
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_is_an_error_here_and_harms_nothing_else() {
    let Some(mut pair) = Pair::new("no-json").await else {
        return;
    };
    let channel = pair.channel();
    let (igniter, store) = (&mut pair.igniter, &pair.store);
    igniter.call("adapter.set", json!(["undefined"]));
    igniter.call("adapter.client.set", json!(["raw", "hello"]));
    assert_eq!(igniter.call("adapter.get", json!(["raw"])), "hello");
    for key in ["undefined", "raw"] {
        let error = store.get::<Value>(key).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_eq!(error.key(), Some(key));
    }
    let mut events = store.subscribe::<Value>(&channel).await.unwrap();
    igniter.call("adapter.publish", json!([channel]));
    igniter.call("adapter.publish", json!([channel, "next"]));
    assert!(matches!(event(&mut events).await, Event::Undecodable(_)));
    assert_eq!(message(&mut events).await, "next");
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_igniter_store_are_shared() {
    let Some(mut pair) = Pair::new("keys").await else {
        return;
    };
    let (values, counters) = (pair.of_kind("kv").await, pair.of_kind("counter").await);
    let (claims, tenant) = (
        pair.of_kind("claim").await,
        pair.of_kind("organization:org_1:workspace:42:kv").await,
    );
    let igniter = &mut pair.igniter;

    let ada = json!(User::ada());
    igniter.call("store.kv.set", json!(["user:1", ada, { "ttl": 3600 }]));
    assert_eq!(values.get("user:1").await.unwrap(), Some(User::ada()));
    assert!(within_the_last_minute_of_an_hour(
        values.ttl("user:1").await.unwrap()
    ));
    values.set("user:2", &User::ada()).await.unwrap();
    assert_eq!(igniter.call("store.kv.get", json!(["user:2"])), ada);

    assert_eq!(igniter.call("store.counter.increment", json!(["n"])), 1);
    assert_eq!(counters.increment_by("n", 4).await.unwrap(), 5);
    assert_eq!(igniter.call("store.counter.decrement", json!(["n"])), 4);
    assert_eq!(counters.get("n").await.unwrap(), Some(4_i64));

    let claim = json!(["job", "w1", { "ttl": 30 }]);
    assert_eq!(igniter.call("store.claim.once", claim.clone()), true);
    assert_eq!(claims.get("job").await.unwrap(), Some("w1".to_owned()));
    assert!(claims.compare_and_delete("job", "w1").await.unwrap());
    assert_eq!(igniter.call("store.claim.once", claim), true);

    let scope = json!([["organization", "org_1"], ["workspace", "42"]]);
    igniter.scoped(&scope, "store.kv.set", json!(["s", true]));
    assert_eq!(tenant.get("s").await.unwrap(), Some(true));
    tenant.set("t", &[1, 2]).await.unwrap();
    let read = igniter.scoped(&scope, "store.kv.get", json!(["t"]));
    assert_eq!(read, json!([1, 2]));

    for store in [values, counters, claims, tenant] {
        store.clear().await.unwrap();
    }
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_igniter_store_go_both_ways() {
    let Some(mut pair) = Pair::new("events").await else {
        return;
    };
    let scope = json!([["organization", "org_1"], ["workspace", "42"]]);
    let plain = format!("igniter:store:{}:events:user:created", pair.unique);
    let scoped = format!(
        "igniter:store:{}:organization:org_1:workspace:42:events:user:created",
        pair.unique
    );
    let (igniter, store) = (&mut pair.igniter, &pair.store);
    let mut from_plain = store.subscribe::<Envelope<User>>(&plain).await.unwrap();
    let mut from_scoped = store.subscribe::<Envelope<User>>(&scoped).await.unwrap();

    let event = json!(["user:created", User::ada()]);
    igniter.call("store.events.publish", event.clone());
    let envelope = message(&mut from_plain).await;
    assert_eq!(envelope.kind, "user:created");
    assert_eq!(envelope.data, User::ada());
    assert_eq!(envelope.scope, None);
    igniter.scoped(&scope, "store.events.publish", event);
    let envelope = message(&mut from_scoped).await;
    let innermost = EnvelopeScope {
        key: "workspace".to_owned(),
        identifier: "42".to_owned(),
    };
    assert_eq!(envelope.scope, Some(innermost));

    igniter.scoped(&scope, "store.events.subscribe", json!(["user:created"]));
    store.publish(&scoped, &envelope).await.unwrap();
    assert_eq!(igniter.message(), json!(envelope));
    pair.end().await;
}
