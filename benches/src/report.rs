//! The report: a section an area, the goals, the machine, as Markdown with plots beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::areas::{self, Area};
use crate::compare::{Comparison, Row};
use crate::goals::{self, Goal, Limit};
use crate::machine;
use crate::plot::{Bars, Plot};
use crate::settings::Settings;
use crate::statistics::{Spread, short, time};

/// What was measured so far.
pub struct Report {
    output: PathBuf,
    quick: bool,
    load_before: String,
    areas: Vec<&'static str>,
    body: String,
    measured: Vec<(&'static Goal, Spread)>,
    failures: Vec<String>,
}

impl Report {
    pub fn new(settings: &Settings) -> Self {
        Self {
            output: settings.output.clone(),
            quick: settings.quick,
            load_before: machine::load(),
            areas: settings.areas.iter().map(|area| area.name).collect(),
            body: String::new(),
            measured: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub fn begin_section(&mut self, area: &Area) {
        self.text(&format!("## {}\n\n{}", area.name, area.about));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        self.body.push_str(text);
        self.body.push_str("\n\n");
    }

    /// The area cannot go on.
    pub fn failed(&mut self, reason: &str) {
        self.text(&format!("**Failed**: {reason}"));
        self.failures.push(reason.to_owned());
    }

    /// A comparison as a table: the ratio of time first, since only it is comparable between runs.
    pub fn comparison(&mut self, comparison: &Comparison) {
        let timed = comparison.rows.iter().any(|row| !row.latencies.is_empty());
        let mut table = format!("### {}\n\n", comparison.title);
        table += "| | time against the reference (lowest..highest) | an operation | a second | CPU an operation | CPU against the reference | sleeps an operation |";
        table += if timed {
            " p50 | p99 | p99.9 |\n"
        } else {
            "\n"
        };
        table += "|---|---|---|---|---|---|---|";
        table += if timed { "---|---|---|\n" } else { "\n" };
        for row in &comparison.rows {
            let reference = row.name == comparison.reference;
            table += &line(row, reference, timed);
        }
        self.text(table.trim_end());
        for row in &comparison.rows {
            if let Some(failure) = &row.failure {
                // A peer that has no such operation is no failure of the run, ours is.
                if row.name.starts_with(OURS) {
                    self.failures
                        .push(format!("{}, {}: {failure}", comparison.title, row.name));
                }
            }
        }
    }

    /// A table of figures that are not a comparison.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let mut table = format!(
            "| {} |\n|{}\n",
            header.join(" | "),
            "---|".repeat(header.len())
        );
        for row in rows {
            let _written = writeln!(table, "| {} |", row.join(" | "));
        }
        self.text(table.trim_end());
    }

    /// Writes a plot beside the report and shows it.
    pub fn plot(&mut self, name: &str, plot: &Plot) -> Result<()> {
        self.image(name, &plot.title, &plot.to_svg())
    }

    /// As [`plot`](Self::plot).
    pub fn bars(&mut self, name: &str, bars: &Bars) -> Result<()> {
        self.image(name, &bars.title, &bars.to_svg())
    }

    fn image(&mut self, name: &str, title: &str, svg: &str) -> Result<()> {
        fs::create_dir_all(&self.output)?;
        let file = format!("{name}.svg");
        fs::write(self.output.join(&file), svg)?;
        self.text(&format!("![{title}]({file})"));
        Ok(())
    }

    /// Holds a figure against the goal that has this id.
    pub fn measured(&mut self, id: &str, figure: Option<Spread>) {
        let Some(goal) = goals::ALL.iter().find(|goal| goal.id == id) else {
            self.failures.push(format!("there is no goal {id}"));
            return;
        };
        if let Some(figure) = figure {
            self.measured.push((goal, figure));
        }
    }

    /// The directory of the report, and its name in it.
    pub fn path(&self) -> PathBuf {
        self.output.join("report.md")
    }

    pub fn write(&self) -> Result<()> {
        fs::create_dir_all(&self.output)?;
        let mut text = String::from("# Measurements\n\n");
        let kind = if self.quick { "quick" } else { "full" };
        let _written = writeln!(text, "A {kind} run of {}.\n", self.areas.join(", "));
        text += "Contenders do the same work in one process in interleaved rounds. A ratio is taken against the \
                 reference of the same round; shown are the median and, in parentheses, the lowest and the highest \
                 round. Below 1 is faster. CPU is that of this process, not of servers; it hardly depends on \
                 what else the machine does.\n\n";
        text += "## Goals\n\n";
        text += &self.goals();
        text += "\n## Machine\n\n";
        text += &machine::describe(&self.load_before);
        text += "\n";
        text += &self.body;
        fs::write(self.path(), text.trim_end().to_owned() + "\n")
            .with_context(|| format!("cannot write {}", self.path().display()))
    }

    fn goals(&self) -> String {
        let mut table =
            String::from("| area | goal | limit | measured | |\n|---|---|---|---|---|\n");
        for goal in goals::ALL {
            let measured = self.measured.iter().find(|(other, _)| other.id == goal.id);
            let (figure, verdict) = match measured {
                Some((_, figure)) => (figure.to_string(), verdict(goal, figure)),
                None if self.areas.contains(&goal.area) => ("—".to_owned(), "not measured"),
                None if areas::ALL.iter().any(|area| area.name == goal.area) => {
                    ("—".to_owned(), "area not run")
                }
                None => ("—".to_owned(), "to come"),
            };
            let (area, text, limit) = (goal.area, goal.text, limit(goal));
            let _written = writeln!(
                table,
                "| {area} | {text} | {limit} | {figure} | {verdict} |"
            );
        }
        table
    }

    /// The goals that were measured, for a terminal.
    pub fn goals_as_text(&self) -> String {
        let mut text = String::new();
        for (goal, figure) in &self.measured {
            let (verdict, limit) = (verdict(goal, figure), limit(goal));
            let _written = writeln!(
                text,
                "{verdict:11}  {}: {} {figure} ({limit})",
                goal.area, goal.text
            );
        }
        text
    }

    /// An error if something of ours could not be measured; a goal that is missed is none.
    pub fn outcome(&self) -> Result<()> {
        if !self.failures.is_empty() {
            bail!(
                "not everything was measured:\n  {}",
                self.failures.join("\n  ")
            );
        }
        Ok(())
    }

    pub fn output(&self) -> &Path {
        &self.output
    }
}

/// What the names of our own rows begin with.
pub const OURS: &str = "igniter-store";

fn verdict(goal: &Goal, figure: &Spread) -> &'static str {
    if goal.limit.is_kept_by(figure.median) {
        "reached"
    } else {
        "not reached"
    }
}

fn limit(goal: &Goal) -> String {
    match goal.limit {
        Limit::AtMost(limit) => format!("<= {limit}"),
        Limit::AtLeast(limit) => format!(">= {limit}"),
    }
}

fn line(row: &Row, reference: bool, timed: bool) -> String {
    let (mut open, mut close) = ("", "");
    if reference {
        (open, close) = ("**", " (reference)**");
    } else if row.name.starts_with(OURS) {
        (open, close) = ("**", "**");
    }
    let mut line = format!("| {open}{}{close} |", row.name);
    if let Some(failure) = &row.failure {
        let failure = failure.replace('|', "/").replace('\n', " ");
        let _written = writeln!(
            line,
            " {failure} | | | | | |{}",
            if timed { " | | |" } else { "" }
        );
        return line;
    }
    let cell = |text: Option<String>| format!(" {} |", text.unwrap_or_else(|| "—".to_owned()));
    line += &cell(row.ratio().map(|ratio| ratio.to_string()));
    line += &cell(row.median_nanos().map(time));
    line += &cell(row.operations_per_second().map(short));
    line += &cell(row.median_cpu_micros().map(|micros| time(micros * 1e3)));
    line += &cell(row.cpu_ratio().map(|ratio| ratio.to_string()));
    line += &cell(row.median_sleeps().map(|sleeps| format!("{sleeps:.3}")));
    if timed {
        for share in [0.5, 0.99, 0.999] {
            line += &cell(row.latency(share).map(|nanos| time(nanos as f64)));
        }
    }
    line + "\n"
}
