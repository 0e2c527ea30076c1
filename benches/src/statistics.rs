//! Medians, spreads and percentiles.

use std::fmt;

/// The middle of some figures and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// Lowest, median and highest; none of nothing.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { low, median, high })
    }

    /// A figure that was measured once.
    pub fn single(figure: f64) -> Self {
        Self {
            low: figure,
            median: figure,
            high: figure,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            return write!(f, "{}", short(self.median));
        }
        let (median, low, high) = (short(self.median), short(self.low), short(self.high));
        write!(f, "{median} ({low}..{high})")
    }
}

/// The figure with three digits or so.
pub fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => thousands(figure.round() as i64),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{figure:.2}"),
        _ => format!("{figure:.4}"),
    }
}

fn thousands(figure: i64) -> String {
    let digits = figure.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if figure < 0 { format!("-{text}") } else { text }
}

/// A time in the unit in which it is easy to read.
pub fn time(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 1e4 => format!("{} ns", short(nanos)),
        nanos if nanos < 1e7 => format!("{} µs", short(nanos / 1e3)),
        nanos if nanos < 1e10 => format!("{} ms", short(nanos / 1e6)),
        nanos => format!("{} s", short(nanos / 1e9)),
    }
}

/// The figure that this share of sorted figures does not exceed.
pub fn percentile(sorted: &[u64], share: f64) -> Option<u64> {
    let last = sorted.len().checked_sub(1)?;
    let place = (sorted.len() as f64 * share).ceil() as usize;
    Some(sorted[place.saturating_sub(1).min(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        let spread = Spread::of(&[4.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 3.0, 10.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_figures() {
        let figures: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&figures, 0.5), Some(500));
        assert_eq!(percentile(&figures, 0.999), Some(999));
        assert_eq!(percentile(&figures, 1.0), Some(1000));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn figures_have_three_digits_or_so() {
        assert_eq!(short(1_234_567.0), "1,234,567");
        assert_eq!(short(123.4), "123");
        assert_eq!(short(0.954), "0.95");
        assert_eq!(time(12_345.0), "12.3 µs");
    }
}
