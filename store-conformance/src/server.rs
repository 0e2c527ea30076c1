//! Redis servers for tests: one that is given, or processes of their own that die with the test.
//!
//! It speaks just enough of Redis's protocol to wait for a server and to poke it, since this crate
//! depends on no driver.

mod options;
mod process;
mod resp;
mod shared;

use std::error::Error as StdError;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use options::RedisOptions;
pub(crate) use process::free_port;
pub use shared::{missing_is_allowed, or_skip, shared_url, shared_url_or};

use process::{CommandLine, Directory, Process, Start};

/// The variable that names a running server to use instead of a process of its own.
pub const URL_VARIABLE: &str = "STORE_REDIS_URL";
/// The variable that turns a missing server from a failure into a skip, except where `CI` is set.
pub const ALLOW_MISSING_VARIABLE: &str = "STORE_ALLOW_MISSING_REDIS";

/// How long a server may take from its start to its first answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Why there is no server.
#[derive(Debug)]
pub struct ServerError {
    message: String,
    missing: bool,
}

impl ServerError {
    fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            missing: false,
        }
    }

    fn missing(reason: &str) -> Self {
        Self {
            message: format!(
                "no Redis server for this test: {reason}\n\
                 Install one:     apt-get install redis-server   (or: brew install redis)\n\
                 or use another:  docker run --rm -p 6379:6379 redis:7, then \
                 {URL_VARIABLE}=redis://127.0.0.1:6379 cargo test\n\
                 or skip:         {ALLOW_MISSING_VARIABLE}=1 cargo test   (ignored where CI is set)"
            ),
            missing: true,
        }
    }

    /// Whether no server could be found, as opposed to one that does not work.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.missing
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for ServerError {}

/// Sends one command to the server at `url` (`redis://[:password@]host:port`) and answers the
/// reply as text, one line for each element of an array.
///
/// # Errors
///
/// [`ServerError`] if the server cannot be reached within seconds or answers with an error.
pub fn command_at(url: &str, arguments: &[&str]) -> Result<String, ServerError> {
    let (password, address) = split_url(url)?;
    resp::call(address, password, arguments)
        .map_err(|error| ServerError::failed(format!("{}: {error}", arguments.join(" "))))
}

fn split_url(url: &str) -> Result<(Option<&str>, &str), ServerError> {
    let Some(rest) = url.strip_prefix("redis://") else {
        return Err(ServerError::failed("the test server's URL is not redis://"));
    };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    Ok(match authority.rsplit_once('@') {
        None => (None, authority),
        Some((user, address)) => (user.split_once(':').map(|(_, password)| password), address),
    })
}

/// A `redis-server` process of its own, with a port and a directory of its own.
///
/// It is killed and its directory removed on drop, and when this process ends in whatever way.
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    directory: Directory,
    port: u16,
    process: Mutex<Option<Process>>,
}

impl RedisServer {
    /// Starts a server that writes nothing to disk; see [`RedisOptions`] for others.
    ///
    /// # Errors
    ///
    /// [`ServerError`] with the command that would help.
    pub fn spawn() -> Result<Self, ServerError> {
        RedisOptions::new().spawn()
    }

    /// The URL, with the password where there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.address();
        match &self.options.password {
            None => format!("redis://{address}"),
            Some(password) => format!("redis://:{password}@{address}"),
        }
    }

    /// The address, such as `127.0.0.1:12345`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.options.host, self.port)
    }

    /// The port. It stays over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's own directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process, or `None` while the server is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(|process| process.pid)
    }

    /// Sends one command and answers the reply as text, one line for each element of an array.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if the server does not answer within seconds or answers with an error.
    pub fn command(&self, arguments: &[&str]) -> Result<String, ServerError> {
        command_at(&self.url(), arguments)
    }

    /// Kills the server with SIGKILL; its port is closed when this returns. Its directory stays.
    pub fn kill9(&self) {
        if let Some(process) = self.process().take() {
            process.end("keep\n");
        }
    }

    /// Starts the server again on the same port and waits until it answers; kills it first where
    /// it runs.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if it does not come up.
    pub fn restart(&self) -> Result<(), ServerError> {
        self.kill9();
        Ok(self.start()?)
    }

    /// Freezes the server with SIGSTOP: connections stay open and nothing answers. It is frozen
    /// when this returns, where the system tells of it under `/proc`.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if the server does not run.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.signal("-STOP")?;
        let began = Instant::now();
        // On a busy machine the signal is taken only when the server gets to run.
        while self.pid().is_some_and(runs) && began.elapsed() < START_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets a frozen server go on with SIGCONT.
    ///
    /// # Errors
    ///
    /// [`ServerError`] if the server does not run.
    pub fn cont(&self) -> Result<(), ServerError> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<(), ServerError> {
        let Some(pid) = self.pid() else {
            return Err(ServerError::failed("the server does not run"));
        };
        let status = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(ServerError::failed(format!(
                "kill {signal} {pid}: {status}"
            ))),
            Err(error) => Err(ServerError::failed(format!("cannot run `kill`: {error}"))),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Result<(), Start> {
        let mut process = Process::launch(&self.command_line()?)?;
        match self.wait_for_answer(&mut process) {
            Ok(()) => {
                *self.process() = Some(process);
                Ok(())
            }
            Err(error) => {
                process.end("keep\n");
                Err(error)
            }
        }
    }

    fn wait_for_answer(&self, process: &mut Process) -> Result<(), Start> {
        let began = Instant::now();
        loop {
            if self.answers(process.pid) {
                return Ok(());
            }
            // Each line of the log is a reason to ask again; the wait is for a server without a log.
            match process.lines.recv_timeout(Duration::from_millis(20)) {
                Ok(()) | Err(RecvTimeoutError::Timeout) if began.elapsed() < START_LIMIT => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let log = process.log();
                    return Err(if log.contains("Address already in use") {
                        Start::PortTaken
                    } else {
                        Start::Failed(format!("redis-server ended at once:\n{log}"))
                    });
                }
                _ => {
                    let log = process.log();
                    return Err(Start::Failed(format!(
                        "redis-server does not answer after {START_LIMIT:?}:\n{log}"
                    )));
                }
            }
        }
    }

    /// Whether this very process answers, and with all its data: another server may have taken the
    /// port in between, and while it loads its data it answers this question alone.
    fn answers(&self, pid: u32) -> bool {
        match resp::call(&self.address(), self.options.password.as_deref(), &["INFO"]) {
            Ok(text) => {
                let says = |line: &str| text.lines().any(|other| other.trim_end() == line);
                says(&format!("process_id:{pid}")) && !says("loading:1")
            }
            Err(resp::Failure::Refused(text)) => text.starts_with("NO"),
            Err(resp::Failure::Io(_)) => false,
        }
    }

    /// The program and its arguments, with the configuration file written.
    fn command_line(&self) -> Result<CommandLine, Start> {
        let mut arguments = Vec::new();
        let directory = self.directory.path();
        if let Some(text) = &self.options.config {
            let path = directory.join("redis.conf");
            fs::write(&path, self.fill(text))
                .map_err(|error| Start::Failed(format!("cannot write redis.conf: {error}")))?;
            arguments.push(path.to_string_lossy().into_owned());
        } else {
            arguments.extend(["--save", "", "--appendonly", "no"].map(str::to_owned));
        }
        let host = self.options.host.as_str();
        let always = ["--port", "{port}", "--bind", host, "--dir", "{dir}"];
        arguments.extend(always.map(|text| self.fill(text)));
        if let Some(password) = &self.options.password {
            arguments.extend(["--requirepass".to_owned(), password.clone()]);
        }
        arguments.extend(self.options.arguments.iter().map(|text| self.fill(text)));
        Ok(CommandLine {
            program: self.options.program.clone(),
            arguments,
            directory: directory.to_owned(),
        })
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{dir}", &self.directory.path().to_string_lossy())
            .replace("{port}", &self.port.to_string())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(process) = self.process().take() {
            process.end("");
        }
    }
}

/// Whether a process is known to be neither frozen nor gone.
fn runs(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state is the first field behind the name, which is in parentheses.
    let state = status.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with(['T', 't', 'Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_password_and_address() {
        let split = |url| split_url(url).unwrap();
        assert_eq!(split("redis://h:1"), (None, "h:1"));
        assert_eq!(split("redis://h:1/2?a=b"), (None, "h:1"));
        assert_eq!(split("redis://:p@h:1/"), (Some("p"), "h:1"));
        assert_eq!(split("redis://u:p@q@h:1"), (Some("p@q"), "h:1"));
        assert!(split_url("rediss://h:1").is_err());
    }
}
