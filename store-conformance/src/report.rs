//! All laws on one driver, as a table for people and as JSON for programs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::Config;
use crate::harness::Harness;
use crate::laws::{LAWS, Law};
use crate::outcome::Outcome;
use crate::runner::run_law;

/// What running the laws on a driver showed.
#[derive(Debug)]
pub struct Report {
    results: Vec<LawResult>,
    seed: u64,
}

/// What running one law showed.
#[derive(Debug)]
pub struct LawResult {
    /// The law.
    pub law: &'static Law,
    /// What it showed.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// Runs every law, one after the other, on the driver that the harness of `make` opens.
///
/// What [`Config::without`] leaves out is in the report as not checked, with the reason.
pub fn report(make: &dyn Fn() -> Arc<dyn Harness>, config: &Config) -> Report {
    let results = LAWS.iter().map(|law| {
        let begun = Instant::now();
        let outcome = run_law(law, make, config);
        let took = begun.elapsed();
        LawResult { law, outcome, took }
    });
    Report {
        results: results.collect(),
        seed: config.seed,
    }
}

impl Report {
    /// The results, in the order of the laws.
    #[must_use]
    pub fn results(&self) -> &[LawResult] {
        &self.results
    }

    /// The laws that are broken.
    pub fn broken(&self) -> impl Iterator<Item = &'static Law> {
        let broken = self
            .results
            .iter()
            .filter(|result| result.outcome.is_broken());
        broken.map(|result| result.law)
    }

    /// The report as JSON: `seed`, the counts `kept`, `broken` and `not_checked`, and `laws`, each
    /// with `group`, `law`, `meaning`, `rules`, `result` and what belongs to it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let laws: Vec<Value> = self.results.iter().map(LawResult::to_json).collect();
        let [kept, broken, not_checked] = self.counts();
        json!({
            "seed": self.seed,
            "kept": kept,
            "broken": broken,
            "not_checked": not_checked,
            "laws": laws,
        })
        .to_string()
    }

    fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for result in &self.results {
            counts[match result.outcome {
                Outcome::Kept { .. } => 0,
                Outcome::Broken(_) => 1,
                Outcome::NotChecked(_) => 2,
            }] += 1;
        }
        counts
    }
}

impl LawResult {
    fn to_json(&self) -> Value {
        let law = self.law;
        let mut result = json!({
            "group": law.group,
            "law": law.name,
            "meaning": law.meaning,
            "rules": law.rules,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        });
        let more = match &self.outcome {
            Outcome::Kept { cases } => json!({ "result": "kept", "cases": cases }),
            Outcome::NotChecked(reason) => json!({ "result": "not checked", "reason": reason }),
            Outcome::Broken(breach) => json!({
                "result": "broken",
                "driver": breach.driver,
                "failure": breach.failure,
                "input": breach.input,
                "timeline": breach.timeline,
                "replay": breach.replay,
            }),
        };
        if let (Value::Object(result), Value::Object(more)) = (&mut result, more) {
            result.extend(more);
        }
        result
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            let name = result.law.to_string();
            let millis = result.took.as_millis();
            match &result.outcome {
                Outcome::Kept { cases } => {
                    writeln!(f, "kept         {name:<56} {cases:>5} cases {millis:>7} ms")?;
                }
                Outcome::NotChecked(reason) => writeln!(f, "not checked  {name:<56} {reason}")?,
                Outcome::Broken(breach) => {
                    writeln!(f, "broken       {name:<56} {}", breach.failure)?;
                }
            }
        }
        let [kept, broken, not_checked] = self.counts();
        writeln!(
            f,
            "{kept} laws kept, {broken} broken, {not_checked} not checked, seed {}",
            self.seed
        )?;
        for result in &self.results {
            if let Outcome::Broken(breach) = &result.outcome {
                write!(f, "\n{breach}")?;
            }
        }
        Ok(())
    }
}
