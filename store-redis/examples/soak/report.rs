//! What came of it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use store_conformance::server::RedisServer;
use store_core::Bytes;

use crate::faults::{Fault, Recovery};
use crate::follower::Follower;
use crate::messages::Account;
use crate::work::{Done, Outcomes};

/// The driver's default deadline, and what a machine with better things to do may add to it.
const CALL_LIMIT: Duration = Duration::from_millis(500 + 1000);
/// How many megabytes the process may take beyond those it has without a fault: the buffers of the
/// driver, the proxy and the tasks, and what the allocator keeps.
const MEMORY_LIMIT: u64 = 30;
/// How many violations are shown.
const SHOWN: usize = 20;

/// The summary.
pub(crate) struct Report {
    seed: u64,
    recoveries: Vec<(Fault, Recovery)>,
    outcomes: BTreeMap<&'static str, Outcomes>,
    sent: u64,
    doubtful: usize,
    followers: Vec<Follower>,
    /// Megabytes at the most, and at the end, where they are known.
    memory: Option<(u64, u64)>,
    violations: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        seed: u64,
        recoveries: Vec<(Fault, Recovery)>,
        violations: Vec<String>,
    ) -> Self {
        Self {
            seed,
            recoveries,
            outcomes: BTreeMap::new(),
            sent: 0,
            doubtful: 0,
            followers: Vec::new(),
            memory: None,
            violations,
        }
    }

    /// Takes how many megabytes the process grew by, at the most and at the end.
    pub(crate) fn take_memory(&mut self, peak: u64, kept: u64) {
        self.memory = Some((peak, kept));
        if peak > MEMORY_LIMIT {
            self.violations
                .push(format!("{peak} MB more, where {MEMORY_LIMIT} are allowed"));
        }
    }

    /// Compares what the tasks know with what the server holds.
    pub(crate) fn take_work(&mut self, done: Done, server: &RedisServer) {
        for mut counter in done.counters {
            match server.command(&["GET", &counter.key]) {
                Ok(value) => counter.check_final(value.parse().unwrap_or(0)),
                Err(error) => self.violations.push(error.to_string()),
            }
            self.violations.append(&mut counter.violations);
        }
        for mut register in done.registers {
            match server.command(&["GET", &register.key]) {
                Ok(value) => register.read(&Ok(Some(Bytes::from(value)))),
                Err(error) => self.violations.push(error.to_string()),
            }
            self.violations.append(&mut register.violations);
        }
        for (operation, outcomes) in &done.outcomes {
            if outcomes.slowest > CALL_LIMIT {
                self.violations
                    .push(format!("{operation} took {:?}", outcomes.slowest));
            }
        }
        self.outcomes = done.outcomes;
    }

    pub(crate) fn take_messages(&mut self, account: Account) {
        self.violations.extend(account.violations);
        self.sent = account.sent;
        self.doubtful = account.doubtful;
        self.followers = account.followers;
        for follower in &mut self.followers {
            self.violations.append(&mut follower.violations);
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.violations.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    pub(crate) fn print(&self) {
        println!("\n{:38}until a write, ms      until a message, ms", "");
        let head = format!("{:>6} {:>6} {:>6}", "median", "p99", "max");
        println!("{:30} {:>5}  {head}   {head}", "fault", "count");
        for fault in Fault::ALL {
            let of_it = self.recoveries.iter().filter(|(other, _)| *other == fault);
            print_recoveries(fault.name(), of_it.map(|(_, recovery)| recovery));
        }
        let all = self.recoveries.iter().map(|(_, recovery)| recovery);
        print_recoveries("all", all);
        println!(
            "\n{:26} {:>9} {:>9} {:>11} {:>7} {:>6} {:>11}",
            "operation", "done", "in doubt", "unavailable", "denied", "other", "slowest, ms"
        );
        for (operation, outcomes) in &self.outcomes {
            println!(
                "{operation:26} {:>9} {:>9} {:>11} {:>7} {:>6} {:>11}",
                outcomes.done,
                outcomes.indeterminate,
                outcomes.unavailable,
                outcomes.denied,
                outcomes.other,
                outcomes.slowest.as_millis()
            );
        }
        let sum = |field: fn(&Follower) -> u64| self.followers.iter().map(field).sum::<u64>();
        println!(
            "\nmessages: {} sent, {} of them in doubt; {} readers saw {}, {} of them late\n\
             gaps {}, holes behind a gap {}, silent holes {}, miscounted {}, duplicates {}, \
             out of order {}",
            self.sent,
            self.doubtful,
            self.followers.len(),
            sum(|follower| follower.seen),
            sum(|follower| follower.late),
            sum(|follower| follower.gaps_seen),
            sum(|follower| follower.holes),
            sum(|follower| follower.silent_holes),
            sum(|follower| follower.miscounted),
            sum(|follower| follower.duplicates),
            sum(|follower| follower.disorders),
        );
        match self.memory {
            Some((peak, kept)) => println!(
                "\nmemory: {peak} MB more at the most, of {MEMORY_LIMIT}; {kept} MB more at the end"
            ),
            None => println!("\nmemory: NOT measured, which takes Linux"),
        }
        println!(
            "\nviolations: {} (seed {})",
            self.violations.len(),
            self.seed
        );
        for violation in self.violations.iter().take(SHOWN) {
            println!("  {violation}");
        }
    }
}

fn print_recoveries<'a>(name: &str, recoveries: impl Iterator<Item = &'a Recovery>) {
    let (mut writes, mut messages) = (Vec::new(), Vec::new());
    for recovery in recoveries {
        writes.push(recovery.write.as_millis());
        messages.push(recovery.messages.as_millis());
    }
    println!(
        "{name:30} {:>5}  {}   {}",
        writes.len(),
        spread(&mut writes),
        spread(&mut messages)
    );
}

/// Median, 99th percentile and maximum.
fn spread(all: &mut [u128]) -> String {
    all.sort_unstable();
    let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
    let shown = [50, 99, 100].map(|percent| at(percent).map_or("-".to_owned(), u128::to_string));
    format!("{:>6} {:>6} {:>6}", shown[0], shown[1], shown[2])
}
