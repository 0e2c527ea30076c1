//! How long to wait before the next attempt to connect.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::error::Failure;

/// The bound of the first wait.
const FIRST: Duration = Duration::from_millis(10);
/// The bound that no wait exceeds: also the longest that a client may notice late that its server
/// is back, which is why it is no longer. An attempt costs a server that is down nothing.
const LONGEST: Duration = Duration::from_secs(1);
/// The bound after a connection that was made and was of no use: half the time of a call by default, so that
/// those behind a proxy that cuts each connection before an answer all get theirs.
const AFTER_GREETING: Duration = Duration::from_millis(250);
/// The shortest wait after a refusal: nothing is to be gained by asking sooner for what a person has
/// to change, such as a password, and it does cost the server something. The longest is twice that.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

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
        below(bound)
    }

    /// A connection has ended. If it was worth having, since it `worked` or lasted longer than the
    /// wait that would come next, waits begin anew. One to a server that greets and hangs up was not,
    /// though there is a server.
    pub(crate) fn ended(&mut self, worked: bool, lasted: Duration) {
        if worked || lasted > self.bound {
            *self = Self::new();
        }
        self.bound = self.bound.min(AFTER_GREETING);
    }

    /// The next wait after an attempt that failed with `failure`.
    pub(crate) fn next_wait_after(&mut self, failure: &Failure) -> Duration {
        if failure.is_refusal {
            return AFTER_REFUSAL + below(AFTER_REFUSAL);
        }
        self.next_wait()
    }
}

/// A random duration up to `bound`.
fn below(bound: Duration) -> Duration {
    // A fresh `RandomState` is seeded differently each time; that is random enough for jitter.
    let random = RandomState::new().hash_one(bound);
    bound.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error;
    use crate::options::RedisOptions;

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
    fn only_a_connection_that_was_worth_having_shortens_the_waits() {
        let grown = || {
            let mut backoff = Backoff::new();
            for _ in 0..20 {
                backoff.next_wait();
            }
            assert_eq!(backoff.bound, LONGEST);
            backoff
        };
        for (worked, lasted, bound) in [
            (false, Duration::ZERO, AFTER_GREETING),
            (false, LONGEST, AFTER_GREETING),
            (false, LONGEST * 2, FIRST),
            (true, Duration::ZERO, FIRST),
        ] {
            let mut backoff = grown();
            backoff.ended(worked, lasted);
            assert_eq!(backoff.bound, bound, "{worked} {lasted:?}");
        }
    }

    #[test]
    fn a_server_that_hangs_up_each_time_is_asked_less_and_less_but_within_the_time_of_a_call() {
        let mut backoff = Backoff::new();
        for bound in [10, 20, 40, 80, 160, 250, 250, 250].map(Duration::from_millis) {
            backoff.ended(false, FIRST / 2);
            assert_eq!(backoff.bound, bound);
            backoff.next_wait();
        }
    }

    #[test]
    fn who_is_refused_asks_less_than_twice_a_second() {
        let options = RedisOptions::new();
        let refused = error::handshake_refused(&options, None, "WRONGPASS", "");
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            let wait = backoff.next_wait_after(&refused);
            assert!(AFTER_REFUSAL <= wait && wait <= 2 * AFTER_REFUSAL);
        }
        // The name may lead elsewhere soon.
        assert!(backoff.next_wait_after(&error::replica(&options)) <= FIRST);
    }

    #[test]
    fn two_clients_do_not_wait_alike() {
        let waits = || {
            let mut backoff = Backoff::new();
            [(); 8].map(|()| backoff.next_wait())
        };
        assert_ne!(waits(), waits());
        let refused = error::handshake_refused(&RedisOptions::new(), None, "WRONGPASS", "");
        let waits = || {
            let mut backoff = Backoff::new();
            [(); 8].map(|()| backoff.next_wait_after(&refused))
        };
        assert_ne!(waits(), waits());
    }
}
