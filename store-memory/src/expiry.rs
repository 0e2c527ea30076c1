//! The sweeper: a thread that frees the memory of expired entries.
//!
//! A thread and not a task, for three reasons: it depends on no runtime and so outlives the one of
//! a single test; it keeps no tokio timer, to which a paused clock would jump whenever the runtime
//! has nothing to do; and a large sweep takes no time from the tasks of a runtime.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::entries::Entries;

/// How long the thread rests for each entry that it looked at in vain, where that is longer than
/// the interval. Looking takes a few nanoseconds, so sweeping stays below a tenth of one core.
const REST_PER_KEPT_ENTRY: Duration = Duration::from_nanos(50);

/// Starts the thread when the first deadline is set, and stops it when it is dropped.
#[derive(Debug)]
pub(crate) struct Sweeper {
    gate: Arc<Gate>,
    interval: Duration,
}

/// What the thread and the driver share.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// How often a deadline was set that was the earliest of its stripe.
    wakes: u64,
    /// How often the thread has swept.
    rounds: u64,
    /// The runtime of the latest such deadline: the thread reads the time from its clock, which
    /// may be paused. A handle does not keep a runtime running.
    runtime: Option<Handle>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    NotStarted,
    /// Sweeps at every interval.
    Sweeping,
    /// Waits until there is a deadline.
    Idle,
    Stopped,
}

impl Sweeper {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            gate: Arc::default(),
            interval,
        }
    }

    /// Sees to it that the thread runs. Called after a deadline was noted.
    pub(crate) fn wake(&self, entries: &Weak<Entries>) {
        let runtime = Handle::try_current().ok();
        let mut state = self.gate.lock();
        if state.phase == Phase::Stopped {
            return;
        }
        state.wakes += 1;
        state.runtime = runtime;
        match state.phase {
            Phase::NotStarted => {
                let (gate, entries) = (Arc::clone(&self.gate), Weak::clone(entries));
                let interval = self.interval;
                let thread = thread::Builder::new().name("store-memory-sweep".to_owned());
                // Without a thread expired entries are absent all the same; only their memory
                // is not freed, until the next deadline finds one to be had.
                if thread.spawn(move || run(&gate, &entries, interval)).is_ok() {
                    state.phase = Phase::Sweeping;
                }
            }
            Phase::Idle => {
                state.phase = Phase::Sweeping;
                self.gate.changed.notify_all();
            }
            Phase::Sweeping | Phase::Stopped => {}
        }
    }

    /// Ends the thread, for ever, without waiting for it.
    pub(crate) fn stop(&self) {
        let mut state = self.gate.lock();
        state.phase = Phase::Stopped;
        state.runtime = None;
        self.gate.changed.notify_all();
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rests; answers the state that the next round starts from, or `None` to stop.
    fn rest(&self, rest: Duration) -> Option<(u64, Option<Handle>)> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), rest, |state| state.phase != Phase::Stopped)
            .unwrap_or_else(PoisonError::into_inner);
        (state.phase != Phase::Stopped).then(|| (state.wakes, state.runtime.clone()))
    }

    /// Ends a round; if there was no deadline left, waits until one is set.
    ///
    /// One that was set after the round had begun shows in `wakes`, however late it was noticed.
    fn finish_round(&self, wakes_before: u64, has_deadlines: bool) {
        let mut state = self.lock();
        state.rounds += 1;
        if !has_deadlines && state.wakes == wakes_before && state.phase == Phase::Sweeping {
            state.phase = Phase::Idle;
            state.runtime = None;
        }
        self.changed.notify_all();
        let _state = self
            .changed
            .wait_while(state, |state| state.phase == Phase::Idle)
            .unwrap_or_else(PoisonError::into_inner);
    }
}

fn run(gate: &Gate, entries: &Weak<Entries>, interval: Duration) {
    let mut rest = interval;
    while let Some((wakes, runtime)) = gate.rest(rest) {
        let Some(entries) = entries.upgrade() else {
            return;
        };
        let swept = {
            let _context = runtime.as_ref().map(Handle::enter);
            entries.sweep()
        };
        drop(runtime);
        let in_vain = u32::try_from(swept.kept).unwrap_or(u32::MAX);
        rest = interval.max(REST_PER_KEPT_ENTRY.saturating_mul(in_vain));
        let has_deadlines = entries.has_deadlines();
        // Before waiting: the driver may be gone, and this the last to hold the entries.
        drop(entries);
        gate.finish_round(wakes, has_deadlines);
    }
}

#[cfg(test)]
impl Sweeper {
    /// Waits until `holds` after a round, ten seconds at most; answers whether it came true.
    fn wait_until(&self, holds: impl Fn(Phase, u64) -> bool) -> bool {
        let (state, _) = self
            .gate
            .changed
            .wait_timeout_while(self.gate.lock(), Duration::from_secs(10), |state| {
                !holds(state.phase, state.rounds)
            })
            .unwrap_or_else(PoisonError::into_inner);
        holds(state.phase, state.rounds)
    }
}

#[cfg(test)]
mod tests;
