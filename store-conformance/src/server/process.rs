//! The process of a test server, and what makes sure that it ends.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::ServerError;

/// How many lines of the server's log an error text shows.
const LOG_SHOWN: usize = 12;

/// Runs the server and waits for the end of the test process.
///
/// The standard input is a pipe whose other end only the test process holds, so it ends however
/// that process dies; a line `keep` ends the server but leaves its directory. The signals are
/// ignored because a Ctrl-C reaches the whole process group and must not kill the guard first.
const GUARD: &str = r#"trap '' INT HUP TERM
dir=$1; shift
sh -c 'echo $$; exec "$@"' server "$@" </dev/null 2>&1 &
pid=$!
exec >/dev/null
read -r word
kill -KILL "$pid"
wait "$pid"
[ "$word" = keep ] || rm -rf -- "$dir""#;

/// Why a start failed.
pub(super) enum Start {
    PortTaken,
    Failed(String),
}

impl From<Start> for ServerError {
    fn from(start: Start) -> Self {
        match start {
            Start::PortTaken => Self::failed("the port of the test server is taken"),
            Start::Failed(message) => Self::failed(message),
        }
    }
}

/// What the guard runs, and the directory that it removes afterwards.
pub(super) struct CommandLine {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) directory: PathBuf,
}

/// The guard, with the server as its child.
#[derive(Debug)]
pub(super) struct Process {
    guard: Child,
    pub(super) pid: u32,
    /// One item for each line of the log; disconnected once the server has ended.
    pub(super) lines: Receiver<()>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    pub(super) fn launch(line: &CommandLine) -> Result<Self, Start> {
        let failed = |what: &str, error: io::Error| Start::Failed(format!("{what}: {error}"));
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "redis-guard"])
            .args([&line.directory, &line.program])
            .args(&line.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed("cannot run `sh`", error))?;
        let Some(output) = guard.stdout.take() else {
            return Err(Start::Failed("the guard has no output".to_owned()));
        };
        let mut output = BufReader::new(output);
        let mut first = String::new();
        output
            .read_line(&mut first)
            .map_err(|error| failed("cannot read from the guard", error))?;
        let pid = first
            .trim()
            .parse()
            .map_err(|_| Start::Failed(format!("the guard said {first:?}")))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let (line_came, lines) = channel();
        let tail = Arc::clone(&log);
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                if tail.len() == LOG_SHOWN {
                    tail.pop_front();
                }
                tail.push_back(line);
                // Nobody listens after the start; the log is still read so that it never blocks.
                let _ = line_came.send(());
            }
        });
        Ok(Self {
            guard,
            pid,
            lines,
            log,
        })
    }

    pub(super) fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter()
            .fold(String::new(), |text, line| text + line + "\n")
    }

    /// Tells the guard `word`, closes its input and waits until server and guard are gone.
    pub(super) fn end(mut self, word: &str) {
        if let Some(mut input) = self.guard.stdin.take() {
            let _ = input.write_all(word.as_bytes());
        }
        let _ = self.guard.wait();
    }
}

/// A directory that is removed on drop.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new() -> Result<Self, ServerError> {
        let name = format!("store-redis-{}-{:016x}", std::process::id(), random());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| {
            ServerError::failed(format!("cannot create {}: {error}", path.display()))
        })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The guard has removed it already, unless the server was killed before.
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn find_program(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// A port that was free a moment ago, below the range that the system gives to clients.
///
/// From that range, a client that retries a port whose server is down would sooner or later get
/// the same port for its own end, connect to itself and keep the server from coming back.
pub(crate) fn free_port() -> Result<u16, ServerError> {
    for _ in 0..1_000 {
        let port = 10_000 + (random() % 22_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ServerError::failed("no free port on 127.0.0.1"))
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
