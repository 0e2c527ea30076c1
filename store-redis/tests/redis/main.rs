//! The driver against servers: real ones, and one that misbehaves.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers outside of test functions end a test as its assertions do"
)]

mod acl;
mod commands;
mod connection;
mod credentials;
mod in_flight;
mod keys;
mod refusals;
mod roles;
mod silence;
mod subscriptions;
mod support;
#[cfg(feature = "tls")]
mod tls;
