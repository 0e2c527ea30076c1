//! User profiles over HTTP, read from SQLite through a cache in each process.
//!
//! Several processes serve one database. A process that changes a role says so on a channel, and
//! all of them forget the profile. [`profiles`] says what that promises.

pub mod app;
pub mod db;
pub mod profiles;

/// Whatever goes wrong behind the API.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
