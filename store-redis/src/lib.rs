#![doc = include_str!("../README.md")]

mod backoff;
mod command;
mod connection;
mod credentials;
mod crowd;
mod driver;
mod error;
mod handshake;
mod hub;
mod lane;
mod link;
mod options;
mod permits;
mod queue;
mod readers;
mod registry;
mod reply;
mod resp;
mod ring;
mod scan;
mod scripts;
mod session;
mod supervisor;
mod task;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod url;
mod wire;

pub use credentials::Credentials;
pub use driver::RedisDriver;
pub use options::{Protocol, RedisOptions};
#[cfg(feature = "tls")]
pub use tls::TlsOptions;
