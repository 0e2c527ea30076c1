//! The operations on counters.

use crate::codec::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::options::IncrementOptions;
use crate::store::{During, Store};
use crate::time::TtlMillis;

impl<C: Codec> Store<C> {
    /// Adds one to a counter and answers the count. An absent counter starts from 0.
    ///
    /// A counter is read with [`get::<i64>`](Self::get), and an integer that was
    /// [`set`](Self::set) is a counter, under every codec. The deadline of the key stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongType`] if the value is not an integer, [`ErrorKind::Overflow`] if the sum
    /// is not an `i64`. Value and deadline stay as they were.
    #[doc(alias = "incr")]
    pub async fn increment(&self, key: &str) -> Result<i64> {
        self.count("increment", key, 1, None).await
    }

    /// Adds `by`, which may be negative or zero, to a counter and answers the sum.
    ///
    /// # Errors
    ///
    /// As [`increment`](Self::increment).
    #[doc(alias = "incrby")]
    pub async fn increment_by(&self, key: &str, by: i64) -> Result<i64> {
        self.count("increment", key, by, None).await
    }

    /// Counts as `options` say, for example with a ttl for a counter that this call creates.
    ///
    /// Creating the counter and giving it its ttl are one atomic step, so that no counter is left
    /// without one.
    ///
    /// # Errors
    ///
    /// As [`increment`](Self::increment), and [`ErrorKind::InvalidInput`] if the ttl is out of
    /// range.
    pub async fn increment_with(&self, key: &str, options: IncrementOptions) -> Result<i64> {
        let initial_ttl = options
            .initial_ttl
            .map(TtlMillis::new)
            .transpose()
            .during("increment", key)?;
        self.count("increment", key, options.by, initial_ttl).await
    }

    /// Takes one from a counter and answers the count.
    ///
    /// # Errors
    ///
    /// As [`increment`](Self::increment).
    #[doc(alias = "decr")]
    pub async fn decrement(&self, key: &str) -> Result<i64> {
        self.count("decrement", key, -1, None).await
    }

    /// Takes `by` from a counter and answers the difference.
    ///
    /// # Errors
    ///
    /// As [`increment`](Self::increment). `i64::MIN` has no negative and is always
    /// [`ErrorKind::Overflow`].
    #[doc(alias = "decrby")]
    pub async fn decrement_by(&self, key: &str, by: i64) -> Result<i64> {
        let negative = by
            .checked_neg()
            .ok_or_else(|| Error::new(ErrorKind::Overflow, "i64::MIN has no negative to be added"));
        self.count("decrement", key, negative.during("decrement", key)?, None)
            .await
    }

    async fn count(
        &self,
        operation: &'static str,
        key: &str,
        delta: i64,
        initial_ttl: Option<TtlMillis>,
    ) -> Result<i64> {
        let name = self.key(operation, key)?;
        let sum = self.adapter.increment(&name, delta, initial_ttl).await;
        sum.during(operation, key)
    }
}
