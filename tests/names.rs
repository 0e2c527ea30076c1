//! Prefixes, scopes and patterns, and what is listed inside of them.
#![cfg(all(feature = "memory", feature = "json"))]

use futures_util::TryStreamExt;
use igniter_store::{ErrorKind, Event, Json, MAX_NAME_LEN, MemoryDriver, Result, Store};

fn store() -> Store {
    Store::new(MemoryDriver::new())
}

#[tokio::test]
async fn scan_and_clear_stay_inside_of_their_scope() -> Result<()> {
    let root = store();
    let tenant = root.scope("organization", "1");
    let inner = tenant.scope("workspace", "2");
    let other = root.scope("organization", "11");
    for store in [&root, &tenant, &inner, &other] {
        store.set("a", &1).await?;
        store.set("~x:y:z", &1).await?;
    }
    let mut keys: Vec<String> = tenant.scan("").try_collect().await?;
    keys.sort();
    assert_eq!(keys, ["a", "~x:y:z"]);
    assert_eq!(tenant.scan("~x").try_collect::<Vec<_>>().await?, ["~x:y:z"]);
    assert_eq!(tenant.clear().await?, 2);
    assert!(!tenant.has("a").await?);
    for store in [&root, &inner, &other] {
        assert!(store.has("a").await? && store.has("~x:y:z").await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_scan_is_for_a_prefix_as_long_as_a_key_at_most() -> Result<()> {
    let store = store().with_prefix("p:");
    let longest = "k".repeat(MAX_NAME_LEN - "p:".len());
    store.set(&longest, &1).await?;
    let keys: Vec<String> = store.scan(&longest).try_collect().await?;
    assert!(keys == [&*longest]);
    let error = store.scan(&format!("{longest}k")).try_next().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    Ok(())
}

#[tokio::test]
async fn clear_counts_the_keys_of_every_page() -> Result<()> {
    let store = store();
    let entries: Vec<_> = (0..2_500).map(|key| (key.to_string(), key)).collect();
    store.set_many(&entries).await?;
    assert_eq!(store.clear().await?, 2_500);
    assert_eq!(store.clear().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_key_prefix_does_not_reach_channels() -> Result<()> {
    let plain = store();
    let app = plain.clone().with_key_prefix("app:");
    let mut events = plain.subscribe::<i32>("c").await?;
    app.publish("c", &7).await?;
    app.set("k", &7).await?;
    assert!(matches!(events.next().await, Some(Event::Message(m)) if m.value == 7));
    assert_eq!(plain.get("app:k").await?, Some(7));
    Ok(())
}

#[tokio::test]
async fn a_store_with_another_codec_has_the_names_of_the_first() -> Result<()> {
    let store = store().with_prefix("p:").scope("o", "1");
    let other = store.clone().with_codec(Json);
    let mut events = store.subscribe::<i32>("c").await?;
    other.publish("c", &7).await?;
    assert!(matches!(events.next().await, Some(Event::Message(m)) if m.value == 7));
    other.set("k", &8).await?;
    assert_eq!(store.get("k").await?, Some(8));
    Ok(())
}

#[tokio::test]
async fn a_pattern_sees_its_own_scope_and_names_channels_as_users_do() -> Result<()> {
    let root = store();
    let tenant = root.scope("o", "1");
    let mut all = tenant.subscribe_pattern::<i32>("*").await?;
    let mut odd = tenant.subscribe_pattern::<i32>("?x").await?;
    tenant.scope("w", "2").publish("inner", &1).await?;
    root.publish("~x", &2).await?;
    tenant.publish("~x", &3).await?;
    tenant.publish("user:1", &4).await?;
    for expected in [("~x", 3), ("user:1", 4)] {
        let Some(Event::Message(message)) = all.next().await else {
            panic!("no message");
        };
        assert_eq!((&*message.channel, message.value), expected);
    }
    assert!(matches!(odd.next().await, Some(Event::Message(m)) if m.value == 3));
    Ok(())
}

#[tokio::test]
async fn a_pattern_passes_over_what_it_does_not_match() -> Result<()> {
    let store = store();
    // The driver is asked for more than these match, since they may match the `~` of a name.
    for pattern in ["?x", "[~]x", "\\~x"] {
        let mut events = store.subscribe_pattern::<i32>(pattern).await?;
        store.publish("user:x", &1).await?;
        store.publish("~x", &2).await?;
        let event = events.next().await;
        assert!(
            matches!(event, Some(Event::Message(m)) if m.value == 2),
            "{pattern}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_characters_of_a_prefix_are_not_part_of_a_pattern() -> Result<()> {
    for prefix in ["[a]", "a?", "a*", "\\a", "a[^"] {
        let store = store().with_prefix(prefix).scope("[o]", "1");
        let mut events = store.subscribe_pattern::<i32>("user:*").await?;
        store.publish("user:1", &1).await?;
        store.close().await?;
        let event = events.next().await;
        assert!(matches!(event, Some(Event::Message(_))), "{prefix}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pattern_is_as_long_as_an_escaped_name_at_most() -> Result<()> {
    let store = store().with_prefix("p:");
    let longest = "c".repeat(2 * MAX_NAME_LEN - "p:".len());
    store.subscribe_pattern::<i32>(&longest).await?;
    for pattern in ["", &format!("{longest}c")] {
        let error = store.subscribe_pattern::<i32>(pattern).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    Ok(())
}
