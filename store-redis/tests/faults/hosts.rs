//! A host name whose address a test decides: a hosts file that one process alone sees, by a mount
//! namespace.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use store_conformance::server::missing_is_allowed;

use crate::process::{block_on, is_for, run, test_binary};

/// The name; it begins at 127.0.0.1.
pub(crate) const NAME: &str = "master.test";

/// The variable that tells a process where its hosts file is.
const FILE: &str = "STORE_FAULTS_HOSTS";

/// The variable that turns a missing namespace from a failure into a skip, except where `CI` is set.
const ALLOW_MISSING: &str = "STORE_ALLOW_MISSING_NAMESPACES";

/// Shows the file `$1` in the place of the system's, and becomes the rest of its arguments.
const SHOW: &str = r#"mount --bind "$1" /etc/hosts && shift && exec "$@""#;

/// The hosts file of this process.
pub(crate) struct Hosts(PathBuf);

impl Hosts {
    /// Lets [`NAME`] lead to `address` from now on.
    pub(crate) fn lead_to(&self, address: &str) {
        // In place, since the mount shows this very file, and no byte but those that differ: who
        // reads it meanwhile finds the one address or the other.
        let line = line(address);
        let mut file = File::options().write(true).open(&self.0).unwrap();
        assert_eq!(file.metadata().unwrap().len(), line.len() as u64);
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Runs `scenario`, the body of the test of this name, in a process with a hosts file of its own.
///
/// Where the machine forbids that, the test fails or is skipped as one without its Redis.
pub(crate) fn with_hosts(test: &str, scenario: impl AsyncFnOnce(Hosts)) {
    if is_for(test) {
        let file = env::var_os(FILE).unwrap();
        return block_on(scenario(Hosts(file.into())));
    }
    let name = format!("{}-{}", std::process::id(), test.replace(':', "-"));
    let file = Temporary(env::temp_dir().join(name));
    fs::write(&file.0, line("127.0.0.1")).unwrap();
    match try_out(&file.0) {
        Ok(()) => run(seeing(&file.0, &test_binary()), test),
        Err(_) if missing_is_allowed(ALLOW_MISSING) => {
            // Not a print macro: the test harness would hide what a passing test prints.
            let line = format!("SKIPPED: no mount namespace ({ALLOW_MISSING}=1)\n");
            io::stderr().write_all(line.as_bytes()).unwrap();
        }
        Err(reason) => panic!(
            "no hosts file of its own for this test: {reason}\n\
             It takes a mount namespace, made by `unshare --user --map-root-user --mount`.\n\
             On Ubuntu:      sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n\
             In a container: it has to be a privileged one\n\
             or skip:        {ALLOW_MISSING}=1 cargo test   (ignored where CI is set)"
        ),
    }
}

fn line(address: &str) -> String {
    format!("{address} {NAME}\n")
}

/// Whether a process can be made to see `file`, and finds the name in it.
fn try_out(file: &Path) -> Result<(), String> {
    let output = seeing(file, Path::new("getent"))
        .args(["ahostsv4", NAME])
        .output()
        .map_err(|error| format!("cannot run `unshare`: {error}"))?;
    if output.stdout.starts_with(b"127.0.0.1 ") {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} {}", output.status, said.trim()))
}

/// The beginning of a command: `program` where `file` is the hosts file.
fn seeing(file: &Path, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "--"])
        .args(["sh", "-c", SHOW, "sh"])
        .args([file, program])
        .env(FILE, file);
    command
}

/// A file that is removed on drop.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
