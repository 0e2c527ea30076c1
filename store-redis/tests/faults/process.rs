//! Tests whose scenario runs in a process of its own: the test binary once more, for that test alone.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The variable that tells a process which test it is for.
const SCENARIO: &str = "STORE_FAULTS_SCENARIO";

/// Runs `scenario`, the body of the test of this name, in a process of its own.
pub(crate) fn in_a_process_of_its_own(test: &str, scenario: impl AsyncFnOnce()) {
    if is_for(test) {
        return block_on(scenario());
    }
    run(Command::new(test_binary()), test);
}

/// Whether this process was started for `test`.
pub(crate) fn is_for(test: &str) -> bool {
    env::var(SCENARIO).as_deref() == Ok(test)
}

pub(crate) fn block_on(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(scenario);
}

/// Runs the test of this name with `command`, which starts the test binary, and passes on how it
/// ends.
pub(crate) fn run(mut command: Command, test: &str) {
    let output = command
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

pub(crate) fn test_binary() -> PathBuf {
    env::current_exe().unwrap()
}
