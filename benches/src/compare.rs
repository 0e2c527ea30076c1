//! The one way to measure: contenders do the same work in interleaved rounds, and what counts is
//! the ratio to the reference of the same round.

use std::time::Duration;

use anyhow::Result;

use crate::progress::Progress;
use crate::statistics::{Spread, percentile};
use crate::work::{Generator, place};

/// What one contender did in one round.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub operations: u64,
    pub wall: Duration,
    /// Of this process alone; spawned servers are not in it.
    pub client_cpu: Duration,
    /// How often a thread of this process went to sleep; `None` of another process.
    pub sleeps: Option<u64>,
    /// Nanoseconds of each operation; empty where they were not timed.
    pub latencies: Vec<u64>,
}

impl Sample {
    pub fn nanos_per_operation(&self) -> f64 {
        self.wall.as_nanos() as f64 / self.operations.max(1) as f64
    }

    pub fn sleeps_per_operation(&self) -> Option<f64> {
        Some(self.sleeps? as f64 / self.operations.max(1) as f64)
    }

    pub fn cpu_micros_per_operation(&self) -> f64 {
        self.client_cpu.as_nanos() as f64 / 1e3 / self.operations.max(1) as f64
    }
}

/// One of those who are compared.
pub struct Contender {
    pub name: String,
    /// Does the work once. One that needs a runtime holds it, and blocks on it.
    pub measure: Box<dyn FnMut() -> Result<Sample>>,
}

impl Contender {
    pub fn new(name: &str, measure: impl FnMut() -> Result<Sample> + 'static) -> Self {
        Self {
            name: name.to_owned(),
            measure: Box::new(measure),
        }
    }

    /// One that cannot take part, for example since it could not be set up.
    pub fn absent(name: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(name, move || Err(anyhow::anyhow!("{reason}")))
    }
}

/// How the contenders did.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub title: String,
    pub reference: String,
    pub rows: Vec<Row>,
}

/// How one contender did.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    /// Nanoseconds an operation, one for each round.
    pub nanos: Vec<f64>,
    /// Time an operation against the reference of the same round; below 1 is faster.
    pub ratios: Vec<f64>,
    /// Client CPU an operation against the reference of the same round. Unlike time it hardly
    /// depends on what else the machine does.
    pub cpu_ratios: Vec<f64>,
    /// Client CPU in microseconds an operation, one for each round.
    pub cpu_micros: Vec<f64>,
    /// Threads that went to sleep an operation, one for each round in which that is known.
    pub sleeps: Vec<f64>,
    /// Of all rounds, sorted.
    pub latencies: Vec<u64>,
    /// The median latency in nanoseconds, one for each round in which operations were timed.
    pub median_latencies: Vec<f64>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nanos: Vec::new(),
            ratios: Vec::new(),
            cpu_ratios: Vec::new(),
            cpu_micros: Vec::new(),
            sleeps: Vec::new(),
            latencies: Vec::new(),
            median_latencies: Vec::new(),
            failure: None,
        }
    }

    pub fn ratio(&self) -> Option<Spread> {
        Spread::of(&self.ratios)
    }

    pub fn cpu_ratio(&self) -> Option<Spread> {
        Spread::of(&self.cpu_ratios)
    }

    pub fn median_nanos(&self) -> Option<f64> {
        Spread::of(&self.nanos).map(|spread| spread.median)
    }

    pub fn operations_per_second(&self) -> Option<f64> {
        self.median_nanos().map(|nanos| 1e9 / nanos)
    }

    pub fn median_cpu_micros(&self) -> Option<f64> {
        Spread::of(&self.cpu_micros).map(|spread| spread.median)
    }

    pub fn median_sleeps(&self) -> Option<f64> {
        Spread::of(&self.sleeps).map(|spread| spread.median)
    }

    /// The latency in nanoseconds that this share of the operations did not exceed.
    pub fn latency(&self, share: f64) -> Option<u64> {
        percentile(&self.latencies, share)
    }
}

impl Comparison {
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Time an operation of `name` against `other`, round by round; below 1 is faster.
    pub fn time_ratio(&self, name: &str, other: &str) -> Option<Spread> {
        self.round_by_round(name, other, |row| &row.nanos)
    }

    /// Operations a second of `name` against `other`, round by round; above 1 is faster.
    pub fn speed_ratio(&self, name: &str, other: &str) -> Option<Spread> {
        self.round_by_round(other, name, |row| &row.nanos)
    }

    /// The median latency of `name` against `other`, round by round.
    pub fn latency_ratio(&self, name: &str, other: &str) -> Option<Spread> {
        self.round_by_round(name, other, |row| &row.median_latencies)
    }

    /// Client CPU an operation of `name` against `other`, round by round.
    pub fn cpu_ratio(&self, name: &str, other: &str) -> Option<Spread> {
        self.round_by_round(name, other, |row| &row.cpu_micros)
    }

    fn round_by_round(
        &self,
        name: &str,
        other: &str,
        of: impl Fn(&Row) -> &Vec<f64>,
    ) -> Option<Spread> {
        let (row, other) = (self.row(name)?, self.row(other)?);
        // A contender that failed in some round has none of the rounds that could be compared.
        if row.failure.is_some() || other.failure.is_some() {
            return None;
        }
        Spread::of(&ratios(of(row), of(other)))
    }
}

/// Measures `contenders` in `rounds` rounds after one to warm up, each round in another order. One
/// that fails is out from then on, and its row says why.
pub fn interleave(
    title: &str,
    rounds: usize,
    reference: &str,
    mut contenders: Vec<Contender>,
    progress: &Progress,
) -> Comparison {
    let mut rows: Vec<Row> = contenders.iter().map(|one| Row::new(&one.name)).collect();
    for round in 0..=rounds {
        progress.round(title, round, rounds);
        for index in order(round, contenders.len()) {
            let row = &mut rows[index];
            if row.failure.is_some() {
                continue;
            }
            match (contenders[index].measure)() {
                Ok(_) if round == 0 => {}
                Ok(mut sample) => {
                    sample.latencies.sort_unstable();
                    let median = percentile(&sample.latencies, 0.5);
                    row.median_latencies
                        .extend(median.map(|nanos| nanos as f64));
                    row.nanos.push(sample.nanos_per_operation());
                    row.cpu_micros.push(sample.cpu_micros_per_operation());
                    row.sleeps.extend(sample.sleeps_per_operation());
                    row.latencies.extend(sample.latencies);
                }
                Err(error) => row.failure = Some(format!("{error:#}")),
            }
        }
    }
    let base = rows.iter().find(|row| row.name == reference).cloned();
    for row in &mut rows {
        row.latencies.sort_unstable();
        if row.failure.is_none()
            && let Some(base) = &base
        {
            row.ratios = ratios(&row.nanos, &base.nanos);
            row.cpu_ratios = ratios(&row.cpu_micros, &base.cpu_micros);
        }
    }
    progress.done(title);
    Comparison {
        title: title.to_owned(),
        reference: reference.to_owned(),
        rows,
    }
}

/// Who is measured after whom in a round: shuffled, so that nobody is always first, nor always
/// behind the same one, whose traces in the caches and in the allocator it would pay for.
pub fn order(round: usize, contenders: usize) -> Vec<usize> {
    let mut generator = Generator::new(round as u64);
    let mut order: Vec<usize> = (0..contenders).collect();
    for last in (1..contenders).rev() {
        order.swap(last, place(generator.next_number(), last + 1));
    }
    order
}

/// Round by round.
fn ratios(mine: &[f64], theirs: &[f64]) -> Vec<f64> {
    let pairs = mine.iter().zip(theirs);
    pairs.map(|(mine, theirs)| mine / theirs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(name: &str, nanos: u64) -> Contender {
        Contender::new(name, move || {
            Ok(Sample {
                operations: 10,
                wall: Duration::from_nanos(nanos * 10),
                ..Sample::default()
            })
        })
    }

    #[test]
    fn a_ratio_is_taken_against_the_reference_of_the_same_round() {
        let mut round = 0;
        let drifting = Contender::new("drifting", move || {
            round += 1;
            Ok(Sample {
                operations: 1,
                wall: Duration::from_nanos(100 * round),
                ..Sample::default()
            })
        });
        let contenders = vec![drifting, contender("steady", 100)];
        let comparison = interleave("test", 3, "drifting", contenders, &Progress::new());
        // Round 0 warms up; so the reference takes 200, 300 and 400.
        let steady = comparison.row("steady").unwrap();
        assert_eq!(steady.ratios, [100.0 / 200.0, 100.0 / 300.0, 100.0 / 400.0]);
        assert_eq!(
            comparison.time_ratio("drifting", "steady").unwrap().median,
            3.0
        );
    }

    #[test]
    fn everybody_is_measured_once_a_round_and_behind_others_each_time() {
        let mut before_the_first = std::collections::BTreeSet::new();
        for round in 0..15 {
            let order = order(round, 4);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            let place = order.iter().position(|index| *index == 0).unwrap();
            before_the_first.insert(place.checked_sub(1).map(|before| order[before]));
        }
        assert_eq!(before_the_first.len(), 4, "{before_the_first:?}");
    }

    #[test]
    fn one_that_fails_has_its_reason_and_no_ratio() {
        let contenders = vec![
            contender("steady", 100),
            Contender::absent("gone", "not here"),
        ];
        let comparison = interleave("test", 2, "steady", contenders, &Progress::new());
        let gone = comparison.row("gone").unwrap();
        assert_eq!(gone.failure.as_deref(), Some("not here"));
        assert_eq!(gone.ratio(), None);
        assert_eq!(comparison.speed_ratio("gone", "steady"), None);
    }
}
