#![doc = include_str!("../README.md")]

mod backoff;
mod command;
mod driver;
mod error;
mod hub;
mod link;
mod options;
mod registry;
mod reply;
mod resp;
mod ring;
mod scan;
mod scripts;
mod transport;
mod url;

pub use driver::RedisDriver;
pub use options::{Protocol, RedisOptions};
