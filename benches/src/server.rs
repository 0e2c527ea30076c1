//! A redis-server of the run's own, which ends with it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on a free port of this machine, without persistence. Dropping it kills it.
pub struct RedisServer {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl RedisServer {
    pub fn start() -> Result<Self> {
        // Somebody may take the port between its choice and its use; then another is tried.
        let mut failure = None;
        for _ in 0..5 {
            match Self::start_once() {
                Ok(server) => return Ok(server),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.context("there is a failure after five attempts")?)
    }

    fn start_once() -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let name = format!("store-benches-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        let log = fs::File::create(directory.join("log"))?;
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .context("redis-server does not start; ci/redis installs it")?;
        // From here on dropping it kills the process.
        let mut server = Self {
            process,
            port,
            directory,
        };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.process.try_wait()?.is_some() {
                bail!("redis-server ended at once:\n{}", self.log());
            }
            if self.answers() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("redis-server does not answer:\n{}", self.log());
    }

    /// Whether this very process answers, not another one that took the port.
    fn answers(&self) -> bool {
        let line = format!("process_id:{}", self.process.id());
        self.ask("INFO server\r\n")
            .is_ok_and(|text| text.lines().any(|other| other == line))
    }

    fn ask(&self, command: &str) -> Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(command.as_bytes())?;
        // The server closes after QUIT, which ends the text.
        stream.write_all(b"QUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Removes every key.
    pub fn clear(&self) -> Result<()> {
        self.order("FLUSHALL")
    }

    /// Lets the counts of [`calls`](Self::calls) begin again.
    pub fn reset_counts(&self) -> Result<()> {
        self.order("CONFIG RESETSTAT")
    }

    /// How often clients have called these commands since the counts began.
    pub fn calls(&self, commands: &[&str]) -> Result<u64> {
        let text = self.ask("INFO commandstats\r\n")?;
        let calls = |line: &str| {
            let (name, counts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let count = counts.split(',').next()?;
            commands
                .contains(&name)
                .then(|| count.parse::<u64>().ok())?
        };
        Ok(text.lines().filter_map(calls).sum())
    }

    fn order(&self, command: &str) -> Result<()> {
        let answer = self.ask(&format!("{command}\r\n"))?;
        if !answer.starts_with("+OK") {
            bail!("{command}: {answer}");
        }
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
        let _removed = fs::remove_dir_all(&self.directory);
    }
}
