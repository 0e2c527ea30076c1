#![doc = include_str!("../README.md")]

mod adapter;
mod batch;
mod capability;
pub mod codec;
pub mod counter;
mod counting;
mod error;
mod event;
mod exchange;
mod health;
mod listener;
mod messaging;
mod name;
mod options;
pub mod pattern;
mod read_through;
mod scan;
mod store;
mod subscription;
mod time;

pub use adapter::{Condition, StoreAdapter};
pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use capability::{Patterns, Scan, ScanPage};
#[cfg(feature = "message-pack")]
pub use codec::MessagePack;
pub use codec::{Codec, Json};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Gap, GapReason, Message, RawEvent, Undecodable};
pub use health::{Health, HealthState};
pub use listener::{Listener, ListenerCounts, Outcome};
pub use options::{IncrementOptions, ListenOptions, SetOptions};
pub use store::Store;
pub use subscription::{RawSubscription, Subscription};
pub use time::{Expiry, Ttl, TtlMillis};

/// The longest key or channel in bytes, prefix and scope included.
pub const MAX_NAME_LEN: usize = 4096;
