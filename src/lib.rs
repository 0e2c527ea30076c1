#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connect;

pub use connect::{STORE_URL, connect_adapter};
#[cfg(feature = "json")]
pub use connect::{connect, from_env};
#[cfg(feature = "message-pack")]
pub use store_core::MessagePack;
pub use store_core::{
    Bytes, Codec, Condition, Error, ErrorKind, Event, Expiry, Gap, GapReason, Health, HealthState,
    IncrementOptions, Json, ListenOptions, Listener, ListenerCounts, MAX_NAME_LEN, Message,
    Outcome, Patterns, RawEvent, RawSubscription, Result, Scan, ScanPage, SetOptions, Store,
    StoreAdapter, Subscription, Ttl, TtlMillis, Undecodable, async_trait, codec, counter, pattern,
};
#[cfg(feature = "memory")]
pub use store_memory::{MemoryDriver, MemoryOptions};
#[cfg(feature = "redis-tls")]
pub use store_redis::TlsOptions;
#[cfg(feature = "redis")]
pub use store_redis::{Credentials, Protocol, RedisDriver, RedisOptions};
