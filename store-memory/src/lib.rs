//! The in-memory driver of igniter-store: entries with deadlines on tokio's clock, and channels.

mod channels;
mod clock;
mod driver;
mod entries;
mod expiry;
mod options;
mod slot;
mod stripe;
mod table;
mod turn;

pub use driver::MemoryDriver;
pub use options::MemoryOptions;

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
