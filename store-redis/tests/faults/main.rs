//! What the driver promises when its server or the network fails, against servers that are made to
//! fail. The number of each fault is in the comment of its tests; those that measure memory, or have
//! a name of their own, need Linux.
//!
//! Per counter, `a` increments were acknowledged, `m` are in doubt and `v` is the value at the end:
//! `a <= v <= a + m` holds in every test that writes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers outside of test functions end a test as its assertions do"
)]

#[cfg(target_os = "linux")]
mod absence;
mod answers;
mod counter;
mod credentials;
mod dropped;
mod ends;
mod follower;
#[cfg(target_os = "linux")]
mod hosts;
mod load;
mod losses;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod names;
mod numbers;
#[cfg(target_os = "linux")]
mod process;
mod refusals;
mod roles;
mod scripts;
#[cfg(target_os = "linux")]
mod silence;
#[cfg(target_os = "linux")]
mod slow_reader;
mod subscriptions;
mod support;
