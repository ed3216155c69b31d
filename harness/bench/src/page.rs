//! The report as one page that asks the network for nothing.

use std::fmt::Write as _;

use crate::{
    figures::{Figures, Point, Setup},
    plot::{self, Curve},
    summary::{grouped, milliseconds, value, verdict},
};
use stockhold_harness::internal::report::escaped;

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn html(figures: &Figures) -> String {
    let met = figures.targets.iter().filter(|target| target.met == Some(true)).count();
    let measured = figures.targets.iter().filter(|target| target.met.is_some()).count();
    let empty = String::new();
    let known = |key: &str| escaped(figures.about.get(key).unwrap_or(&empty));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>Stockhold benchmark</title>\n<style>\n{STYLE}</style>\n\
         <h1>Stockhold benchmark</h1>\n<p class=\"soft\">{}, {}, PostgreSQL {}; {} measurements in {:.0} s. \
         {met} of {measured} measured targets met.</p>\n",
        escaped(&figures.began),
        known("processor"),
        known("postgresql server_version"),
        figures.points.len(),
        figures.took_seconds,
    );
    if !figures.failures.is_empty() {
        let failures: String =
            figures.failures.iter().map(|failure| format!("<li>{}</li>", escaped(failure))).collect();
        let _ = write!(page, "<h2 class=\"failure\">This run failed</h2>\n<ul class=\"failure\">{failures}</ul>\n");
    }
    page.push_str(&targets(figures));
    for (title, words, plots) in [
        ("Throughput", "Both axes are logarithmic.", throughput(figures)),
        (
            "Latency",
            "Of a closed loop, as its callers saw it, and corrected for coordinated omission: with the calls counted that a \
             connection would have made while it waited.",
            latency(figures),
        ),
    ] {
        if !plots.is_empty() {
            let _ =
                write!(page, "<h2>{title}</h2>\n<p class=\"soft\">{words}</p>\n<div class=\"plots\">\n{plots}</div>\n");
        }
    }
    page.push_str(&others(figures));
    page.push_str(&points(figures));
    page.push_str(&about(figures));
    page.push_str("</html>\n");
    page
}

fn targets(figures: &Figures) -> String {
    let mut rows = String::new();
    for target in &figures.targets {
        let word = verdict(target);
        let _ = writeln!(
            rows,
            "<tr><td>{}<td>{}<td class=\"number\">{}<td class=\"number\">{}<td class=\"verdict {word}\">{word}<td><small>{}</small>",
            escaped(target.what),
            escaped(target.against),
            value(target),
            target.bound,
            escaped(&target.detail)
        );
    }
    format!(
        "<h2>Targets</h2>\n<p>Ratios of two measurements of this run: absolute figures are the machine's.</p>\n\
         <div class=\"scroll\"><table><tr><th>what<th>against<th class=\"number\">found<th class=\"number\">wanted<th><th>measured\n\
         {rows}</table></div>\n"
    )
}

fn curve(figures: &Figures, name: &str, series: &str, setup: Setup, of: fn(&Point) -> f64) -> Curve {
    let points = figures.closed(series, setup).map(|point| (f64::from(point.connections), of(point))).collect();
    Curve { name: name.to_owned(), points }
}

fn short_number(number: f64) -> String {
    if number >= 1_000.0 { format!("{} k", number / 1_000.0) } else { number.to_string() }
}

fn throughput(figures: &Figures) -> String {
    let rate = |name: &str, series: &str, setup| curve(figures, name, series, setup, |point| point.per_second);
    let mut plots = plot::curves(
        "One hot item",
        "reservations a second, over HTTP and in the database alone",
        &[
            rate("one process", "hot", Setup::OneProcess),
            rate("bare row update", "bare_update", Setup::Database),
            rate("two processes", "hot", Setup::TwoProcesses),
            rate("one statement", "one_statement", Setup::Database),
            rate("Express", "hot", Setup::Express),
            rate("transaction", "transaction", Setup::Database),
        ],
        short_number,
    );
    plots.push_str(&plot::curves(
        "One hot item, database far away",
        "reservations a second, with a longer round trip to the database",
        &[rate("one process", "hot", Setup::FarAway), rate("transaction", "transaction", Setup::DatabaseFarAway)],
        short_number,
    ));
    plots.push_str(&plot::curves(
        "1,000 items",
        "calls a second",
        &[
            rate("uniform", "uniform", Setup::OneProcess),
            rate("one statement", "one_statement_1000", Setup::Database),
            rate("Zipf", "zipf", Setup::OneProcess),
            rate("mix", "mix", Setup::OneProcess),
            rate("two processes", "uniform", Setup::TwoProcesses),
        ],
        short_number,
    ));
    plots.push_str(&plot::curves(
        "Without a write",
        "calls a second: refusals of a sold-out item, a static route, a round trip to the database",
        &[
            rate("sold out", "sold_out", Setup::OneProcess),
            rate("static route", "static", Setup::OneProcess),
            rate("select 1", "select_1", Setup::Database),
        ],
        short_number,
    ));
    plots
}

fn latency(figures: &Figures) -> String {
    let told: fn(f64) -> String = |microseconds| {
        if microseconds < 1e6 { format!("{} ms", microseconds / 1e3) } else { format!("{} s", microseconds / 1e6) }
    };
    let mut plots = String::new();
    let titles =
        [("hot", Setup::OneProcess, "One hot item"), ("uniform", Setup::OneProcess, "1,000 items, each as likely")];
    for (series, setup, title) in titles {
        let quantile = |name: &str, of| curve(figures, name, series, setup, of);
        plots.push_str(&plot::curves(
            title,
            "",
            &[
                quantile("p50", |point| point.latency.p50_us),
                quantile("p99", |point| point.latency.p99_us),
                quantile("p99.9", |point| point.latency.p999_us),
                quantile("p99.9 corrected", |point| point.corrected.p999_us),
            ],
            told,
        ));
    }
    plots
}

/// What has no place in a plot over connections.
fn others(figures: &Figures) -> String {
    let mut text = String::new();
    if let Some(lone) = &figures.lone_call {
        let _ = write!(
            text,
            "<h2>A lone call</h2>\n<p>One connection, an idle item, two services and the database called in turn, {} calls each. \
             Median {} with coalescing, {} without: {:.3} times as long (95 % of resamples between {:.3} and {:.3}); {} for the \
             least that a reservation writes, straight to the database.</p>\n",
            grouped(lone.calls as f64),
            milliseconds(lone.on.p50_us),
            milliseconds(lone.off.p50_us),
            lone.ratio,
            lone.interval.0,
            lone.interval.1,
            milliseconds(lone.baseline.p50_us)
        );
    }
    if !figures.starts.is_empty() {
        text.push_str(
            "<h2>Cold start</h2>\n<table><tr><th>function<th>first answer<th class=\"number\">starts<th class=\"number\">fastest\
             <th class=\"number\">median<th class=\"number\">slowest<th class=\"number\">size\n",
        );
        for starts in &figures.starts {
            let _ = writeln!(
                text,
                "<tr><td>{}<td>{} {}<td class=\"number\">{}<td class=\"number\">{:.1} ms<td class=\"number\">{:.1} ms\
                 <td class=\"number\">{:.1} ms<td class=\"number\">{:.1} MB",
                escaped(&starts.program),
                escaped(&starts.path),
                if starts.with_database { "from the database" } else { "without the database" },
                starts.count,
                starts.fastest_ms,
                starts.median_ms,
                starts.slowest_ms,
                starts.size_bytes as f64 / 1e6
            );
        }
        text.push_str("</table>\n");
    }
    if let Some(sweep) = &figures.sweep {
        let _ = write!(
            text,
            "<h2>A sweep</h2>\n<p>{} lapsed holds recorded in {:.1} s ({} a second). Meanwhile {:.0} reservations of other items \
             fell due each second: p99 {} beside the sweep, {} without it. Whoever asked for the row of a swept item waited {} \
             at most ({} tries, p99 {}); one call of the sweep took {} at most.</p>\n",
            grouped(sweep.expired_count as f64),
            sweep.seconds,
            grouped(sweep.expired_per_second),
            sweep.rate,
            milliseconds(sweep.meanwhile.p99_us),
            milliseconds(sweep.quiet.p99_us),
            milliseconds(sweep.lock_wait.max_us),
            grouped(sweep.lock_wait_count as f64),
            milliseconds(sweep.lock_wait.p99_us),
            milliseconds(sweep.call.max_us),
        );
    }
    text
}

fn points(figures: &Figures) -> String {
    let mut rows = String::new();
    for point in &figures.points {
        let pace = point.rate.map_or_else(|| "closed".to_owned(), |rate| format!("{} due/s", grouped(rate)));
        let old = if point.old_reservations == 0 {
            String::new()
        } else {
            format!(", {} old reservations", grouped(point.old_reservations as f64))
        };
        let processor = point.processor.map_or_else(String::new, |shares| {
            format!(
                "{:.0} / {:.0} / {:.0}",
                shares.harness_us_per_call, shares.services_us_per_call, shares.rest_us_per_call
            )
        });
        let batches = point.batches.as_ref().map_or_else(String::new, |batches| format!("{:.1}", batches.mean));
        let errors = if point.errors > 0 {
            format!(" <span class=\"failure\">{} errors</span>", point.errors)
        } else {
            String::new()
        };
        let _ = writeln!(
            rows,
            "<tr><td>{}<td>{}{old}<td class=\"number\">{}<td>{pace}<td class=\"number\">{}{errors}<td class=\"number\">{}\
             <td class=\"number\">{}<td class=\"number\">{}<td class=\"number\">{}<td class=\"number\">{batches}<td class=\"number\">{processor}",
            escaped(&point.series),
            point.setup.told(),
            point.connections,
            grouped(point.per_second),
            milliseconds(point.latency.p50_us),
            milliseconds(point.latency.p99_us),
            milliseconds(point.latency.p999_us),
            milliseconds(point.corrected.p999_us),
        );
    }
    format!(
        "<h2>Every measurement</h2>\n<p class=\"soft\">Latency as callers saw it; in an open loop from the instant a call fell \
         due. The last p99.9 is corrected for coordinated omission: it counts the calls that a closed loop would have made \
         while it waited. Processor time of a call, in µs: the load generator / the service / the database and the rest of the \
         machine.</p>\n<div class=\"scroll\"><table><tr><th>what<th>where<th class=\"number\">connections<th>loop<th class=\"number\">calls/s\
         <th class=\"number\">p50<th class=\"number\">p99<th class=\"number\">p99.9<th class=\"number\">corrected<th class=\"number\">batch\
         <th class=\"number\">processor, µs\n{rows}</table></div>\n"
    )
}

fn about(figures: &Figures) -> String {
    let rows: String =
        figures.about.iter().map(|(key, value)| format!("<tr><td>{}<td>{}\n", escaped(key), escaped(value))).collect();
    let notes: String = figures.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul>{notes}</ul>\n") };
    format!(
        "<h2>About this run</h2>\n{notes}<table>{rows}<tr><td>seed<td>{}\n<tr><td>command<td><code>{}</code></table>\n",
        figures.seed,
        escaped(&figures.command)
    )
}
