//! What the handle does itself, the same for every driver; on memory, with the clock paused.
#![cfg(all(feature = "memory", feature = "json"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use igniter_store::{
    Bytes, Error, ErrorKind, Event, IncrementOptions, ListenOptions, Listener, MAX_NAME_LEN,
    MemoryDriver, MemoryOptions, Result, SetOptions, Store, Ttl,
};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Barrier, Mutex, Notify};
use tokio::time::{advance, timeout};

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
        "get \"k\": the stored bytes are not JSON of u64: invalid type: string \"text\", expected \
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
async fn a_handler_goes_on_after_a_panic_and_counts_it() -> Result<()> {
    let store = store();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let done = Arc::new(Notify::new());
    let (recorded, finished) = (Arc::clone(&seen), Arc::clone(&done));
    let listener = store
        .on("c", move |number: i32| {
            let (recorded, finished) = (Arc::clone(&recorded), Arc::clone(&finished));
            assert!(number != 1, "before the future");
            async move {
                assert!(number != 2, "inside the future");
                recorded.lock().unwrap().push(number);
                if number == 4 {
                    finished.notify_one();
                }
            }
        })
        .await?;
    store.publish("c", "not a number").await?;
    for number in 0..5 {
        store.publish("c", &number).await?;
    }
    done.notified().await;
    assert_eq!(*seen.lock().unwrap(), [0, 3, 4]);
    let counts = listener.counts();
    assert_eq!(
        (counts.messages, counts.panics, counts.undecodable),
        (5, 2, 1)
    );
    listener.unsubscribe().await;
    Ok(())
}

#[tokio::test]
async fn a_listener_goes_on_after_a_panic_in_deserialize() -> Result<()> {
    #[derive(Debug, PartialEq)]
    struct Touchy(i32);

    impl<'de> Deserialize<'de> for Touchy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = i32::deserialize(deserializer)?;
            assert!(number != 1, "inside of Deserialize");
            Ok(Self(number))
        }
    }

    let store = store();
    let (hear, mut heard) = unbounded_channel();
    let subscription = store.subscribe::<Touchy>("c").await?;
    let listener = subscription.listen(ListenOptions::new(), move |event| {
        let heard = hear.send(match event {
            Event::Message(message) => Ok(message.value),
            Event::Undecodable(bad) => Err((bad.bytes, bad.error.kind())),
            _ => Err((Bytes::new(), ErrorKind::Backend)),
        });
        async move { heard }
    });
    store.publish("c", &1).await?;
    store.publish("c", &2).await?;
    let bad = (Bytes::from_static(b"1"), ErrorKind::Decode);
    assert_eq!(heard.recv().await, Some(Err(bad)));
    assert_eq!(heard.recv().await, Some(Ok(Touchy(2))));
    let counts = listener.counts();
    assert_eq!((counts.undecodable, counts.panics), (1, 0));
    listener.unsubscribe().await;
    Ok(())
}

#[tokio::test]
async fn unsubscribe_waits_for_the_handler_that_runs() -> Result<()> {
    let store = store();
    let gate = Arc::new(Barrier::new(2));
    let finished = Arc::new(AtomicUsize::new(0));
    let (entered, ended) = (Arc::clone(&gate), Arc::clone(&finished));
    let listener = store
        .on("c", move |_: i32| {
            let (entered, ended) = (Arc::clone(&entered), Arc::clone(&ended));
            async move {
                entered.wait().await;
                tokio::task::yield_now().await;
                ended.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await?;
    store.publish("c", &1).await?;
    gate.wait().await;
    listener.unsubscribe().await;
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn a_listener_that_is_dropped_hears_nothing_more() -> Result<()> {
    let store = store();
    let (listener, mut heard) = listen(&store).await?;
    store.publish("c", &1).await?;
    assert_eq!(heard.recv().await, Some(1));
    drop(listener);
    store.publish("c", &2).await?;
    // Ends a listener too, once it has heard what was published.
    store.close().await?;
    assert_eq!(heard.recv().await, None);
    Ok(())
}

#[tokio::test]
async fn a_listener_that_is_detached_goes_on() -> Result<()> {
    let store = store();
    let (listener, mut heard) = listen(&store).await?;
    listener.detach();
    store.publish("c", &1).await?;
    assert_eq!(heard.recv().await, Some(1));
    Ok(())
}

/// A listener on channel `c`, and what it hears.
async fn listen(store: &Store) -> Result<(Listener, UnboundedReceiver<i32>)> {
    let (hear, heard) = unbounded_channel();
    let listener = store
        .on("c", move |number: i32| {
            let heard = hear.send(number);
            async move { heard }
        })
        .await?;
    Ok((listener, heard))
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_unsubscribes_its_own_listener_does_not_wait_for_itself() -> Result<()> {
    let store = store();
    let own = Arc::new(Mutex::new(None::<Listener>));
    let (hear, mut heard) = unbounded_channel();
    let found = Arc::clone(&own);
    let listener = store
        .on("c", move |number: i32| {
            let (found, hear) = (Arc::clone(&found), hear.clone());
            async move {
                let listener = found.lock().await.take();
                if let Some(listener) = listener {
                    listener.unsubscribe().await;
                }
                hear.send(number)
            }
        })
        .await?;
    *own.lock().await = Some(listener);
    store.publish("c", &1).await?;
    store.publish("c", &2).await?;
    // With a clock that is paused this ends as soon as nobody has anything to do.
    let first = timeout(SECOND, heard.recv()).await;
    assert_eq!(first, Ok(Some(1)));
    assert_eq!(heard.recv().await, None);
    Ok(())
}

#[tokio::test]
async fn a_listener_runs_as_many_handlers_at_a_time_as_it_may() -> Result<()> {
    let store = store();
    let meeting = Arc::new(Barrier::new(3));
    let inside = Arc::clone(&meeting);
    let options = ListenOptions::new().concurrency(2.try_into().unwrap());
    let listener = store
        .subscribe::<i32>("c")
        .await?
        .listen(options, move |_| {
            let inside = Arc::clone(&inside);
            async move {
                inside.wait().await;
            }
        });
    store.publish("c", &1).await?;
    store.publish("c", &2).await?;
    // Ends only if both handlers are inside at the same time.
    meeting.wait().await;
    listener.unsubscribe().await;
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
