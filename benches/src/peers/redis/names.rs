//! The keys of the work on Redis.
//!
//! Separate from those in memory: redis-benchmark and the script for Node must name the same ones.

use std::sync::Arc;

/// The key of the user with this number, as redis-benchmark writes `user:__rand_int__`.
pub fn key(id: usize) -> String {
    format!("user:{id:012}")
}

/// A key that nobody writes.
pub fn absent(id: usize) -> String {
    format!("nobody:{id:012}")
}

/// The key of a counter.
pub fn counter(id: usize) -> String {
    format!("count:{id:012}")
}

/// The first `count` keys of a kind, made once, so that naming them is in nobody's time.
pub fn all(name: fn(usize) -> String, count: usize) -> Arc<[String]> {
    (0..count).map(name).collect()
}
