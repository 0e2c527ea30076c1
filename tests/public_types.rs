//! What every public type promises: Debug, Send, Sync; and that the adapter trait is object safe.

use std::fmt::Debug;
use std::sync::Arc;

use igniter_store::*;

fn is_good_citizen<T: Debug + Send + Sync + ?Sized>() {}

#[test]
fn every_public_type_is_debug_send_and_sync() {
    is_good_citizen::<Store>();
    is_good_citizen::<Error>();
    is_good_citizen::<ErrorKind>();
    is_good_citizen::<Subscription<String>>();
    is_good_citizen::<RawSubscription>();
    is_good_citizen::<Listener>();
    is_good_citizen::<ListenerCounts>();
    is_good_citizen::<Event<String>>();
    is_good_citizen::<RawEvent>();
    is_good_citizen::<Health>();
    is_good_citizen::<SetOptions>();
    is_good_citizen::<IncrementOptions>();
    is_good_citizen::<ListenOptions>();
    is_good_citizen::<ScanPage>();
    is_good_citizen::<Condition<'_>>();
    is_good_citizen::<Json>();
    #[cfg(feature = "message-pack")]
    is_good_citizen::<Store<MessagePack>>();
    #[cfg(feature = "memory")]
    is_good_citizen::<(MemoryDriver, MemoryOptions)>();
    #[cfg(feature = "redis")]
    is_good_citizen::<(RedisDriver, RedisOptions, Credentials, Protocol)>();
    #[cfg(feature = "redis-tls")]
    is_good_citizen::<TlsOptions>();
}

#[test]
fn the_adapter_trait_is_object_safe() {
    is_good_citizen::<Arc<dyn StoreAdapter>>();
}

/// The futures of a store can be spawned, whatever they work on.
#[cfg(feature = "json")]
#[test]
fn the_futures_of_a_store_are_send() {
    fn is_send<T: Send>(_: &T) {}
    fn check(store: &Store) {
        is_send(&store.get::<String>("k"));
        is_send(&store.set("k", "v"));
        is_send(&store.set_many(&[("k", "v")]));
        is_send(&store.get_many::<String>(&["k"]));
        is_send(&store.subscribe::<String>("c"));
        is_send(&store.clear());
        is_send(&store.on("c", |_: String| async {}));
        is_send(&store.get_or_load("k", SetOptions::new(), || async { Ok::<_, Error>(1) }));
    }
    let _ = check;
}
