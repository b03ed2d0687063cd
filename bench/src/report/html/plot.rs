//! Plots as inline SVG: axes, lines, dots. Knows nothing of reports.

use std::fmt::Write as _;

use super::escape;

/// Size of a plot and of the area within its axes, in the drawing's own units.
pub(crate) const WIDTH: f64 = 760.0;
pub(crate) const HEIGHT: f64 = 300.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// About so many ticks on a linear axis.
const TICKS: f64 = 6.0;

/// An axis with its ticks.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    label: String,
    min: f64,
    max: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to beyond `max`, evenly.
    pub(crate) fn linear(label: &str, max: f64, name: impl Fn(f64) -> String) -> Self {
        let max = if max > 0.0 && max.is_finite() { max } else { 1.0 };
        let rough = max / TICKS;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|size| size * power).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let ticks: Vec<(f64, String)> = (0..=(max / step).ceil() as u32)
            .map(|at| f64::from(at) * step)
            .map(|at| (at, name(at)))
            .collect();
        let end = ticks.last().map_or(max, |last| last.0);
        Self { label: label.to_owned(), min: 0.0, max: end, log: false, ticks }
    }

    /// From the power of ten at or below `min` to that at or beyond `max`, evenly in the logarithm.
    pub(crate) fn log(label: &str, min: f64, max: f64, name: impl Fn(f64) -> String) -> Self {
        let min = if min > 0.0 && min.is_finite() { min } else { 0.001 };
        let low = min.log10().floor() as i32;
        let high = (max.max(min).log10().ceil() as i32).max(low + 1);
        let ticks = (low..=high).map(|power| 10_f64.powi(power)).map(|at| (at, name(at))).collect();
        Self { label: label.to_owned(), min: 10_f64.powi(low), max: 10_f64.powi(high), log: true, ticks }
    }

    /// With ticks of its own, evenly in the logarithm.
    pub(crate) fn log_with(label: &str, min: f64, max: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { label: label.to_owned(), min, max: max.max(min * 1.001), log: true, ticks }
    }

    /// Place of a value along the axis, 0..=1.
    fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value.max(self.min) / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        place.clamp(0.0, 1.0)
    }
}

/// A plot under way.
pub(crate) struct Plot {
    id: String,
    title: String,
    description: String,
    x: Axis,
    y: Axis,
    body: String,
    legend: Vec<(String, &'static str)>,
}

impl Plot {
    pub(crate) fn new(id: &str, title: &str, description: &str, x: Axis, y: Axis) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            x,
            y,
            body: String::new(),
            legend: Vec::new(),
        }
    }

    pub(crate) fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// A line through the points, broken where there is none. `class` names its stroke.
    pub(crate) fn line(
        &mut self,
        name: &str,
        class: &'static str,
        points: impl Iterator<Item = Option<(f64, f64)>>,
    ) {
        let mut path = String::new();
        let mut pen_down = false;
        for point in points {
            if let Some((x, y)) = point {
                let step = if pen_down { 'L' } else { 'M' };
                let _ = write!(path, "{step}{:.1} {:.1}", self.x(x), self.y(y));
            }
            pen_down = point.is_some();
        }
        if !path.is_empty() {
            let _ = write!(self.body, r#"<path class="line {class}" d="{path}"/>"#);
            self.legend.push((name.to_owned(), class));
        }
    }

    /// A vertical bar from one value to another: an interval.
    pub(crate) fn bar(&mut self, class: &str, x: f64, low: f64, high: f64) {
        let (x, low, high) = (self.x(x), self.y(low), self.y(high));
        let _ = write!(
            self.body,
            r#"<path class="bar {class}" d="M{:.1} {low:.1}h8m-4 0V{high:.1}m-4 0h8"/>"#,
            x - 4.0
        );
    }

    /// A dot a point.
    pub(crate) fn dots(&mut self, name: &str, class: &'static str, points: impl Iterator<Item = (f64, f64)>) {
        let mut some = false;
        for (x, y) in points {
            some = true;
            let _ = write!(
                self.body,
                r#"<circle class="dot {class}" cx="{:.1}" cy="{:.1}" r="3"/>"#,
                self.x(x),
                self.y(y)
            );
        }
        if some {
            self.legend.push((name.to_owned(), class));
        }
    }

    /// Shapes that the caller placed itself by [`Self::x`] and [`Self::y`].
    pub(crate) fn raw(&mut self, shapes: &str) {
        self.body.push_str(shapes);
    }

    /// The drawing and its legend.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        let (id, title, description) = (&self.id, escape(&self.title), escape(&self.description));
        let _ = write!(
            out,
            r#"<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-labelledby="{id}-title {id}-desc"><title id="{id}-title">{title}</title><desc id="{id}-desc">{description}</desc>"#
        );
        self.axes(&mut out);
        out.push_str(&self.body);
        out.push_str("</svg>");
        if !self.legend.is_empty() {
            out.push_str(r#"<ul class="legend">"#);
            for (name, class) in &self.legend {
                let _ = write!(
                    out,
                    r#"<li><svg viewBox="0 0 40 12" aria-hidden="true"><path class="line {class}" d="M0 6h40"/></svg>{}</li>"#,
                    escape(name)
                );
            }
            out.push_str("</ul>");
        }
        out
    }

    fn axes(&self, out: &mut String) {
        let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (value, name) in &self.y.ticks {
            let y = self.y(*value);
            let _ = write!(
                out,
                r#"<path class="grid" d="M{LEFT} {y:.1}H{right}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 6.0,
                y + 4.0,
                escape(name)
            );
        }
        for (value, name) in &self.x.ticks {
            let x = self.x(*value);
            let _ = write!(
                out,
                r#"<path class="grid" d="M{x:.1} {TOP}V{base}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                base + 16.0,
                escape(name)
            );
        }
        let _ = write!(
            out,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escape(&self.x.label)
        );
        let middle = (TOP + base) / 2.0;
        let _ = write!(
            out,
            r#"<text x="14" y="{middle:.1}" text-anchor="middle" transform="rotate(-90 14 {middle:.1})">{}</text>"#,
            escape(&self.y.label)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values() {
        let linear = Axis::linear("", 4_321.0, |at| at.to_string());
        assert_eq!(
            linear.ticks.iter().map(|tick| tick.0).collect::<Vec<_>>(),
            [0.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0, 5_000.0]
        );
        assert!((linear.place(2_500.0) - 0.5).abs() < 1e-9);
        let log = Axis::log("", 0.03, 70.0, |at| at.to_string());
        assert_eq!((log.min, log.max), (0.01, 100.0));
        assert!((log.place(1.0) - 0.5).abs() < 1e-9);
        assert_eq!((log.place(0.0), log.place(1e9)), (0.0, 1.0));
        // Nothing measured still makes an axis.
        assert!(Axis::linear("", 0.0, |at| at.to_string()).max > 0.0);
        assert!(Axis::log("", f64::INFINITY, 0.0, |at| at.to_string()).max > 0.0);
    }

    #[test]
    fn lines_break_where_there_is_no_point() {
        let axis = || Axis::linear("", 10.0, |at| at.to_string());
        let mut plot = Plot::new("p", "<t>", "d", axis(), axis());
        plot.line("a", "s1", [Some((0.0, 1.0)), None, Some((2.0, 3.0)), Some((3.0, 3.0))].into_iter());
        plot.line("none", "s2", std::iter::empty());
        let drawn = plot.render();
        assert_eq!(drawn.matches(['M', 'L']).count(), drawn.matches('M').count() + 1);
        assert!(drawn.contains("&lt;t&gt;") && !drawn.contains("none"));
    }
}
