//! Igniter.js's Redis adapter on ioredis, in a Node process that measures itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::json;

use super::calls::{BATCH, Slice, Work};
use super::clients;
use crate::compare::{Contender, Sample};
use crate::server::RedisServer;
use crate::work::User;

pub const IGNITER_JS: &str = "Igniter.js on ioredis";
pub const IGNITER_JS_PIPELINING: &str = "Igniter.js on ioredis, autopipelining";

/// Where the lock of the packages is, and where the script.
const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/interop.d");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node");

/// The script for one server, or why there is none: no Node, no npm, no registry.
#[derive(Clone)]
pub struct Node {
    server: Arc<RedisServer>,
    script: Rc<RefCell<Result<IgniterJs, String>>>,
}

impl Node {
    /// Starts the script and lets it run for a moment: Node compiles what runs often, and all
    /// others come compiled.
    pub fn start(server: &Arc<RedisServer>, output: &Path, keys: usize) -> Self {
        let script = IgniterJs::start(&server.url(), output, keys).and_then(|mut script| {
            let slice = Slice::new(64, Duration::from_millis(500));
            for autopipelining in [false, true] {
                script.measure(Work::Mix, slice, autopipelining)?;
            }
            Ok(script)
        });
        Self {
            server: Arc::clone(server),
            script: Rc::new(RefCell::new(
                script.map_err(|error| format!("not measured: {error:#}")),
            )),
        }
    }

    /// Without and with autopipelining.
    pub fn contenders(&self, work: Work, slice: Slice) -> Vec<Contender> {
        [(IGNITER_JS, false), (IGNITER_JS_PIPELINING, true)]
            .map(|(name, autopipelining)| self.contender(name, work, slice, autopipelining))
            .into()
    }

    fn contender(&self, name: &str, work: Work, slice: Slice, autopipelining: bool) -> Contender {
        if let Err(reason) = &*self.script.borrow() {
            return Contender::absent(name, reason.clone());
        }
        let Self { server, script } = self.clone();
        Contender::new(name, move || {
            let mut script = script.borrow_mut();
            let script = script.as_mut().map_err(|reason| anyhow!("{reason}"))?;
            clients::counted(&server, work, || {
                script.measure(work, slice, autopipelining)
            })
        })
    }
}

/// A Node process with the packages that ci/interop checks against, at the versions of its lock.
struct IgniterJs {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    keys: usize,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Measured {
        operations: u64,
        wall_nanoseconds: u64,
        cpu_microseconds: u64,
    },
    Failed {
        error: String,
    },
}

impl IgniterJs {
    /// Installs the packages below `output`, where they are not yet, and starts the script.
    ///
    /// The error says what is missing: Node, npm, or its registry.
    fn start(url: &str, output: &Path, keys: usize) -> Result<Self> {
        let directory = install(output)?;
        let mut process = Command::new("node")
            .arg(directory.join("bench.mjs"))
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("node does not start")?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("node has no pipes");
        };
        Ok(Self {
            process,
            requests,
            answers: BufReader::new(answers),
            keys,
        })
    }

    /// Works for a while; the times are the Node process's own.
    fn measure(&mut self, work: Work, slice: Slice, autopipelining: bool) -> Result<Sample> {
        let work = match work {
            Work::Get => "get",
            Work::Miss => "miss",
            Work::Set => "set",
            Work::SetTtl => "set_ttl",
            Work::Mix => "mix",
            Work::Increment => "increment",
            Work::GetMany => "get_many",
            Work::SetMany => "set_many",
        };
        let request = json!({
            "work": work,
            "autopipelining": autopipelining,
            "tasks": slice.tasks,
            "milliseconds": slice.time.as_millis() as u64,
            "keys": self.keys,
            "batch": BATCH,
            "value": User::new(0),
        });
        writeln!(self.requests, "{request}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match serde_json::from_str(&line).with_context(|| format!("node answers {line:?}"))? {
            Answer::Failed { error } => bail!("{error}"),
            Answer::Measured {
                operations,
                wall_nanoseconds,
                cpu_microseconds,
            } => Ok(Sample {
                operations,
                wall: Duration::from_nanos(wall_nanoseconds),
                client_cpu: Duration::from_micros(cpu_microseconds),
                sleeps: None,
                latencies: Vec::new(),
            }),
        }
    }
}

impl Drop for IgniterJs {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// The packages and their versions, whether they can be installed or not.
pub fn versions() -> Result<String> {
    #[derive(Deserialize)]
    struct Package {
        dependencies: BTreeMap<String, String>,
    }
    let text = fs::read(Path::new(PACKAGES).join("package.json"))?;
    let package: Package = serde_json::from_slice(&text)?;
    let dependencies = package.dependencies.into_iter();
    let named: Vec<_> = dependencies
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    Ok(named.join(", "))
}

/// A directory with the script beside the packages, which is where Node looks for them.
fn install(output: &Path) -> Result<PathBuf> {
    let directory = std::path::absolute(output)?.join("node");
    fs::create_dir_all(&directory)?;
    let copy = |from: &Path, name: &str| {
        fs::copy(from.join(name), directory.join(name)).with_context(|| name.to_owned())
    };
    copy(Path::new(SCRIPT), "bench.mjs")?;
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        copy(Path::new(PACKAGES), name)?;
    }
    // `npm ci` fetches everything anew, so it runs only where the lock file has changed.
    let wanted = fs::read(directory.join("package-lock.json"))?;
    let installed = directory.join("node_modules/installed-lock.json");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(directory);
    }
    let npm = Command::new("npm")
        .args(["ci", "--loglevel=error"])
        .current_dir(&directory)
        .output()
        .context("npm does not start")?;
    if !npm.status.success() {
        let said = String::from_utf8_lossy(&npm.stderr);
        let last = said.lines().rfind(|line| !line.is_empty());
        bail!("npm ci: {}", last.unwrap_or("no word of why"));
    }
    fs::write(installed, wanted)?;
    Ok(directory)
}
