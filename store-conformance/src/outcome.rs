//! What running a law showed, and the text of a breach.

use std::fmt;

use crate::laws::Law;

/// What running a law showed.
#[derive(Debug)]
pub enum Outcome {
    /// No case broke it.
    Kept {
        /// How many cases ran.
        cases: u32,
    },
    /// A case broke it.
    Broken(Box<Breach>),
    /// It was not run, and why. Not a pass.
    NotChecked(String),
}

impl Outcome {
    /// Whether no case broke the law.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    /// Whether a case broke the law.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// How a law was broken. `Display` is the whole story, for people.
#[derive(Debug)]
pub struct Breach {
    /// The law.
    pub law: &'static Law,
    /// The driver's name, where one was opened.
    pub driver: Option<&'static str>,
    /// What was expected and what was there instead.
    pub failure: String,
    /// The smallest input found that breaks the law.
    pub input: String,
    /// The calls of the case with their answers.
    pub timeline: String,
    /// The command that runs this case again.
    pub replay: String,
    /// The case, of the configuration's seed.
    pub case: u32,
    /// How many smaller inputs broke the law as well.
    pub shrunk: u32,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let law = self.law;
        writeln!(f, "broken law: {law}")?;
        writeln!(f, "  meaning:  {}", law.meaning)?;
        if !law.rules.is_empty() {
            writeln!(f, "  contract: rule {:?}", law.rules)?;
        }
        writeln!(f, "  driver:   {}", self.driver.unwrap_or("(not opened)"))?;
        writeln!(f, "  failure:  {}", self.failure)?;
        if self.input != "()" {
            writeln!(
                f,
                "  input:    {} (shrunk {} times)",
                self.input, self.shrunk
            )?;
        }
        writeln!(f, "  timeline of case {}:", self.case)?;
        f.write_str(&self.timeline)?;
        writeln!(f, "  replay:   {}", self.replay)
    }
}
