//! What the handle does itself, the same for every driver; on memory, with the clock paused.
#![cfg(all(feature = "memory", feature = "json"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use igniter_store::{
    Error, ErrorKind, Event, IncrementOptions, MAX_NAME_LEN, MemoryDriver, MemoryOptions, Result,
    SetOptions, Store, Ttl,
};
use tokio::time::advance;

fn store() -> Store {
    Store::new(MemoryDriver::new())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn entries_expire_by_advancing_the_clock() -> Result<()> {
    let store = store();
    store.set_with("k", &1, SECOND).await?;
    advance(SECOND - Duration::from_millis(1)).await;
    assert_eq!(store.get("k").await?, Some(1));
    advance(Duration::from_millis(1)).await;
    assert_eq!(store.get::<i32>("k").await?, None);
    Ok(())
}

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

#[tokio::test(start_paused = true)]
async fn a_value_that_is_exchanged_keeps_its_ttl_where_it_is_told_to() -> Result<()> {
    let store = store();
    let keep = SetOptions::new().keep_ttl();
    store.set_with("k", &1, SECOND).await?;
    assert_eq!(store.replace_with("k", &2, keep).await?, Some(1));
    assert_eq!(store.ttl("k").await?, Ttl::Left(SECOND));
    assert!(store.compare_and_set_with("k", &2, &3, keep).await?);
    assert_eq!(store.ttl("k").await?, Ttl::Left(SECOND));
    store.replace("k", &4).await?;
    assert_eq!(store.ttl("k").await?, Ttl::Forever);
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
    let clash = store.replace_with("k", &1, if_absent).await.unwrap_err();
    assert_eq!(clash.kind(), ErrorKind::InvalidInput);
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
async fn one_bad_value_in_a_batch_hides_no_other() -> Result<()> {
    let store = store();
    store.set_many(&[("a", 1), ("c", 3)]).await?;
    store.set("b", "two").await?;
    let answers = store
        .get_many::<i32>(&["c", "b", "missing", "a", "c"])
        .await?;
    let kinds: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.map_err(|error| (error.kind(), error.key().map(str::to_owned))))
        .collect();
    let bad = (ErrorKind::Decode, Some("b".to_owned()));
    assert_eq!(
        kinds,
        [Ok(Some(3)), Err(bad), Ok(None), Ok(Some(1)), Ok(Some(3))]
    );
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
    Ok(())
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
        store.publish("user:1", &1).await?;
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
    assert!(matches!(events.next().await, Some(Event::Message(m)) if m.value == 5));
    Ok(())
}

#[tokio::test]
async fn a_thousand_cold_callers_load_once() -> Result<()> {
    let store = store();
    let loads = Arc::new(AtomicUsize::new(0));
    let callers = (0..1_000).map(|_| {
        let (store, loads) = (store.clone(), Arc::clone(&loads));
        tokio::spawn(async move {
            store
                .get_or_load("k", SECOND, || async {
                    loads.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok::<_, Error>("loaded".to_owned())
                })
                .await
        })
    });
    for answer in futures_util::future::join_all(callers).await {
        assert_eq!(answer.unwrap()?, "loaded");
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn a_load_that_fails_or_is_dropped_lets_the_next_caller_load() -> Result<()> {
    let store = store();
    let failed = store
        .get_or_load("k", SECOND, || async { Err::<i32, _>(Error::closed()) })
        .await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Closed);
    let mut never = Box::pin(store.get_or_load("k", SECOND, || async {
        std::future::pending::<Result<i32, Error>>().await
    }));
    assert!((&mut never).now_or_never().is_none());
    let mut second = Box::pin(store.get_or_load("k", SECOND, || async { Ok::<_, Error>(2) }));
    assert!((&mut second).now_or_never().is_none());
    drop(never);
    assert_eq!(second.await?, 2);
    Ok(())
}

#[tokio::test]
async fn an_undecodable_value_is_loaded_again() -> Result<()> {
    let store = store();
    store.set("k", "an older format").await?;
    let load = || async { Ok::<_, Error>(2) };
    assert_eq!(store.get_or_load("k", SECOND, load).await?, 2);
    assert_eq!(store.get("k").await?, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_closed_store_says_so_and_ends_its_subscriptions() -> Result<()> {
    let store = store();
    let mut events = store.subscribe::<i32>("c").await?;
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
