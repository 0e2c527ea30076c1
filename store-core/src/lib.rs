//! The typed store handle, the adapter trait that drivers implement, and the codecs.

mod adapter;
mod capability;
mod error;
mod event;
mod health;
pub mod pattern;
mod subscription;
mod time;

pub use adapter::{Condition, StoreAdapter};
pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use capability::{Patterns, Scan, ScanPage};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Gap, GapReason, Message, RawEvent, Undecodable};
pub use health::{Health, HealthState};
pub use subscription::{RawSubscription, Subscription};
pub use time::{Expiry, Ttl, TtlMillis};

/// The longest key or channel in bytes, prefix and scope included.
pub const MAX_NAME_LEN: usize = 4096;
