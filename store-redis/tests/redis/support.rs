//! Servers to test against: a real one of the test's own, and one that misbehaves as told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{Connection, Value};
use store_redis::{RedisDriver, RedisOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A `redis-server` on a free port, which is killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server starts; it must be on the PATH");
        let output = process.stdout.take().expect("the output is piped");
        let mut lines = BufReader::new(output).lines();
        let ready = lines.any(|line| line.is_ok_and(|line| line.contains("Ready to accept")));
        assert!(ready, "redis-server ended before it was ready");
        // Somebody must read on, or the server blocks once the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, port }
    }

    pub(crate) fn options(&self) -> RedisOptions {
        RedisOptions::new().address("127.0.0.1", self.port)
    }

    pub(crate) async fn connect(&self) -> RedisDriver {
        RedisDriver::connect_with(self.options())
            .await
            .expect("the driver connects")
    }

    /// A connection to look into the server with.
    pub(crate) fn admin(&self) -> Admin {
        let client = redis::Client::open(("127.0.0.1", self.port)).expect("a client");
        Admin(client.get_connection().expect("the server accepts"))
    }

    /// Stops the process, as a hanging machine would, or lets it run on.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.process.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

pub(crate) struct Admin(Connection);

impl Admin {
    pub(crate) fn run(&mut self, command: &[&str]) -> Value {
        self.try_run(command)
            .unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub(crate) fn try_run(&mut self, command: &[&str]) -> redis::RedisResult<Value> {
        let mut request = redis::cmd(command[0]);
        request.arg(&command[1..]);
        request.query(&mut self.0)
    }

    pub(crate) fn send(&mut self, pipeline: &redis::Pipeline) {
        pipeline.exec(&mut self.0).expect("the server answers");
    }

    pub(crate) fn text(&mut self, command: &[&str]) -> String {
        redis::from_redis_value(self.run(command)).expect("text")
    }

    /// The commands that ran since `CONFIG RESETSTAT` and how often, those of the administration
    /// and of connections left out.
    pub(crate) fn command_counts(&mut self) -> BTreeMap<String, u64> {
        let info = self.text(&["INFO", "commandstats"]);
        let counts = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let calls = rest.split(',').next()?.parse().ok()?;
            let of_others = ["info", "config", "hello", "client", "ping", "role"]
                .iter()
                .any(|other| name.starts_with(other));
            (!of_others).then(|| (name.to_owned(), calls))
        });
        counts.collect()
    }

    /// How many subscribers the server counts on `channel`.
    pub(crate) fn subscribers(&mut self, channel: &str) -> u64 {
        let Value::Array(answer) = self.run(&["PUBSUB", "NUMSUB", channel]) else {
            panic!("an array");
        };
        redis::from_redis_value(answer[1].clone()).expect("a number")
    }

    pub(crate) fn patterns(&mut self) -> u64 {
        redis::from_redis_value(self.run(&["PUBSUB", "NUMPAT"])).expect("a number")
    }

    /// How many connections a driver has with the server.
    pub(crate) fn driver_connections(&mut self) -> usize {
        self.text(&["CLIENT", "LIST"])
            .matches("name=igniter-store")
            .count()
    }

    /// Asks again and again until `condition` holds.
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
            std::thread::yield_now();
        }
    }
}

/// Awaits what must come soon, so that a test fails instead of waiting for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(10), future).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("never: {what}"),
    }
}

/// What a [`FakeServer`] does when a command comes.
pub(crate) enum Answer {
    Send(&'static str),
    Nothing,
    Cut,
}

/// A server that shakes hands as Redis does and then answers as told.
///
/// The signs of life of a connection for commands are always answered and not counted, since they are
/// asked for when it pleases.
pub(crate) struct FakeServer {
    pub(crate) options: RedisOptions,
    /// The name of each command that came after a handshake.
    pub(crate) commands: mpsc::UnboundedReceiver<String>,
}

type Answers = Arc<Mutex<std::vec::IntoIter<Answer>>>;

impl FakeServer {
    /// Answers the n-th command, of all connections together, by the n-th answer; cuts the
    /// connection where there is none.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, commands) = mpsc::unbounded_channel();
        let answers: Answers = Arc::new(Mutex::new(answers.into_iter()));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(converse(socket, Arc::clone(&answers), sender.clone()));
            }
        });
        Self {
            options: RedisOptions::new().address("127.0.0.1", port),
            commands,
        }
    }

    /// The commands that came up to now.
    pub(crate) fn seen(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.commands.try_recv().ok()).collect()
    }
}

async fn converse(
    mut socket: TcpStream,
    answers: Answers,
    sender: mpsc::UnboundedSender<String>,
) -> Option<()> {
    let mut received = Vec::new();
    // The handshake is `HELLO` and `PING`.
    for _ in 0..2 {
        next_command(&mut socket, &mut received).await?;
    }
    let mut has_subscribed = false;
    socket.write_all(b"%0\r\n+PONG\r\n").await.ok()?;
    loop {
        let command = next_command(&mut socket, &mut received).await?;
        let name = command.split(' ').next()?.to_owned();
        has_subscribed |= name == "SUBSCRIBE";
        let sign_of_life: Option<&[u8]> = match name.as_str() {
            "PING" if !has_subscribed => Some(b"+PONG\r\n"),
            "HELLO" if !has_subscribed => Some(b"%0\r\n"),
            _ => None,
        };
        if let Some(answer) = sign_of_life {
            socket.write_all(answer).await.ok()?;
            continue;
        }
        sender.send(name).ok()?;
        let answer = answers.lock().expect("no test panicked").next();
        match answer {
            Some(Answer::Send(answer)) => socket.write_all(answer.as_bytes()).await.ok()?,
            Some(Answer::Nothing) => {}
            Some(Answer::Cut) | None => return None,
        }
    }
}

/// The words of the next command; `None` at the end of the connection.
async fn next_command(socket: &mut TcpStream, received: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some((command, length)) = parse_command(received) {
            received.drain(..length);
            return Some(command);
        }
        if socket.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

/// The words and the length of the first command, if it is all there.
fn parse_command(received: &[u8]) -> Option<(String, usize)> {
    let text = std::str::from_utf8(received).expect("these tests send text only");
    let mut lines = text.split_inclusive("\r\n");
    let head = lines.next().filter(|line| line.ends_with('\n'))?;
    let words: usize = head.trim().strip_prefix('*')?.parse().ok()?;
    let lines: Vec<&str> = lines.take(2 * words).collect();
    let complete = lines.len() == 2 * words && lines.iter().all(|line| line.ends_with('\n'));
    let length = head.len() + lines.iter().map(|line| line.len()).sum::<usize>();
    let words = lines.iter().skip(1).step_by(2).map(|word| word.trim());
    complete.then(|| (words.collect::<Vec<_>>().join(" "), length))
}
