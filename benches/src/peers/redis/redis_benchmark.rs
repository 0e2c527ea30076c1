//! redis-benchmark: what the server gives to a client that neither decodes nor checks anything.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::compare::Sample;
use crate::work::{User, children_cpu};

/// Keys that redis-benchmark makes random, as [`names::key`](super::names::key) makes them.
const READ: &str = "user:__rand_int__";

/// What it writes is the same for every key, so it has keys of its own, as long as the others.
const WRITTEN: &str = "ones:__rand_int__";

/// One way to run it.
#[derive(Clone, Debug)]
pub struct RedisBenchmark {
    pub port: u16,
    pub connections: usize,
    /// How many commands are under way on each connection.
    pub pipeline: usize,
    pub keys: usize,
    pub set: bool,
    /// How long a measurement shall take. The program counts operations, so it is by the speed of
    /// the measurement before that their number is chosen.
    pub time: Duration,
    pub speed: f64,
}

impl RedisBenchmark {
    pub fn measure(&mut self) -> Result<Sample> {
        // One that is not known yet, low enough for one connection.
        let speed = if self.speed > 0.0 {
            self.speed
        } else {
            15_000.0
        };
        let operations = (speed * self.time.as_secs_f64()).max(100.0) as u64;
        let cpu = children_cpu();
        let output = self.command(operations)?.output();
        let output = output.context("redis-benchmark does not start")?;
        let client_cpu = children_cpu().saturating_sub(cpu);
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "redis-benchmark: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.speed = speed_of(&text).with_context(|| format!("redis-benchmark says {text:?}"))?;
        Ok(Sample {
            operations,
            wall: Duration::from_secs_f64(operations as f64 / self.speed),
            client_cpu,
            sleeps: None,
            latencies: Vec::new(),
        })
    }

    fn command(&self, operations: u64) -> Result<Command> {
        let mut command = Command::new("redis-benchmark");
        command
            .args(["-h", "127.0.0.1", "--csv"])
            .args(["-p", &self.port.to_string()])
            .args(["-c", &self.connections.to_string()])
            .args(["-P", &self.pipeline.to_string()])
            .args(["-r", &self.keys.to_string()])
            .args(["-n", &operations.to_string()]);
        if self.set {
            let value = serde_json::to_string(&User::new(0))?;
            command.args(["SET", WRITTEN, &value]);
        } else {
            command.args(["GET", READ]);
        }
        Ok(command)
    }
}

/// Requests a second. Six latencies stand behind them in the last line; the name of the test before
/// them may hold commas and quotes itself.
fn speed_of(text: &str) -> Option<f64> {
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    let speed: f64 = line.rsplit("\",\"").nth(6)?.parse().ok()?;
    (speed > 0.0).then_some(speed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_stands_before_six_latencies() {
        let text = "\"test\",\"rps\",…\n\"SET a {\"b\",\"1\"}\",\"17241.38\",\"0.1\",\"0.2\",\"0.3\",\"0.4\",\"0.5\",\"0.6\"\n";
        assert_eq!(speed_of(text), Some(17_241.38));
        assert_eq!(speed_of("Could not connect\n"), None);
    }
}
