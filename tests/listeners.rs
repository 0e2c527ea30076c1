//! Handlers: what they survive, and when they stop; on memory.
#![cfg(all(feature = "memory", feature = "json"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use igniter_store::{
    Bytes, ErrorKind, Event, ListenOptions, Listener, MemoryDriver, Result, Store,
};
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Barrier, Mutex, Notify};
use tokio::time::timeout;

fn store() -> Store {
    Store::new(MemoryDriver::new())
}

const SECOND: Duration = Duration::from_secs(1);

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
    assert_eq!(counts.failures, 0);
    listener.unsubscribe().await;
    Ok(())
}

#[tokio::test]
async fn a_handler_goes_on_after_an_error_and_counts_it() -> Result<()> {
    let store = store();
    let (hear, mut heard) = unbounded_channel();
    let listener = store
        .on("c", move |number: i32| {
            let heard = hear.send(number);
            async move {
                heard.map_err(drop)?;
                if number == 1 { Err(()) } else { Ok(()) }
            }
        })
        .await?;
    store.publish("c", "not a number").await?;
    for number in 0..3 {
        store.publish("c", &number).await?;
        assert_eq!(heard.recv().await, Some(number));
    }
    let counts = listener.counts();
    assert_eq!((counts.messages, counts.failures), (3, 1));
    listener.unsubscribe().await;
    Ok(())
}

#[tokio::test]
async fn a_handler_begins_when_the_one_before_has_ended() -> Result<()> {
    let store = store();
    let (hear, mut heard) = unbounded_channel();
    let listener = store
        .on("c", move |number: i32| {
            let hear = hear.clone();
            async move {
                let begun = hear.send((number, "begins"));
                tokio::task::yield_now().await;
                begun.and(hear.send((number, "ends")))
            }
        })
        .await?;
    for number in 0..3 {
        store.publish("c", &number).await?;
    }
    for number in 0..3 {
        for what in ["begins", "ends"] {
            assert_eq!(heard.recv().await, Some((number, what)));
        }
    }
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
async fn who_stops_has_unsubscribed_while_a_handler_still_runs() -> Result<()> {
    let driver = MemoryDriver::new();
    let store = Store::new(driver.clone());
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, may_finish) = (Arc::clone(&begun), Arc::clone(&finish));
    let listener = store
        .on("c", move |(): ()| {
            let (begins, may_finish) = (Arc::clone(&begins), Arc::clone(&may_finish));
            async move {
                begins.notify_one();
                may_finish.notified().await;
            }
        })
        .await?;
    store.publish("c", &()).await?;
    begun.notified().await;
    assert_eq!(driver.live_subscriptions(), 1);
    let stopped = tokio::spawn(listener.unsubscribe());
    timeout(10 * SECOND, async {
        while driver.live_subscriptions() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it unsubscribes before its handler is done");
    assert!(!stopped.is_finished());
    finish.notify_one();
    stopped.await.unwrap();
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
