#![doc = include_str!("../README.md")]

#[doc(hidden)]
pub mod broken;
mod case;
pub mod chaos;
mod clock;
mod codecs;
mod config;
mod differential;
pub mod faults;
#[doc = include_str!("guide.md")]
pub mod guide {}
mod handle;
mod harness;
mod laws;
pub mod linearizability;
mod model;
mod outcome;
#[doc(hidden)]
pub mod reference;
mod report;
mod runner;
mod sequence;
pub mod server;
mod strategies;
mod suite;
mod timeline;

pub use clock::Clock;
#[doc(hidden)]
pub use codecs::CodecHarness;
pub use codecs::Codecs;
pub use config::Config;
pub use differential::differential;
pub use harness::{Faults, Harness, HarnessResult, LiveResources};
pub use laws::{Kind, LAWS, Law, Need};
pub use outcome::{Breach, Outcome};
pub use report::{LawResult, Report, report};
pub use runner::run_law;
pub use store_core::async_trait;
#[doc(hidden)]
pub use suite::check as __check;
