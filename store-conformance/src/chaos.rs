//! A driver that fails on purpose, around any other driver, for the tests of applications.
//!
//! It is a driver itself, so an application meets what a network does to it without a network.

mod adapter;
mod dice;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use store_core::{Error, ErrorKind, Gap, GapReason, RawEvent, RawSubscription, Result};

use dice::Dice;
use futures_util::StreamExt;

/// A wrapper that lets calls of a driver fail, hang for a while, or happen without an answer, and
/// lets messages get lost.
///
/// Each fault has a probability in thousandths, none by default. The same seed gives the n-th call
/// the same fate, and the n-th message of the n-th subscription; between tasks, n follows the order
/// in which they get to run. A message that is lost is replaced by a
/// [`Gap`], since no driver may lose one silently. `health` and `close` never fail.
///
/// ```
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use store_conformance::chaos::Chaos;
/// use store_conformance::reference::ReferenceDriver;
/// use store_core::{ErrorKind, StoreAdapter};
///
/// let driver = Chaos::new(ReferenceDriver::new(), 42).unavailable(300).answer_lost(100);
/// let faults = driver.control();
///
/// let mut acknowledged = 0;
/// let mut unknown = 0;
/// for _ in 0..1_000 {
///     match driver.increment("views", 1, None).await {
///         Ok(_) => acknowledged += 1,
///         Err(error) if error.kind() == ErrorKind::Indeterminate => unknown += 1,
///         Err(error) => assert!(error.is_retryable()),
///     }
/// }
/// faults.pause();
/// let views = driver.increment("views", 0, None).await?;
/// assert!((acknowledged..=acknowledged + unknown).contains(&views));
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
/// #     .block_on(run()).unwrap();
/// ```
#[derive(Debug)]
pub struct Chaos<D> {
    inner: D,
    faults: Faults,
    dice: Dice,
    control: ChaosControl,
    seed: u64,
    subscriptions: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    unavailable: u16,
    request_lost: u16,
    answer_lost: u16,
    delayed: u16,
    longest_delay: Duration,
    message_lost: u16,
}

/// What is done to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Unavailable,
    RequestLost,
    AnswerLost,
}

impl<D> Chaos<D> {
    /// Wraps `inner`; without further settings nothing fails.
    pub fn new(inner: D, seed: u64) -> Self {
        Self {
            inner,
            faults: Faults::default(),
            dice: Dice::new(seed),
            control: ChaosControl::default(),
            seed,
            subscriptions: AtomicU64::new(0),
        }
    }

    /// Lets so many calls in a thousand fail with [`ErrorKind::Unavailable`], not applied.
    #[must_use]
    pub fn unavailable(mut self, per_mille: u16) -> Self {
        self.faults.unavailable = per_mille;
        self
    }

    /// Lets so many calls in a thousand fail with [`ErrorKind::Indeterminate`], not applied.
    #[must_use]
    pub fn request_lost(mut self, per_mille: u16) -> Self {
        self.faults.request_lost = per_mille;
        self
    }

    /// Lets so many calls in a thousand fail with [`ErrorKind::Indeterminate`], applied.
    #[must_use]
    pub fn answer_lost(mut self, per_mille: u16) -> Self {
        self.faults.answer_lost = per_mille;
        self
    }

    /// Delays so many calls in a thousand by up to `longest`, on tokio's clock.
    #[must_use]
    pub fn delayed(mut self, per_mille: u16, longest: Duration) -> Self {
        self.faults.delayed = per_mille;
        self.faults.longest_delay = longest;
        self
    }

    /// Replaces so many messages in a thousand by a [`Gap`].
    #[must_use]
    pub fn message_lost(mut self, per_mille: u16) -> Self {
        self.faults.message_lost = per_mille;
        self
    }

    /// A switch for the faults that stays with the test when the driver moves into a store.
    pub fn control(&self) -> ChaosControl {
        self.control.clone()
    }

    /// The wrapped driver.
    pub fn inner(&self) -> &D {
        &self.inner
    }

    fn next_fate(&self) -> (Option<Duration>, Fate) {
        let faults = self.faults;
        // Always the same number of throws, so that one setting does not shift another's fates.
        let (first, second, third) = (self.dice.throw(), self.dice.throw(), self.dice.throw());
        if self.control.is_paused() {
            return (None, Fate::Pass);
        }
        let delay = (per_mille(first) < faults.delayed).then(|| {
            let share = second as f64 / u64::MAX as f64;
            faults.longest_delay.mul_f64(share)
        });
        let mut place = per_mille(third);
        let mut falls_in = |width: u16| {
            let inside = place < width;
            place = place.saturating_sub(width);
            inside
        };
        let fate = if falls_in(faults.unavailable) {
            Fate::Unavailable
        } else if falls_in(faults.request_lost) {
            Fate::RequestLost
        } else if falls_in(faults.answer_lost) {
            Fate::AnswerLost
        } else {
            Fate::Pass
        };
        (delay, fate)
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let (delay, fate) = self.next_fate();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        match fate {
            Fate::Pass => return call.await,
            Fate::Unavailable => {
                self.control.count();
                return Err(Error::new(ErrorKind::Unavailable, "chaos: not sent"));
            }
            Fate::RequestLost => {}
            Fate::AnswerLost => {
                // Whatever the answer is, it is on its way for ever.
                let _ = call.await;
            }
        }
        self.control.count();
        Err(Error::new(ErrorKind::Indeterminate, "chaos: no answer"))
    }

    fn lossy(&self, subscription: RawSubscription) -> RawSubscription {
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        let dice = Dice::new(self.seed ^ (number + 1).rotate_left(32));
        let (lost, control) = (self.faults.message_lost, self.control());
        RawSubscription::new(subscription.map(move |event| {
            let is_lost = per_mille(dice.throw()) < lost && !control.is_paused();
            match event {
                RawEvent::Message { .. } if is_lost => {
                    control.count();
                    RawEvent::Gap(Gap::counted(GapReason::Reconnected, 1))
                }
                event => event,
            }
        }))
    }
}

fn per_mille(throw: u64) -> u16 {
    (throw % 1_000) as u16
}

/// Turns the faults of a [`Chaos`] off and on, and counts them. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct ChaosControl(Arc<Control>);

#[derive(Debug, Default)]
struct Control {
    paused: AtomicBool,
    faults: AtomicU64,
}

impl ChaosControl {
    /// Lets everything pass from now on.
    pub fn pause(&self) {
        self.0.paused.store(true, Ordering::SeqCst);
    }

    /// Lets faults happen again.
    pub fn resume(&self) {
        self.0.paused.store(false, Ordering::SeqCst);
    }

    /// Whether nothing fails now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::SeqCst)
    }

    /// How many calls failed and messages were lost.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::SeqCst)
    }

    fn count(&self) {
        self.0.faults.fetch_add(1, Ordering::SeqCst);
    }
}
