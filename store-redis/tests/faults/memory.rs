//! How much memory a scenario takes, measured in a process where nothing else runs.

use std::fs;
use std::process::{Command, Stdio};

/// The variable that tells a process which scenario to run.
const SCENARIO: &str = "STORE_FAULTS_SCENARIO";

/// Runs `scenario`, the body of the test of this name, in a process of its own, since the other
/// tests share this one's memory.
pub(crate) fn in_a_process_of_its_own(test: &str, scenario: impl AsyncFnOnce()) {
    if std::env::var(SCENARIO).as_deref() == Ok(test) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        return runtime.unwrap().block_on(scenario());
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(SCENARIO, test)
        // A missing server is reported there.
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{test} failed, see above");
    assert!(text.contains("1 passed"), "there is no test {test}");
}

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
}

fn kilobytes(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap()
}
