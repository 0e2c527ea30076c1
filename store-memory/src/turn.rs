//! Turns: whoever does much without waiting lets other tasks go first now and then.
//!
//! Tokio gives a task 128 units for each turn, and reckons with operations on sockets. Those in
//! memory take a fraction of the time, and a turn costs as much as many of them, so a unit is worth
//! several.

use std::cell::Cell;

use tokio::task::coop;

/// An operation on one key.
pub(crate) const ONE_KEY: usize = 1;

/// Sending a message, and receiving one. That they are the same lets subscribers that do nothing
/// else keep up with a publisher on the same thread; and at half of a ring of the default capacity
/// for each turn, none is missed.
pub(crate) const MESSAGE: usize = 4;

/// The work that is worth a unit.
const UNIT: usize = 16;

thread_local! {
    /// The work on this thread that no task has given a unit for yet. Of one that goes on without
    /// waiting, all of it counts.
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// Counts work that is about to be done, and yields if the task has had its share of the thread.
///
/// A batch is done in one go, so it is one unit at most.
pub(crate) async fn take(work: usize) {
    let open = OPEN.get().saturating_add(work);
    OPEN.set(open % UNIT);
    if open >= UNIT {
        coop::consume_budget().await;
    }
}
