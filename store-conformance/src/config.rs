//! How laws are run: the seed, the number of inputs, the limits, and what is left out.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::laws::Law;

/// How laws are run.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides every input. Printed with every result.
    pub seed: u64,
    /// How many inputs an ordinary property law tries; heavy laws try a part of it.
    pub cases: u32,
    /// Runs this case alone.
    pub only_case: Option<u32>,
    /// How long shrinking may take.
    pub shrink_limit: Duration,
    /// How long a law may take.
    pub law_limit: Duration,
    /// How long a call may run while no other one begins or ends. One that waits ends sooner, by its
    /// own limit; this is for one that blocks its thread.
    pub stall_limit: Duration,
    /// What the driver does not have, by group or need, and why.
    pub without: BTreeMap<String, String>,
    /// The command that runs a law again, with `{law}` for its name. A replay line puts the
    /// variables before it.
    pub command: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            cases: 32,
            only_case: None,
            shrink_limit: Duration::from_secs(10),
            law_limit: Duration::from_secs(180),
            stall_limit: Duration::from_secs(60),
            without: BTreeMap::new(),
            command: "cargo test -- {law}".to_owned(),
        }
    }
}

impl Config {
    /// The configuration that the environment asks for.
    ///
    /// `STORE_CONFORMANCE_SEED` is a number or `random`; `STORE_CONFORMANCE_CASES` the number of
    /// inputs of an ordinary law (32); `STORE_CONFORMANCE_CASE` runs one case alone.
    ///
    /// # Errors
    ///
    /// The name and value of a variable that is not a number.
    pub fn from_env() -> Result<Self, String> {
        let mut config = Self::default();
        match std::env::var("STORE_CONFORMANCE_SEED") {
            Ok(seed) if seed == "random" => config.seed = random_seed(),
            _ => config.seed = number("STORE_CONFORMANCE_SEED")?.unwrap_or(config.seed),
        }
        config.cases = number("STORE_CONFORMANCE_CASES")?.unwrap_or(config.cases);
        config.only_case = number("STORE_CONFORMANCE_CASE")?;
        Ok(config)
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many inputs an ordinary property law tries.
    #[must_use]
    pub fn with_cases(mut self, cases: u32) -> Self {
        self.cases = cases;
        self
    }

    /// The command that runs `law` again, or one case of it.
    pub(crate) fn replay(&self, law: &Law, case: Option<u32>) -> String {
        let case = case.map_or_else(String::new, |case| {
            format!(" STORE_CONFORMANCE_CASE={case}")
        });
        let seed = self.seed;
        let command = self.command.replace("{law}", &law.to_string());
        format!("STORE_CONFORMANCE_SEED={seed}{case} {command}")
    }

    /// Says that the driver lacks a group of laws or a need, and why.
    #[must_use]
    pub fn without(mut self, group: &str, reason: &str) -> Self {
        self.without.insert(group.to_owned(), reason.to_owned());
        self
    }
}

fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>, String> {
    let Ok(text) = std::env::var(name) else {
        return Ok(None);
    };
    let number = text.parse();
    number
        .map(Some)
        .map_err(|_| format!("{name} is {text:?}, which is not a number in range"))
}

fn random_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64)
}
