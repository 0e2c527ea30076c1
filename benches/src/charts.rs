//! The plots that more than one area draws.

use crate::compare::Comparison;
use crate::plot::{Plot, Series};
use crate::statistics::percentile;

/// Operations a second by the number of tasks, a line for each contender.
pub fn throughput(title: &str, by_tasks: &[(usize, Comparison)]) -> Plot {
    let names = by_tasks.first().map_or(&[][..], |(_, first)| &first.rows);
    let series = names.iter().map(|row| Series {
        name: row.name.clone(),
        points: by_tasks
            .iter()
            .filter_map(|(tasks, comparison)| {
                let speed = comparison.row(&row.name)?.operations_per_second()?;
                Some((*tasks as f64, speed))
            })
            .collect(),
    });
    Plot {
        title: title.to_owned(),
        x: "tasks".to_owned(),
        y: "operations a second".to_owned(),
        series: series.collect(),
        log_x: true,
        log_y: true,
    }
}

/// How long the slowest operations take, a line for each contender: to the right are those that
/// are seldom.
pub fn latencies(title: &str, comparison: &Comparison) -> Plot {
    let series = comparison.rows.iter().map(|row| Series {
        name: row.name.clone(),
        points: distribution(&row.latencies),
    });
    Plot {
        title: title.to_owned(),
        x: "one operation in so many takes longer".to_owned(),
        y: "microseconds".to_owned(),
        series: series.collect(),
        log_x: true,
        log_y: true,
    }
}

/// Sorted nanoseconds as points: one in so many takes longer than so many microseconds.
pub fn distribution(sorted: &[u64]) -> Vec<(f64, f64)> {
    [2.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5]
        .into_iter()
        .filter(|seldom| *seldom <= sorted.len() as f64)
        .filter_map(|seldom| {
            let nanos = percentile(sorted, 1.0 - 1.0 / seldom)?;
            Some((seldom, nanos as f64 / 1e3))
        })
        .collect()
}
