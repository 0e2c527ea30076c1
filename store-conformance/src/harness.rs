//! What a driver's author provides: how to open the driver, its clock, and what can be done to it.

use std::error::Error;
use std::sync::Arc;

use store_core::StoreAdapter;
use store_core::async_trait;

use crate::clock::Clock;
use crate::codecs::Codecs;

/// The result of what a harness does.
pub type HarnessResult<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Opens a driver for the suite, and cleans up behind it.
///
/// One harness is made for each law, and is used on that law's own runtime alone: it may keep
/// connections between the cases of a law. Many harnesses exist at the same time, since tests run
/// in parallel; they may share a server, because a case touches no name that does not begin with
/// its own scope.
///
/// ```
/// use std::sync::Arc;
/// use store_conformance::{Clock, Harness, HarnessResult, async_trait};
/// # use store_conformance::reference::ReferenceDriver;
/// use store_core::StoreAdapter;
///
/// struct MyHarness {
///     first: ReferenceDriver,
/// }
///
/// #[async_trait]
/// impl Harness for MyHarness {
///     async fn open(&self, _scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
///         Ok(Arc::new(self.first.another()))
///     }
///
///     fn clock(&self) -> Clock {
///         Clock::Virtual
///     }
///
///     async fn close(&self, _scope: &str) -> HarnessResult<()> {
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// Opens a handle on the driver, with connections of its own.
    ///
    /// A law calls it once for each handle that it uses; all handles that are opened with the same
    /// `scope` see the same data. A handle may be closed or dropped at any time.
    ///
    /// # Errors
    ///
    /// Whatever keeps the driver from opening. It fails the law, and its text should say how to
    /// start what is missing.
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>>;

    /// The clock that the driver's deadlines follow.
    fn clock(&self) -> Clock;

    /// Deletes what a case made: every key that begins with `scope`, and nothing else.
    ///
    /// Called after each case, when its handles are dropped.
    ///
    /// # Errors
    ///
    /// Whatever keeps the data from being deleted. It fails the law.
    async fn close(&self, scope: &str) -> HarnessResult<()>;

    /// Whether closing a handle closes all handles of its scope, as where they are clones of one
    /// object in this process.
    fn handles_close_together(&self) -> bool {
        false
    }

    /// A reason not to run any law here and now, such as a server that is missing where that is
    /// explicitly allowed.
    ///
    /// The tests then say `SKIPPED` with this reason on standard error. A server that is merely
    /// missing is an error of [`open`](Self::open) instead.
    fn skip(&self) -> Option<String> {
        None
    }

    /// What can be done to the way between driver and backend.
    ///
    /// A law that needs it asks before it opens a handle, and no other law does; so a harness may
    /// keep the detour for those.
    ///
    /// Without it, `without: { faults = "reason" }` shows the laws that need it as ignored.
    fn faults(&self) -> Option<&dyn Faults> {
        None
    }

    /// The codecs that the laws of the group `codec` look at: those that come with the store.
    fn codecs(&self) -> Codecs {
        Codecs::default()
    }

    /// Counts what the backend holds for `scope` now, from the backend's own view.
    ///
    /// Without it, `without: { resources = "reason" }` shows the laws that need it as ignored.
    async fn live_resources(&self, _scope: &str) -> Option<LiveResources> {
        None
    }
}

/// What a backend holds for the handles of a case.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveResources {
    /// Connections, or whatever a handle costs.
    pub connections: u64,
    /// Channels and patterns with a subscriber.
    pub subscriptions: u64,
}

impl LiveResources {
    /// Makes a count.
    #[must_use]
    pub fn new(connections: u64, subscriptions: u64) -> Self {
        Self {
            connections,
            subscriptions,
        }
    }
}

/// Disturbs the way between the driver and its backend, for the handles of one harness.
#[async_trait]
pub trait Faults: Send + Sync {
    /// Cuts every open connection. New ones pass.
    async fn sever(&self);

    /// Lets nothing through, in either direction, while connections stay open.
    async fn stall(&self);

    /// Ends a stall: what was held back is delivered.
    async fn restore(&self);
}
