//! Those who do the work.

pub mod expiring;
pub mod memory;
pub mod publishing;
pub mod redis;
