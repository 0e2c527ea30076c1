//! Drivers that lack something, say so, and then answer as if they had it.

use futures_util::stream;
use store_core::{
    Condition, Error, Expiry, RawSubscription, Result, ScanPage, StoreAdapter, Ttl, TtlMillis,
};

use super::Broken;
use super::twist::{twisted, twists};
use crate::reference::ReferenceDriver;

const LAWS: &[&str] = &["driver::absent_capability_refuses"];

pub(super) const DRIVERS: &[Broken] = &[
    Broken {
        name: "absent_scan_is_empty",
        flaw: "a driver that cannot scan answers that there is nothing",
        killed_by: LAWS,
        without: &["scan"],
        make: || twisted(EmptyScan::default()),
    },
    Broken {
        name: "absent_patterns_are_silent",
        flaw: "a driver without patterns answers a subscription that gets nothing",
        killed_by: LAWS,
        without: &["patterns"],
        make: || twisted(SilentPatterns::default()),
    },
    Broken {
        name: "absent_ttl_spoils_the_value",
        flaw: "a driver without deadlines refuses to expire, and the value is gone",
        killed_by: LAWS,
        without: &["ttl"],
        make: || twisted(RefusalDeletes::default()),
    },
];

fn refused<T>() -> Result<T> {
    Err(Error::unsupported("broken", "deadlines"))
}

twists! {
    EmptyScan => {
        async fn scan_page(&self, _: &ReferenceDriver, _: &str, _: Option<&str>, _: usize) -> Result<ScanPage> {
            Ok(ScanPage::default())
        }
    }
    SilentPatterns => {
        async fn subscribe_pattern(&self, _: &ReferenceDriver, _: &str) -> Result<RawSubscription> {
            Ok(RawSubscription::new(stream::pending()))
        }
    }
    RefusalDeletes => {
        async fn set(&self, inner: &ReferenceDriver, key: &str, value: &[u8], expiry: Expiry, condition: Condition<'_>) -> Result<bool> {
            match expiry {
                Expiry::After(_) => refused(),
                _ => inner.set(key, value, expiry, condition).await,
            }
        }
        async fn expire(&self, inner: &ReferenceDriver, key: &str, _: TtlMillis) -> Result<bool> {
            inner.delete(key).await?;
            refused()
        }
        async fn persist(&self, _: &ReferenceDriver, _: &str) -> Result<bool> {
            refused()
        }
        async fn ttl(&self, _: &ReferenceDriver, _: &str) -> Result<Ttl> {
            refused()
        }
    }
}
