//! What the handle refuses, and what its errors say.
#![cfg(all(feature = "memory", feature = "json"))]

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use igniter_store::{
    Error, ErrorKind, Event, IncrementOptions, MAX_NAME_LEN, MemoryDriver, MemoryOptions, Result,
    SetOptions, Store, Ttl,
};

fn store() -> Store {
    Store::new(MemoryDriver::new())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_invalid_name_is_refused_by_every_operation_and_named() {
    let store = store().with_prefix("p:");
    let long = "k".repeat(MAX_NAME_LEN - 1);
    for name in ["", long.as_str()] {
        let ttl = SECOND;
        let errors = [
            store.get::<i32>(name).await.err(),
            store.set(name, &1).await.err(),
            store.set_with(name, &1, ttl).await.err(),
            store.delete(name).await.err(),
            store.has(name).await.err(),
            store.increment(name).await.err(),
            store.decrement_by(name, 2).await.err(),
            store.expire(name, ttl).await.err(),
            store.persist(name).await.err(),
            store.ttl(name).await.err(),
            store.take::<i32>(name).await.err(),
            store.replace(name, &1).await.err(),
            store.compare_and_set(name, &1, &2).await.err(),
            store.compare_and_delete(name, &1).await.err(),
            store.get_many::<i32>(&["fine", name]).await.err(),
            store.set_many(&[("fine", 1), (name, 2)]).await.err(),
            store.delete_many(&["fine", name]).await.err(),
            store.publish(name, &1).await.err(),
            store.subscribe::<i32>(name).await.err(),
            store.on(name, |_: i32| async {}).await.err(),
            store
                .get_or_load(name, ttl, || async { Ok::<_, Error>(1) })
                .await
                .err(),
        ];
        for (index, error) in errors.into_iter().enumerate() {
            let error = error.unwrap_or_else(|| panic!("call {index} took {:?}", name.len()));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "call {index}");
            assert_eq!(error.key(), Some(name), "call {index}");
        }
    }
    assert!(
        !store.has("fine").await.unwrap(),
        "half a batch was written"
    );
}

#[tokio::test]
async fn an_error_names_the_operation_and_the_key() -> Result<()> {
    let open = store().with_prefix("p:");
    let closed = store().with_prefix("p:");
    closed.close().await?;
    let load = || async { Ok::<_, Error>(1) };
    // Of the handle, which refuses the key, and of the driver.
    for (store, key) in [(open, ""), (closed.clone(), "k")] {
        let errors = [
            ("get", store.get::<i32>(key).await.err()),
            ("set", store.set(key, &1).await.err()),
            ("set", store.set_with(key, &1, SECOND).await.err()),
            ("delete", store.delete(key).await.err()),
            ("has", store.has(key).await.err()),
            ("increment", store.increment(key).await.err()),
            ("decrement", store.decrement(key).await.err()),
            ("decrement", store.decrement_by(key, i64::MIN).await.err()),
            ("expire", store.expire(key, SECOND).await.err()),
            ("persist", store.persist(key).await.err()),
            ("ttl", store.ttl(key).await.err()),
            ("take", store.take::<i32>(key).await.err()),
            ("replace", store.replace(key, &1).await.err()),
            (
                "compare_and_set",
                store.compare_and_set(key, &1, &2).await.err(),
            ),
            (
                "compare_and_delete",
                store.compare_and_delete(key, &1).await.err(),
            ),
            (
                "get_or_load",
                store.get_or_load(key, SECOND, load).await.err(),
            ),
            ("publish", store.publish(key, &1).await.err()),
            ("subscribe", store.subscribe::<i32>(key).await.err()),
            (
                "subscribe_pattern",
                store.subscribe_pattern::<i32>(key).await.err(),
            ),
        ];
        for (operation, error) in errors {
            assert_names(error, operation, Some(key));
        }
    }
    let errors = [
        ("get_many", closed.get_many::<i32>(&["k"]).await.err()),
        ("set_many", closed.set_many(&[("k", 1)]).await.err()),
        ("delete_many", closed.delete_many(&["k"]).await.err()),
        ("clear", closed.clear().await.err()),
    ];
    for (operation, error) in errors {
        assert_names(error, operation, None);
    }
    assert_names(closed.scan("k").try_next().await.err(), "scan", Some("k"));
    Ok(())
}

fn assert_names(error: Option<Error>, operation: &str, key: Option<&str>) {
    let named = error.as_ref().map(|error| (error.operation(), error.key()));
    assert_eq!(named, Some((Some(operation), key)));
}

#[tokio::test]
async fn a_ttl_of_zero_or_too_long_is_refused_everywhere() -> Result<()> {
    let store = store();
    store.set("k", &1).await?;
    for ttl in [Duration::ZERO, Duration::MAX] {
        let errors = [
            store.set_with("k", &2, ttl).await.err(),
            store.expire("k", ttl).await.err(),
            store
                .increment_with("k", IncrementOptions::new().initial_ttl(ttl))
                .await
                .err(),
            store.set_many_with(&[("k", 2)], ttl).await.err(),
            store.replace_with("k", &2, ttl).await.err(),
            store.compare_and_set_with("k", &1, &2, ttl).await.err(),
            store
                .get_or_load("absent", ttl, || async { Ok::<_, Error>(1) })
                .await
                .err(),
        ];
        for (index, error) in errors.into_iter().enumerate() {
            let kind = error.map(|error| error.kind());
            assert_eq!(kind, Some(ErrorKind::InvalidInput), "call {index}");
        }
        assert_eq!(store.get("k").await?, Some(1));
        assert_eq!(store.ttl("k").await?, Ttl::Forever);
    }
    Ok(())
}

#[tokio::test]
async fn conditions_are_answered_and_options_that_clash_are_refused() -> Result<()> {
    let store = store();
    let if_absent = SetOptions::new().if_absent();
    assert!(store.set_with("k", &1, if_absent).await?);
    assert!(!store.set_with("k", &2, if_absent).await?);
    assert!(store.compare_and_set("k", &1, &3).await?);
    assert_eq!(store.replace("k", &4).await?, Some(3));
    assert!(!store.compare_and_delete("k", &3).await?);
    assert_eq!(store.take("k").await?, Some(4));
    assert!(
        !store
            .set_with("k", &5, SetOptions::new().if_present())
            .await?
    );
    let load = || async { Ok::<_, Error>(1) };
    let clashes = [
        store.replace_with("k", &1, if_absent).await.err(),
        store
            .compare_and_set_with("k", &1, &2, if_absent)
            .await
            .err(),
        store.get_or_load("k", if_absent, load).await.err(),
    ];
    for (index, clash) in clashes.into_iter().enumerate() {
        let kind = clash.map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::InvalidInput), "call {index}");
    }
    Ok(())
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_that_names_key_and_type() -> Result<()> {
    let store = store().with_prefix("app:");
    store.set("k", "text").await?;
    let error = store.get::<u64>("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert_eq!(
        error.to_string(),
        "get \"k\": the bytes are not JSON of u64: invalid type: string \"text\", expected \
         u64 at line 1 column 6"
    );
    let lost = store.take::<u64>("k").await.unwrap_err();
    assert_eq!(lost.bytes().map(|bytes| &bytes[..]), Some(&b"\"text\""[..]));
    assert!(!store.has("k").await?);
    Ok(())
}

#[tokio::test]
async fn a_value_over_the_drivers_maximum_is_refused_and_the_old_one_kept() -> Result<()> {
    let store = Store::new(MemoryDriver::with_options(
        MemoryOptions::default().max_value_len(8),
    ));
    store.set("k", "123456").await?;
    let error = store.set("k", "1234567").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(
        error.to_string(),
        "set \"k\": the value has 9 bytes as JSON; the memory driver takes at most 8"
    );
    assert_eq!(store.get("k").await?, Some("123456".to_owned()));
    let load = || async { Ok::<_, Error>("1234567".to_owned()) };
    for (operation, error) in [
        (
            "get_or_load",
            store.get_or_load("l", SECOND, load).await.err(),
        ),
        ("publish", store.publish("l", "1234567").await.err()),
    ] {
        let error = error.unwrap_or_else(|| panic!("{operation} went well"));
        let why = "the value has 9 bytes as JSON; the memory driver takes at most 8";
        assert_eq!(error.to_string(), format!("{operation} \"l\": {why}"));
    }
    Ok(())
}

#[tokio::test]
async fn an_undecodable_message_is_an_event_and_ends_nothing() -> Result<()> {
    let store = store();
    let mut events = store.subscribe::<i32>("c").await?;
    store.publish("c", "text").await?;
    store.publish("c", &5).await?;
    let Some(Event::Undecodable(bad)) = events.next().await else {
        panic!("not undecodable");
    };
    assert_eq!((&*bad.channel, &bad.bytes[..]), ("c", &b"\"text\""[..]));
    assert_eq!(bad.error.kind(), ErrorKind::Decode);
    let said = (bad.error.operation(), bad.error.key());
    assert_eq!(said, (Some("subscribe"), Some("c")));
    assert!(matches!(events.next().await, Some(Event::Message(m)) if m.value == 5));
    Ok(())
}

#[tokio::test]
async fn a_closed_store_says_so_and_ends_its_subscriptions() -> Result<()> {
    let store = store();
    let mut events = store.subscribe::<i32>("c").await?;
    assert!(store.health().await.is_up());
    store.close().await?;
    assert!(events.next().await.is_none());
    assert_eq!(
        store.get::<i32>("k").await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert!(!store.health().await.is_up());
    assert!(events.messages().next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn the_text_of_a_store_has_its_driver_its_codec_and_its_prefixes() -> Result<()> {
    let store = store().with_prefix("p:").with_key_prefix("k:");
    assert_eq!(store.driver_name(), "memory");
    assert_eq!(
        format!("{store:?}"),
        "Store { driver: \"memory\", codec: \"JSON\", key_prefix: \"p:k:\", channel_prefix: \
         \"p:\", .. }"
    );
    Ok(())
}

#[tokio::test]
async fn the_text_of_a_subscription_has_its_channel_as_the_user_gave_it() -> Result<()> {
    let events = store().with_prefix("p:").subscribe::<i32>("c").await?;
    assert_eq!(format!("{events:?}"), "Subscription { channel: \"c\", .. }");
    Ok(())
}
