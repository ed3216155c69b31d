//! Plots as inline SVG: curves over the number of connections, both axes logarithmic, each curve named at its end.

use std::fmt::Write as _;

use stockhold_harness::internal::report::escaped;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 34.0;
/// Names closer than this would lie upon each other.
const NAME_HEIGHT: f64 = 14.0;
const COLOURS: usize = 6;

/// One curve.
pub struct Curve {
    /// What stands at its end.
    pub name: String,
    /// `(connections, value)`, by connections.
    pub points: Vec<(f64, f64)>,
}

struct Axis {
    from: f64,
    to: f64,
    /// Where it begins and ends on the paper.
    paper: (f64, f64),
}

impl Axis {
    /// An axis that holds these values.
    fn over(values: impl Iterator<Item = f64>, paper: (f64, f64), whole_decades: bool) -> Option<Self> {
        let (low, high) = values.filter(|value| *value > 0.0).fold(None, |range: Option<(f64, f64)>, value| {
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        })?;
        let (mut from, mut to) = (low.log10(), high.log10());
        if whole_decades {
            (from, to) = (from.floor(), to.ceil());
        }
        if to - from < 0.1 {
            (from, to) = (from - 0.5, to + 0.5);
        }
        Some(Axis { from, to, paper })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.max(f64::MIN_POSITIVE).log10() - self.from) / (self.to - self.from);
        self.paper.0 + share.clamp(0.0, 1.0) * (self.paper.1 - self.paper.0)
    }

    /// 1, 2 and 5 of each decade, or 1 alone where that would be too many.
    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.to - self.from > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = self.from.floor() as i32..=self.to.ceil() as i32;
        decades
            .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
            .filter(|tick| (self.from - 1e-9..=self.to + 1e-9).contains(&tick.log10()))
            .collect()
    }
}

/// A figure with curves; empty when there is nothing to draw.
pub fn curves(title: &str, caption: &str, curves: &[Curve], told: fn(f64) -> String) -> String {
    let drawn: Vec<&Curve> = curves.iter().filter(|curve| curve.points.iter().any(|(_, value)| *value > 0.0)).collect();
    let all = || drawn.iter().flat_map(|curve| curve.points.iter());
    let Some(x) = Axis::over(all().map(|(x, _)| *x), (LEFT, WIDTH - RIGHT), false) else { return String::new() };
    let Some(y) = Axis::over(all().map(|(_, y)| *y), (HEIGHT - BOTTOM, TOP), true) else { return String::new() };
    let mut svg = frame(&x, &y, all().map(|(x, _)| *x), told);
    for (index, curve) in drawn.iter().enumerate() {
        svg.push_str(&path(curve, index % COLOURS, &x, &y, told));
    }
    svg.push_str(&names(&drawn, &y));
    figure(title, caption, &svg)
}

fn frame(x: &Axis, y: &Axis, xs: impl Iterator<Item = f64>, told: fn(f64) -> String) -> String {
    let mut svg = String::new();
    for tick in y.ticks() {
        let at = y.place(tick);
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            told(tick)
        );
    }
    let mut ticks: Vec<f64> = xs.collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    for tick in ticks {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick:.0}</text>",
            x.place(tick),
            HEIGHT - BOTTOM + 16.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">connections</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 3.0
    );
    svg
}

fn path(curve: &Curve, colour: usize, x: &Axis, y: &Axis, told: fn(f64) -> String) -> String {
    let places: Vec<(f64, f64, f64, f64)> = curve
        .points
        .iter()
        .map(|(connections, value)| (x.place(*connections), y.place(*value), *connections, *value))
        .collect();
    let line: Vec<String> = places.iter().map(|(x, y, _, _)| format!("{x:.1} {y:.1}")).collect();
    let mut svg = format!("<path class=\"curve c{colour}\" d=\"M{}\"/>", line.join("L"));
    for (x, y, connections, value) in places {
        let _ = write!(
            svg,
            "<circle class=\"c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}, {connections:.0} connections: {}</title></circle>",
            escaped(&curve.name),
            told(value)
        );
    }
    svg
}

/// The names, from top to bottom, pushed apart where their curves end close together.
fn names(curves: &[&Curve], y: &Axis) -> String {
    let mut ends: Vec<(f64, usize, &str)> = curves
        .iter()
        .enumerate()
        .filter_map(|(index, curve)| Some((y.place(curve.points.last()?.1), index % COLOURS, curve.name.as_str())))
        .collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut lowest = f64::MIN;
    for (at, _, _) in &mut ends {
        *at = at.max(lowest + NAME_HEIGHT);
        lowest = *at;
    }
    // Pushed out at the bottom, they all move up.
    let excess = (lowest - (HEIGHT - BOTTOM)).max(0.0);
    ends.iter()
        .map(|(at, colour, name)| {
            let (x, y) = (WIDTH - RIGHT + 10.0, at - excess + 4.0);
            format!("<text class=\"name c{colour}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(name))
        })
        .collect()
}

fn figure(title: &str, caption: &str, svg: &str) -> String {
    format!(
        "<figure><figcaption><strong>{title}</strong>{caption}</figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT:.0}\" role=\"img\" aria-label=\"{title}\">{svg}</svg></figure>\n",
        title = escaped(title),
        caption = escaped(caption),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_places_a_decade_halfway_between_its_neighbours() {
        let axis = Axis::over([20.0, 900.0].into_iter(), (100.0, 0.0), true);
        let places = axis.map(|axis| (axis.place(10.0), axis.place(100.0), axis.place(1_000.0), axis.ticks().len()));
        assert_eq!(places, Some((100.0, 50.0, 0.0, 7)));
    }

    #[test]
    fn names_do_not_lie_upon_each_other() {
        let curve = |name: &str| Curve { name: name.to_owned(), points: vec![(1.0, 10.0), (200.0, 100.0)] };
        let svg = curves("t", "", &[curve("a"), curve("b")], |value| value.to_string());
        let heights: Vec<f64> = svg
            .split("class=\"name ")
            .skip(1)
            .filter_map(|text| text.split("y=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights.len(), 2);
        assert!((heights[0] - heights[1]).abs() >= NAME_HEIGHT - 0.1, "{heights:?}");
    }
}
