//! How long to wait before the next attempt to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(10);
/// The bound that no wait exceeds: also the longest that a client may notice late that its server
/// is back.
const LONGEST: Duration = Duration::from_secs(1);

/// Exponential backoff with full jitter, so that many clients do not come back at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { bound: FIRST }
    }

    /// The next wait: evenly distributed below a bound that doubles each time.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(LONGEST);
        // A fresh `RandomState` is seeded differently each time; that is random enough for jitter.
        let random = RandomState::new().hash_one(bound);
        bound.mul_f64(random as f64 / u64::MAX as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_no_further() {
        let mut backoff = Backoff::new();
        let mut bound = FIRST;
        for _ in 0..20 {
            assert!(backoff.next_wait() <= bound);
            bound = (bound * 2).min(LONGEST);
        }
        assert_eq!(backoff.bound, LONGEST);
    }

    #[test]
    fn two_clients_do_not_wait_alike() {
        let waits = || {
            let mut backoff = Backoff::new();
            [(); 8].map(|()| backoff.next_wait())
        };
        assert_ne!(waits(), waits());
    }
}
