//! How much memory a scenario takes, measured in a process where nothing else runs.

use std::fs;
use std::io;

/// The memory that is in use now, from which growth is measured.
pub(crate) struct Baseline(u64);

impl Baseline {
    pub(crate) fn now() -> io::Result<Self> {
        // Begins a new maximum, see proc(5).
        fs::write("/proc/self/clear_refs", "5")?;
        Ok(Self(kilobytes("VmRSS:")?))
    }

    /// How many megabytes were added at most at any time since then.
    pub(crate) fn peak(&self) -> io::Result<u64> {
        self.megabytes_to("VmHWM:")
    }

    /// How many megabytes are held now beyond what was.
    pub(crate) fn kept(&self) -> io::Result<u64> {
        self.megabytes_to("VmRSS:")
    }

    fn megabytes_to(&self, field: &str) -> io::Result<u64> {
        Ok(kilobytes(field)?.saturating_sub(self.0).div_ceil(1024))
    }
}

fn kilobytes(field: &str) -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("/proc/self/status does not tell {field}")))
}
