//! Runs the areas and writes the report: `store-benches [quick] [area...]`.

use std::env;

use anyhow::Result;
use store_benches::child;
use store_benches::report::Report;
use store_benches::settings::Settings;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // What must be measured in a fresh process runs in this program again.
    if let Some((child::ARGUMENT, arguments)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return child::run(arguments);
    }
    let settings = Settings::from_arguments(&arguments)?;
    let mut report = Report::new(&settings);
    for area in &settings.areas {
        settings.progress.step(area.name);
        report.begin_section(area);
        if let Err(error) = (area.run)(&settings, &mut report) {
            report.failed(&format!("{error:#}"));
        }
        // After each area: a run that is stopped leaves what it has.
        report.write()?;
    }
    println!("{}", report.goals_as_text());
    println!("The report is {}", report.path().display());
    report.outcome()
}
