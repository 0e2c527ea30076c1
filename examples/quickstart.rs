//! The first steps: a cache, a ttl, a counter, messages, and a cache that messages keep fresh.
//!
//! In memory: `cargo run --example quickstart`
//!
//! On Redis: `STORE_URL=redis://127.0.0.1:6379 cargo run --example quickstart --features redis`
#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use igniter_store::{IncrementOptions, Result, STORE_URL};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Profile {
    name: String,
    role: String,
}

/// On the wire: `{"type":"ROLE_UPDATED","payload":{"userId":"1"}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "SCREAMING_SNAKE_CASE")]
enum UserEvent {
    #[serde(rename_all = "camelCase")]
    RoleUpdated { user_id: String },
}

/// Stands for the database: the truth, and slow.
async fn load_profile(role: &str) -> Result<Profile> {
    println!("   … asking the database");
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(Profile {
        name: "Ada".to_owned(),
        role: role.to_owned(),
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    // The only line that knows the driver. The prefix keeps other data in the same Redis apart.
    let store = igniter_store::from_env().await?.with_prefix("quickstart:");
    store.clear().await?;
    println!("Driver: {store:?}");
    println!("(chosen by {STORE_URL}; without it, everything stays in this process)");

    println!("\n1. Cache-aside: ask the store first, the database only on a miss");
    let minute = Duration::from_secs(60);
    for read in ["first", "second"] {
        let begun = Instant::now();
        let profile: Profile = store
            .get_or_load("user:1", minute, || load_profile("member"))
            .await?;
        println!(
            "   the {read} read: {profile:?} after {:?}",
            begun.elapsed()
        );
    }

    println!("\n2. A ttl: the entry lives as long as it says, to the millisecond");
    store
        .set_with("code", "123456", Duration::from_millis(200))
        .await?;
    println!(
        "   set for 200 ms; left now: {:?}",
        store.ttl("code").await?.left()
    );
    tokio::time::sleep(Duration::from_millis(210)).await;
    println!("   210 ms later: {:?}", store.get::<String>("code").await?);

    println!("\n3. A counter: atomic, however many processes count");
    let per_minute = IncrementOptions::new().initial_ttl(minute);
    for _ in 0..3 {
        let count = store.increment_with("requests", per_minute).await?;
        let left = store.ttl("requests").await?.left();
        println!("   {count} requests; the window that the first one opened ends in {left:?}");
    }

    println!("\n4. Publish and subscribe: every subscriber gets every message, in order");
    let (seen, mut seen_here) = mpsc::unbounded_channel();
    let greeter = store
        .on("greetings", move |text: String| {
            // Fails only if nobody waits for it any more.
            let _ = seen.send(text);
            async {}
        })
        .await?;
    for text in ["hello", "goodbye"] {
        store.publish("greetings", text).await?;
        println!(
            "   published {text:?}; the handler got {:?}",
            seen_here.recv().await
        );
    }
    greeter.unsubscribe().await;

    println!("\n5. Both together: a message clears the profile that step 1 has cached");
    let cleared = Arc::new(Notify::new());
    let (cache, done) = (store.clone(), Arc::clone(&cleared));
    let listener = store
        .on("user-events", move |event: UserEvent| {
            let (cache, done) = (cache.clone(), Arc::clone(&done));
            async move {
                let UserEvent::RoleUpdated { user_id } = &event;
                match cache.delete(&format!("user:{user_id}")).await {
                    Ok(cached) => {
                        println!("   {event:?} came; was cached and is cleared: {cached}")
                    }
                    Err(error) => println!("   {event:?} came; cannot clear: {error}"),
                }
                done.notify_one();
            }
        })
        .await?;
    let user_id = "1".to_owned();
    store
        .publish("user-events", &UserEvent::RoleUpdated { user_id })
        .await?;
    cleared.notified().await;
    let profile: Profile = store
        .get_or_load("user:1", minute, || load_profile("admin"))
        .await?;
    println!("   read again: {profile:?}");
    listener.unsubscribe().await;

    println!("\nDone; {} keys removed.", store.clear().await?);
    store.close().await
}
