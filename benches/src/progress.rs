//! Shows on standard error what is being measured.

use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

/// Where a run is.
pub struct Progress {
    began: Instant,
    terminal: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            terminal: stderr().is_terminal(),
        }
    }

    /// A new area, or a step of it that is not a comparison.
    pub fn step(&self, text: &str) {
        self.line(&format!("{text}\n"));
    }

    /// Round 0 is the one to warm up.
    pub fn round(&self, title: &str, round: usize, rounds: usize) {
        // A log would have a line for each.
        if self.terminal {
            self.line(&format!("  {title}: round {round} of {rounds}"));
        }
    }

    pub fn done(&self, title: &str) {
        self.line(&format!("  {title}\n"));
    }

    fn line(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let seconds = self.began.elapsed().as_secs();
        let mut out = stderr().lock();
        // Progress that cannot be shown is no reason to stop measuring.
        let _shown = write!(out, "{clear}{seconds:4} s {text}").and_then(|()| out.flush());
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
