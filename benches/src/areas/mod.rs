//! What is measured, one file an area.

use anyhow::Result;

use crate::report::Report;
use crate::settings::Settings;

pub mod batch;
pub mod bytes;
pub mod expiry;
pub mod growth;
pub mod memory;
pub mod publish;
pub mod redis;
pub mod redis_batch;
pub mod redis_pubsub;

/// Something that is measured as one section of the report.
pub struct Area {
    pub name: &'static str,
    /// What is measured, in a sentence or two for the report.
    pub about: &'static str,
    pub run: fn(&Settings, &mut Report) -> Result<()>,
}

/// In the order in which they run.
pub const ALL: &[Area] = &[
    Area {
        name: "memory",
        about: memory::ABOUT,
        run: memory::run,
    },
    Area {
        name: "bytes",
        about: bytes::ABOUT,
        run: bytes::run,
    },
    Area {
        name: "expiry",
        about: expiry::ABOUT,
        run: expiry::run,
    },
    Area {
        name: "publish",
        about: publish::ABOUT,
        run: publish::run,
    },
    Area {
        name: "batch",
        about: batch::ABOUT,
        run: batch::run,
    },
    Area {
        name: "redis",
        about: redis::ABOUT,
        run: redis::run,
    },
    Area {
        name: "redis-batch",
        about: redis_batch::ABOUT,
        run: redis_batch::run,
    },
    Area {
        name: "redis-pubsub",
        about: redis_pubsub::ABOUT,
        run: redis_pubsub::run,
    },
    Area {
        name: "growth",
        about: growth::ABOUT,
        run: growth::run,
    },
];
