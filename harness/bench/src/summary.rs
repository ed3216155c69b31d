//! What the terminal shows: a line for each measurement while it runs, the targets at the end.

use crate::{
    figures::{Figures, Point},
    targets::Target,
};

/// One measurement, in one line.
pub fn line(point: &Point) -> String {
    let mut line = format!(
        "{:<18} {:<29} {:>4} connections {:>9}/s   p50 {:>9}  p99 {:>9}  p99.9 {:>9}",
        point.series,
        point.setup.told(),
        point.connections,
        grouped(point.per_second),
        milliseconds(point.latency.p50_us),
        milliseconds(point.latency.p99_us),
        milliseconds(point.latency.p999_us),
    );
    if let Some(rate) = point.rate {
        line.push_str(&format!("  ({} fall due a second)", grouped(rate)));
    }
    if let Some(processor) = &point.processor {
        line.push_str(&format!("  client {:.0} µs/call", processor.harness_us_per_call));
    }
    if point.errors > 0 {
        line.push_str(&format!("  {} ERRORS", point.errors));
    }
    line
}

/// The targets, then what was not as it must be.
pub fn text(figures: &Figures) -> String {
    let mut text = String::from("\n");
    let widest = |of: fn(&Target) -> &str| figures.targets.iter().map(|target| of(target).chars().count()).max();
    let (what, against) = (widest(|target| target.what), widest(|target| target.against));
    for target in &figures.targets {
        text.push_str(&format!(
            "{:<what$}  {:<against$}  {:>9}  {:<16} {:<13} {}\n",
            target.what,
            target.against,
            value(target),
            target.bound,
            verdict(target),
            target.detail,
            what = what.unwrap_or(0),
            against = against.unwrap_or(0),
        ));
    }
    let short = figures.targets.iter().filter(|target| target.met == Some(false)).count();
    let met = figures.targets.iter().filter(|target| target.met == Some(true)).count();
    text.push_str(&format!(
        "\n{met} targets met, {short} short, {} not measured; {} measurements in {:.0} s; seed {}\n",
        figures.targets.len() - met - short,
        figures.points.len(),
        figures.took_seconds,
        figures.seed
    ));
    for failure in &figures.failures {
        text.push_str(&format!("FAILED {failure}\n"));
    }
    text
}

/// In a word.
pub fn verdict(target: &Target) -> &'static str {
    match target.met {
        Some(true) => "met",
        Some(false) => "short",
        None => "not measured",
    }
}

/// The value with its unit, which its bound names too.
pub fn value(target: &Target) -> String {
    let unit = ["ms", "µs"].into_iter().find(|unit| target.bound.contains(&format!(" {unit} "))).unwrap_or("x");
    match target.value {
        Some(value) if value < 10.0 => format!("{value:.2} {unit}"),
        Some(value) => format!("{value:.1} {unit}"),
        None => "-".to_owned(),
    }
}

/// A number, its thousands apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds, to three digits.
pub fn milliseconds(microseconds: f64) -> String {
    let milliseconds = microseconds / 1_000.0;
    match milliseconds {
        0.0..10.0 => format!("{milliseconds:.2} ms"),
        0.0..100.0 => format!("{milliseconds:.1} ms"),
        _ => format!("{milliseconds:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_have_three_digits() {
        assert_eq!([grouped(999.0), grouped(1_234_567.4)], ["999", "1,234,567"]);
        assert_eq!([milliseconds(12.0), milliseconds(12_340.0), milliseconds(1e6)], ["0.01 ms", "12.3 ms", "1000 ms"]);
    }
}
