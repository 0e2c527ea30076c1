//! The driver against servers: real ones, and one that misbehaves.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers outside of test functions end a test as its assertions do"
)]

mod commands;
mod connection;
mod subscriptions;
mod support;
