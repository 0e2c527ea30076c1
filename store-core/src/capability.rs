//! The optional abilities of a driver, each a trait of its own.
//!
//! A driver offers one by answering `Some(self)` from the accessor in
//! [`StoreAdapter`](crate::StoreAdapter), so support and implementation cannot disagree.

use async_trait::async_trait;

use crate::error::Result;
use crate::subscription::RawSubscription;

/// Listing keys.
#[async_trait]
pub trait Scan: Send + Sync {
    /// One page of the live keys that begin with `prefix`, byte for byte.
    ///
    /// The first page has no `cursor`; the next one is asked for with the cursor that came back,
    /// until none does. It may be any text, such as the last key, but not the one that it was asked
    /// with. `page_size` is a hint, and may be 0. A cursor that the backend may not know any more, as
    /// after its restart, is refused as [`Unavailable`](crate::ErrorKind::Unavailable).
    ///
    /// A key that is there during the whole scan comes at least once; one that comes or goes
    /// meanwhile may or may not; none comes that does not begin with `prefix`.
    async fn scan_page(
        &self,
        prefix: &str,
        cursor: Option<&str>,
        page_size: usize,
    ) -> Result<ScanPage>;
}

/// One page of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// The keys of this page, in no order. May be empty before the end.
    pub keys: Vec<String>,
    /// Where the next page begins; `None` at the end. Only its driver knows what it means.
    pub cursor: Option<String>,
}

/// Subscribing to a pattern of channels.
#[async_trait]
pub trait Patterns: Send + Sync {
    /// Subscribes to every channel that `pattern` matches by the rules of
    /// [`pattern::matches`](crate::pattern::matches); resolves once the backend has confirmed it.
    ///
    /// As [`subscribe`](crate::StoreAdapter::subscribe), with the concrete channel in each
    /// message. A channel that two subscriptions match is delivered to both.
    async fn subscribe_pattern(&self, pattern: &str) -> Result<RawSubscription>;
}
