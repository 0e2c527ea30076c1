//! Turns: whoever does much without waiting lets other tasks go first now and then.
//!
//! Tokio gives a task 128 units for each turn, and reckons with operations on sockets. Those in
//! memory take a fraction of the time, and a turn costs as much as many of them, so a unit is worth
//! several.

use std::cell::Cell;

use tokio::task::coop;

/// An operation on one key.
pub(crate) const ONE_KEY: usize = 1;

/// The work that is worth a unit.
const UNIT: usize = 16;

/// The units of a turn, as tokio has it.
const TURN: usize = 128;

/// The work of sending a message, and of receiving one, on a ring of this capacity.
///
/// A turn is half of a ring, but not less than 128 messages, as by tokio's own count. So
/// subscribers that do nothing else keep up with a publisher on the same thread.
pub(crate) fn message(capacity: usize) -> usize {
    (2 * TURN * UNIT / capacity.max(1)).clamp(1, UNIT)
}

thread_local! {
    /// The work on this thread that no task has given a unit for yet. Of one that goes on without
    /// waiting, all of it counts.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// Counts work that is about to be done, and yields if the task has had its share of the thread:
/// after 2,048 times the work of one key.
pub(crate) async fn take(work: usize) {
    let open = OPEN.get().saturating_add(work);
    OPEN.set(open % UNIT);
    // What is done in one go is one turn at most.
    for _ in 0..(open / UNIT).min(TURN) {
        coop::consume_budget().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_half_of_a_ring_and_not_less_than_tokios() {
        let turns = [1, 128, 256, 1024, 4096, 1 << 20].map(|ring| TURN * UNIT / message(ring));
        assert_eq!(turns, [128, 128, 128, 512, 2048, 2048]);
    }
}
