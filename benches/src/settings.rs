//! What is to be measured, and how long.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::areas;
use crate::progress::Progress;

/// The settings of a run.
pub struct Settings {
    /// About five minutes for all areas, instead of as long as good figures need.
    pub quick: bool,
    /// The areas to run, in order.
    pub areas: Vec<&'static areas::Area>,
    /// Where the report and its plots go.
    pub output: PathBuf,
    pub progress: Progress,
}

impl Settings {
    /// Reads `[quick] [area...]`; no area is all of them.
    pub fn from_arguments(arguments: &[String]) -> Result<Self> {
        let mut settings = Self {
            quick: false,
            areas: Vec::new(),
            output: std::env::var_os("BENCH_OUTPUT")
                .map_or_else(|| PathBuf::from("target/bench"), PathBuf::from),
            progress: Progress::new(),
        };
        for argument in arguments {
            if argument == "quick" {
                settings.quick = true;
            } else if let Some(area) = areas::ALL.iter().find(|area| area.name == argument) {
                settings.areas.push(area);
            } else {
                let names: Vec<_> = areas::ALL.iter().map(|area| area.name).collect();
                bail!(
                    "there is no area {argument:?}; there are {}",
                    names.join(", ")
                );
            }
        }
        if settings.areas.is_empty() {
            settings.areas = areas::ALL.iter().collect();
        }
        Ok(settings)
    }

    /// One or the other of two figures.
    pub fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How many rounds count.
    pub fn rounds(&self) -> usize {
        self.choose(5, 15)
    }
}
