//! A driver with a connection that can be lost, in one process and on the virtual clock, and what
//! drivers do wrong when it is.

mod listening;
mod remote;

use std::sync::Arc;

use store_core::{StoreAdapter, async_trait};
use tokio::sync::watch;

use super::Broken;
use crate::clock::Clock;
use crate::harness::{Faults, Harness, HarnessResult, LiveResources};
use crate::reference::ReferenceHarness;
use remote::Remote;

/// What this driver does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    WaitsForEver,
    TimeoutIsUnavailable,
    TimeoutIsOther,
    SendsAgain,
    HappensMuchLater,
    TimeoutIsSuccess,
    NeverResubscribes,
    ForgetsPatterns,
    NoGap,
    GapComesLate,
    StreamEnds,
    TwiceAfterReconnect,
}

macro_rules! flawed {
    ($($name:ident: $text:literal, [$($law:literal),+], $flaw:ident;)*) => {
        pub(super) const DRIVERS: &[Broken] = &[$(
            Broken {
                name: stringify!($name),
                flaw: $text,
                killed_by: &[$($law),+],
                without: &[],
                make: || Arc::new(NetworkHarness::with(Flaw::$flaw)),
            },
        )*];
    };
}

flawed! {
    frozen_calls_wait: "a call on a frozen connection waits until it thaws",
        ["concurrency::timeout_is_indeterminate"], WaitsForEver;
    timeout_is_unavailable: "a call that may still happen is reported as not applied",
        ["concurrency::timeout_is_indeterminate"], TimeoutIsUnavailable;
    timeout_is_backend: "a timeout has a kind that says nothing",
        ["concurrency::timeout_is_indeterminate"], TimeoutIsOther;
    timeout_is_sent_again: "an increment without answer is sent again in the background",
        ["concurrency::timeout_is_indeterminate"], SendsAgain;
    timed_out_calls_happen_later: "a call without answer happens long after its caller was told",
        ["concurrency::timeout_is_indeterminate"], HappensMuchLater;
    timeout_is_success: "a write without answer is reported as done",
        ["concurrency::timeout_is_indeterminate"], TimeoutIsSuccess;
    never_resubscribes: "subscriptions stay silent after a lost connection",
        ["pubsub::reconnect_resubscribes"], NeverResubscribes;
    forgets_patterns: "only channels are subscribed again after a lost connection",
        ["pubsub::reconnect_resubscribes"], ForgetsPatterns;
    reconnects_without_a_gap: "a lost connection is not reported",
        ["pubsub::gap_is_reported"], NoGap;
    reconnect_gap_comes_late: "the gap comes after the first message of the new connection",
        ["pubsub::gap_is_reported"], GapComesLate;
    stream_ends_with_the_connection: "a subscription ends when its connection is lost",
        ["pubsub::reconnect_resubscribes", "pubsub::gap_is_reported"], StreamEnds;
    twice_after_reconnect: "after a reconnect messages are delivered twice",
        ["pubsub::gap_is_reported"], TwiceAfterReconnect;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Link {
    /// Grows whenever all connections are cut.
    generation: u64,
    stalled: bool,
}

/// The harness of a reference driver behind a connection.
#[derive(Debug)]
pub struct NetworkHarness {
    reference: ReferenceHarness,
    link: watch::Sender<Link>,
    flaw: Flaw,
}

impl NetworkHarness {
    /// One that does nothing wrong.
    #[must_use]
    pub fn healthy() -> Self {
        Self::with(Flaw::None)
    }

    fn with(flaw: Flaw) -> Self {
        Self {
            reference: ReferenceHarness::default(),
            link: watch::Sender::default(),
            flaw,
        }
    }
}

#[async_trait]
impl Harness for NetworkHarness {
    async fn open(&self, scope: &str) -> HarnessResult<Arc<dyn StoreAdapter>> {
        let inner = self.reference.driver(scope);
        Ok(Arc::new(Remote::new(
            inner,
            self.link.subscribe(),
            self.flaw,
        )))
    }

    fn clock(&self) -> Clock {
        self.reference.clock()
    }

    async fn close(&self, scope: &str) -> HarnessResult<()> {
        self.restore().await;
        self.reference.close(scope).await
    }

    fn faults(&self) -> Option<&dyn Faults> {
        Some(self)
    }

    async fn live_resources(&self, scope: &str) -> Option<LiveResources> {
        self.reference.live_resources(scope).await
    }
}

#[async_trait]
impl Faults for NetworkHarness {
    async fn sever(&self) {
        self.link.send_modify(|link| link.generation += 1);
    }

    async fn stall(&self) {
        self.link.send_modify(|link| link.stalled = true);
    }

    async fn restore(&self) {
        self.link.send_modify(|link| link.stalled = false);
    }
}
