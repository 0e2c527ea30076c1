//! igniter-store measured beside its peers, on the same work, in interleaved rounds.

#[cfg(feature = "peers")]
pub mod areas;
#[cfg(feature = "peers")]
pub mod charts;
#[cfg(feature = "peers")]
pub mod child;
pub mod compare;
#[cfg(feature = "peers")]
pub mod goals;
pub mod hot_paths;
#[cfg(feature = "peers")]
pub mod line;
#[cfg(feature = "peers")]
pub mod machine;
#[cfg(feature = "peers")]
pub mod peers;
#[cfg(feature = "peers")]
pub mod plot;
pub mod progress;
#[cfg(feature = "peers")]
pub mod report;
pub mod server;
#[cfg(feature = "peers")]
pub mod settings;
pub mod statistics;
pub mod work;
