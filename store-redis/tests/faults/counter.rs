//! What the only writer of a counter knows of it, and whether the answers fit that.

use store_core::{ErrorKind, Result};

/// How far apart counters begin: an answer that belongs to another one is then out of range.
const APART: i64 = 1_000_000_000_000;

/// A counter with one writer, which adds one at a time and never repeats a call.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) key: String,
    pub(crate) base: i64,
    pub(crate) acknowledged: i64,
    /// May have been applied, or may still be.
    pub(crate) indeterminate: i64,
    /// Certainly not applied.
    pub(crate) refused: i64,
    last: i64,
    pub(crate) violations: Vec<String>,
}

impl Counter {
    /// The counter number `number`, which begins at `base`.
    pub(crate) fn new(number: usize) -> Self {
        let base = APART * (1 + number as i64);
        Self {
            key: format!("counter:{number}"),
            base,
            acknowledged: 0,
            indeterminate: 0,
            refused: 0,
            last: base,
            violations: Vec::new(),
        }
    }

    /// Takes the outcome of adding one.
    pub(crate) fn record(&mut self, outcome: &Result<i64>) {
        match outcome {
            Ok(sum) => {
                let least = self.last.max(self.base + self.acknowledged) + 1;
                let most = self.base + self.acknowledged + self.indeterminate + 1;
                if *sum < least || *sum > most {
                    self.violations.push(format!(
                        "{}: the answer {sum} is not from {least} to {most}",
                        self.key
                    ));
                }
                self.acknowledged += 1;
                self.last = *sum;
            }
            Err(error) => match error.kind() {
                ErrorKind::Indeterminate => self.indeterminate += 1,
                ErrorKind::Unavailable | ErrorKind::PermissionDenied | ErrorKind::Closed => {
                    self.refused += 1;
                }
                _ => self.violations.push(format!("{}: {error:?}", self.key)),
            },
        }
    }

    /// Checks the value at the end, when nothing is under way any more.
    pub(crate) fn check_final(&mut self, value: i64) {
        let least = self.last.max(self.base + self.acknowledged);
        let most = self.base + self.acknowledged + self.indeterminate;
        if value < least || value > most {
            self.violations.push(format!(
                "{}: {least} <= {value} <= {most} does not hold",
                self.key
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use store_core::Error;

    use super::*;

    /// How many violations there are after these outcomes, where `?` is in doubt, and with `last`.
    fn violations(outcomes: &str, last: i64) -> usize {
        let mut counter = Counter::new(0);
        for outcome in outcomes.split(' ') {
            let outcome = match outcome {
                "?" => Err(Error::new(ErrorKind::Indeterminate, "")),
                "no" => Err(Error::new(ErrorKind::Unavailable, "")),
                sum => Ok(APART + sum.parse::<i64>().unwrap()),
            };
            counter.record(&outcome);
        }
        counter.check_final(APART + last);
        counter.violations.len()
    }

    #[test]
    fn the_invariant_is_checked_at_each_answer_and_at_the_end() {
        for (outcomes, last, expected) in [
            ("1 2 no 3", 3, 0),
            ("1 ? 2 3", 4, 0),
            ("1 ? 3", 3, 0),
            ("1 ? 3", 2, 1),
            ("1 ? 3", 4, 1),
            ("1 2 no 4", 4, 2),
            ("1 1", 2, 1),
            ("1 ? 3 2", 3, 1),
            ("-1000000000000 2", 2, 1),
        ] {
            assert_eq!(violations(outcomes, last), expected, "{outcomes}, {last}");
        }
    }
}
