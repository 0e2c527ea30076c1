//! Turns: whoever does much without waiting lets other tasks go first now and then.
//!
//! Tokio gives a task 128 units for each turn, and reckons with operations on sockets. Those in
//! memory take a fraction of the time, and a turn costs as much as many of them, so a unit is worth
//! several.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// An operation on one key.
pub(crate) const ONE_KEY: usize = 1;

/// The work that is worth a unit.
const UNIT: usize = 64;

/// The units of a turn, as tokio has it.
const TURN: usize = 128;

/// How many messages are a turn, on a ring of this capacity: a power of two.
///
/// Half of the ring, so that subscribers that do nothing else keep up with a publisher on the same
/// thread.
pub(crate) fn messages(capacity: usize) -> usize {
    // Tokio makes a ring as long as the next power of two.
    (capacity.next_power_of_two() / 2).max(1)
}

/// The work of receiving a message from a ring of this capacity: not more than a unit, as tokio has
/// it.
pub(crate) fn message(capacity: usize) -> usize {
    (TURN * UNIT / messages(capacity)).clamp(1, UNIT)
}

thread_local! {
    /// The work on this thread that no task has given a unit for yet. Of one that goes on without
    /// waiting, all of it counts.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// Counts work that is about to be done, and answers what the task has to wait for first: nothing,
/// unless it has had its share of the thread.
#[inline]
pub(crate) fn take(work: usize) -> Turn {
    let open = OPEN.get().saturating_add(work);
    OPEN.set(open % UNIT);
    // What is done in one go is one turn at most.
    Turn {
        units: (open / UNIT).min(TURN),
    }
}

/// Gives units to tokio, and yields where the task has none left.
#[must_use]
pub(crate) struct Turn {
    units: usize,
}

impl Future for Turn {
    type Output = ();

    // Most often there is nothing to give, which must cost next to nothing.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.units == 0 {
            return Poll::Ready(());
        }
        self.give(cx)
    }
}

impl Turn {
    /// Whether there is nothing to wait for.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.units == 0
    }

    fn give(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.units > 0 {
            ready!(pin!(coop::consume_budget()).poll(cx));
            self.units -= 1;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_half_of_a_ring() {
        let rings = [1, 2, 100, 1024, 4096, 1 << 20];
        assert_eq!(rings.map(messages), [1, 1, 64, 512, 2048, 1 << 19]);
        assert_eq!(rings.map(message), [64, 64, 64, 16, 4, 1]);
    }
}
