//! How much memory a scenario takes, measured in a process where nothing else runs.

use std::fs;

/// The memory that is in use now, from which growth is measured.
pub(crate) struct Baseline(u64);

impl Baseline {
    pub(crate) fn now() -> Self {
        // Begins a new maximum, see proc(5).
        fs::write("/proc/self/clear_refs", "5").unwrap();
        Self(kilobytes("VmRSS:"))
    }

    /// Checks that at no time since then more than `megabytes` were added.
    pub(crate) fn grew_at_most(&self, what: &str, megabytes: u64) {
        let growth = kilobytes("VmHWM:").saturating_sub(self.0);
        println!("{what}: +{} MB, of {megabytes} MB", growth / 1024);
        assert!(growth <= megabytes * 1024, "{what} took {growth} kB");
    }

    /// Checks that now not more than `megabytes` are held beyond what was.
    pub(crate) fn keeps_at_most(&self, what: &str, megabytes: u64) {
        let growth = kilobytes("VmRSS:").saturating_sub(self.0);
        println!("{what}: +{} MB kept, of {megabytes} MB", growth / 1024);
        assert!(growth <= megabytes * 1024, "{what} keeps {growth} kB");
    }
}

fn kilobytes(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap()
}
