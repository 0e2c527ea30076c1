//! Plots as SVG: lines over numbers, and bars with names. Small enough not to need a crate.

use std::fmt::Write as _;

use crate::report::OURS;
use crate::statistics::short;

/// Lines, one for each series, each point marked.
pub struct Plot {
    pub title: String,
    pub x: String,
    pub y: String,
    pub series: Vec<Series>,
    pub log_x: bool,
    pub log_y: bool,
}

/// A line of a plot.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// Bars, one for each name.
pub struct Bars {
    pub title: String,
    pub y: String,
    pub bars: Vec<(String, f64)>,
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 50.0;
/// Where the plot ends and the legend begins.
const RIGHT: f64 = 600.0;
const BOTTOM: f64 = 400.0;
const HEIGHT: f64 = 450.0;

/// Of series that are not ours; they differ in lightness too.
const COLORS: &[&str] = &[
    "#4e79a7", "#59a14f", "#b07aa1", "#b6992d", "#9c755f", "#17becf", "#79706e", "#e377c2",
    "#1f3b57", "#a6d96a", "#d4a6c8", "#a0cbe8", "#bab0ac", "#5b2c6f",
];
const OUR_COLORS: &[&str] = &["#d62728", "#ff7f0e", "#ffbb78"];

/// An axis: from a figure to a place between 0 and 1.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    fn over(figures: impl Iterator<Item = f64>, log: bool) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for figure in figures.filter(|figure| figure.is_finite() && (!log || *figure > 0.0)) {
            low = low.min(figure);
            high = high.max(figure);
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        if !log {
            // Bars and lengths begin at nothing, or their ratios mislead.
            low = low.min(0.0);
            high *= 1.05;
        } else if high / low < 10.0 {
            low /= 1.5;
            high *= 1.5;
        }
        if high <= low {
            high = low + 1.0;
        }
        Self { low, high, log }
    }

    fn place(&self, figure: f64) -> f64 {
        if self.log {
            (figure.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (figure - self.low) / (self.high - self.low)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.log {
            let step = nice((self.high - self.low) / 5.0);
            let count = ((self.high - self.low) / step) as usize;
            return (0..=count)
                .map(|index| self.low + step * index as f64)
                .collect();
        }
        let digits: &[f64] = if self.high / self.low < 100.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let mut ticks = Vec::new();
        let mut power = 10f64.powf(self.low.log10().floor());
        while power <= self.high {
            ticks.extend(digits.iter().map(|digit| digit * power));
            power *= 10.0;
        }
        ticks.retain(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick));
        ticks
    }
}

/// The next figure of 1, 2 or 5 times a power of ten.
fn nice(figure: f64) -> f64 {
    let power = 10f64.powf(figure.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= figure)
        .unwrap_or(figure)
}

impl Plot {
    pub fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Axis::over(points().map(|point| point.0), self.log_x);
        let y = Axis::over(points().map(|point| point.1), self.log_y);
        let mut svg = begin(&self.title, &self.y);
        horizontal_lines(&mut svg, &y);
        for tick in x.ticks() {
            let place = LEFT + x.place(tick) * (RIGHT - LEFT);
            text(&mut svg, place, BOTTOM + 18.0, "middle", &tick_label(tick));
        }
        text(
            &mut svg,
            f64::midpoint(LEFT, RIGHT),
            BOTTOM + 38.0,
            "middle",
            &self.x,
        );
        let mut palette = Palette::default();
        for (index, series) in self.series.iter().enumerate() {
            let color = palette.next(&series.name);
            let places: Vec<(f64, f64)> = series
                .points
                .iter()
                .map(|point| {
                    (
                        LEFT + x.place(point.0) * (RIGHT - LEFT),
                        BOTTOM - y.place(point.1) * (BOTTOM - TOP),
                    )
                })
                .collect();
            let line: Vec<String> = places
                .iter()
                .map(|(x, y)| format!("{x:.1},{y:.1}"))
                .collect();
            let width = if series.name.starts_with(OURS) { 3 } else { 2 };
            let _written = writeln!(
                svg,
                r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="{width}"/>"#,
                line.join(" ")
            );
            // A line of very many points is a curve, and needs no marks.
            for (x, y) in places.iter().filter(|_| places.len() <= 20) {
                let _written = writeln!(
                    svg,
                    r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#
                );
            }
            legend(&mut svg, index, color, &series.name);
        }
        svg + "</svg>\n"
    }
}

impl Bars {
    pub fn to_svg(&self) -> String {
        let y = Axis::over(self.bars.iter().map(|bar| bar.1), false);
        let mut svg = begin(&self.title, &self.y);
        horizontal_lines(&mut svg, &y);
        let step = (RIGHT - LEFT) / self.bars.len().max(1) as f64;
        let mut palette = Palette::default();
        for (index, (name, figure)) in self.bars.iter().enumerate() {
            let color = palette.next(name);
            let left = LEFT + step * (index as f64 + 0.1);
            let height = y.place(*figure) * (BOTTOM - TOP);
            let (top, width) = (BOTTOM - height, step * 0.8);
            let _written = writeln!(
                svg,
                r#"<rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" fill="{color}"/>"#
            );
            text(
                &mut svg,
                left + width / 2.0,
                top - 4.0,
                "middle",
                &short(*figure),
            );
            legend(&mut svg, index, color, name);
        }
        svg + "</svg>\n"
    }
}

#[derive(Default)]
struct Palette {
    ours: usize,
    others: usize,
}

impl Palette {
    fn next(&mut self, name: &str) -> &'static str {
        let (colors, used) = if name.starts_with(OURS) {
            (OUR_COLORS, &mut self.ours)
        } else {
            (COLORS, &mut self.others)
        };
        *used += 1;
        colors[(*used - 1) % colors.len()]
    }
}

fn begin(title: &str, y: &str) -> String {
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#222222">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>
"##
    );
    let _written = writeln!(
        svg,
        r#"<text x="{LEFT}" y="20" font-size="15" font-weight="bold">{}</text>"#,
        escaped(title)
    );
    text(&mut svg, LEFT, 38.0, "start", y);
    svg
}

fn horizontal_lines(svg: &mut String, y: &Axis) {
    for tick in y.ticks() {
        let place = BOTTOM - y.place(tick) * (BOTTOM - TOP);
        let _written = writeln!(
            svg,
            r##"<line x1="{LEFT}" y1="{place:.1}" x2="{RIGHT}" y2="{place:.1}" stroke="#dddddd"/>"##
        );
        text(svg, LEFT - 6.0, place + 4.0, "end", &tick_label(tick));
    }
}

fn legend(svg: &mut String, index: usize, color: &str, name: &str) {
    let top = TOP + 20.0 * index as f64;
    let left = RIGHT + 20.0;
    let _written = writeln!(
        svg,
        r#"<rect x="{left}" y="{top:.1}" width="12" height="12" fill="{color}"/>"#
    );
    text(svg, left + 18.0, top + 10.0, "start", name);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = escaped(text);
    let _written = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn tick_label(figure: f64) -> String {
    let trimmed = |figure: f64, unit: &str| {
        let text = format!("{figure:.2}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        format!("{text}{unit}")
    };
    match figure.abs() {
        size if size >= 1e9 => trimmed(figure / 1e9, "G"),
        size if size >= 1e6 => trimmed(figure / 1e6, "M"),
        size if size >= 1e3 => trimmed(figure / 1e3, "k"),
        size if size >= 0.01 || size == 0.0 => trimmed(figure, ""),
        _ => format!("{figure:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_has_a_tick_at_each_power_of_ten() {
        let axis = Axis::over([1.0, 100_000.0].into_iter(), true);
        assert_eq!(
            axis.ticks(),
            [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0]
        );
        assert!((axis.place(100.0) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn names_are_escaped() {
        let bars = Bars {
            title: "a < b".to_owned(),
            y: String::new(),
            bars: vec![("Map<K, V>".to_owned(), 3.0)],
        };
        assert!(bars.to_svg().contains("Map&lt;K, V&gt;"));
        assert!(!bars.to_svg().contains("a < b"));
    }
}
