//! The report of a run, as a directory that is written whole or not at all: a page for people, JUnit XML and JSON for
//! machines. The page is one file and asks the network for nothing.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    race::{RaceResult, ScenarioResult},
    scenario,
    telling::{Bar, Failure},
    verdict::Verdict,
};

/// What else a report must say of a run.
pub struct Setting {
    /// The run's id.
    pub run: String,
    /// The base URLs, fit to be printed.
    pub urls: Vec<String>,
    /// What the probe found.
    pub found: Vec<String>,
    /// Whether the ledger was read.
    pub ledger: bool,
    /// What the control said, where it was asked.
    pub control: Option<String>,
}

/// Refuses a place where something stands already, before anything is raced.
pub fn vacant(directory: &Path) -> Result<(), String> {
    if directory.exists() {
        return Err(format!("{} exists already: a report is never written over another", directory.display()));
    }
    let parent = parent(directory);
    if parent.is_dir() { Ok(()) } else { Err(format!("{} is no directory", parent.display())) }
}

fn parent(directory: &Path) -> PathBuf {
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes the report of a race.
pub fn write(directory: &Path, result: &RaceResult, setting: &Setting) -> io::Result<()> {
    let files = [
        ("index.html", html(result, setting).into_bytes()),
        ("junit.xml", junit(result).into_bytes()),
        ("summary.json", serde_json::to_vec_pretty(result)?),
    ];
    place(directory, &setting.run, &files)
}

/// Writes files beside the place, then moves them there in one step.
pub fn place(directory: &Path, run: &str, files: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let unfinished = parent(directory).join(format!(".stockhold-report-{run}-{}", std::process::id()));
    fs::create_dir(&unfinished)?;
    let written = files
        .iter()
        .try_for_each(|(name, bytes)| fs::write(unfinished.join(name), bytes))
        .and_then(|()| fs::rename(&unfinished, directory));
    if written.is_err() {
        // What could not be finished is not left behind.
        let _ = fs::remove_dir_all(&unfinished);
    }
    written
}

/// Text as HTML and XML take it.
pub fn escaped(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'))
        .map(|letter| match letter {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            '\'' => "&#39;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// JUnit as CI servers read it: broken is a failure, undecided an error, never a pass.
pub fn junit(result: &RaceResult) -> String {
    let rows = &result.scenarios;
    let count = |verdict: Verdict| rows.iter().filter(|row| row.verdict == verdict && !row.skipped).count();
    let seconds = |row: &ScenarioResult| row.took_ms as f64 / 1_000.0;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let stopped = usize::from(result.stopped.is_some() || rows.is_empty());
    let (failures, errors) = (count(Verdict::Broken), count(Verdict::Undecided) + stopped);
    let skipped = rows.iter().filter(|row| row.skipped).count();
    let time: f64 = rows.iter().map(seconds).sum();
    let tests = rows.len() + stopped;
    xml.push_str(&format!(
        "<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{time:.3}\">\n  \
         <testsuite name=\"stockhold-harness\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" \
         skipped=\"{skipped}\" time=\"{time:.3}\">\n"
    ));
    for row in rows {
        xml.push_str(&format!(
            "    <testcase classname=\"race\" name=\"{}\" time=\"{:.3}\">",
            row.scenario,
            seconds(row)
        ));
        let why = escaped(&row.undecided.join("; "));
        match (&row.failure, row.verdict) {
            (Some(failure), _) => xml.push_str(&format!(
                "<failure message=\"{}\">{}</failure>",
                escaped(&failure.what),
                escaped(&failure.to_string())
            )),
            (None, _) if row.skipped => xml.push_str(&format!("<skipped message=\"{why}\"/>")),
            (None, Verdict::Undecided) => xml.push_str(&format!("<error message=\"{why}\"/>")),
            (None, _) => {}
        }
        xml.push_str("</testcase>\n");
    }
    if stopped > 0 {
        let why = result.stopped.as_ref().map_or("nothing was raced", |stopped| stopped.why.as_str());
        xml.push_str(&format!(
            "    <testcase classname=\"race\" name=\"the whole run\"><error message=\"{}\"/></testcase>\n",
            escaped(why)
        ));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2024; background: #fff }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
pre { background: #f4f5f7; padding: .8rem; overflow-x: auto; font-size: 13px } .verdict { font-weight: 700 }
.held { color: #116329 } .broken { color: #b3261e } .undecided, .skipped { color: #8a5a00 }
svg { width: 100%; background: #fafbfc; border: 1px solid #ddd } details { margin: .4rem 0 }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #dde } pre, svg { background: #1d2126 } .held { color: #5fd37a } .broken { color: #ff8a80 } .undecided, .skipped { color: #ffc266 } }
";

/// The page.
pub fn html(result: &RaceResult, setting: &Setting) -> String {
    let verdict = result.verdict.word();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{verdict}: {}</title>\n<style>{STYLE}</style>\n\
         <h1>Verdict: <span class=\"verdict {verdict}\">{verdict}</span></h1>\n<p>{}; run {}, seed {}. {}</p>\n",
        escaped(&setting.urls.join(", ")),
        escaped(&setting.urls.join(", ")),
        escaped(&setting.run),
        result.seed,
        if setting.ledger {
            "Evidence: every answer, and every version of each item's ledger."
        } else {
            "Evidence: every answer. No ledger was read, so a committed state that no answer showed was not seen."
        },
    );
    if let Some(stopped) = &result.stopped {
        page.push_str(&format!("<p class=\"undecided\">Stopped: {}</p>\n", escaped(&stopped.why)));
    }
    if let Some(control) = &setting.control {
        page.push_str(&format!("<p>{}</p>\n", escaped(control)));
    }
    page.push_str("<table><tr><th>scenario<th>verdict<th>rounds<th>outcomes<th>time<th>burst spread, median / widest<th>at once\n");
    result.scenarios.iter().for_each(|row| page.push_str(&table_row(row)));
    page.push_str("</table>\n");
    for failure in result.scenarios.iter().filter_map(|row| row.failure.as_ref()) {
        page.push_str(&told(failure));
    }
    page.push_str("<h2>The races in words</h2>\n");
    for row in &result.scenarios {
        let words = scenario::find(row.scenario).map(scenario::Scenario::told).unwrap_or_default();
        page.push_str(&format!(
            "<details><summary>{}</summary><pre>{}</pre></details>\n",
            row.scenario,
            escaped(&words)
        ));
    }
    page.push_str("<h2>What was not checked</h2>\n<ul>\n<li>How the service's own scheduler splits two plain reads of one request.</li>\n");
    setting.found.iter().for_each(|found| page.push_str(&format!("<li>Dialect: {}.</li>\n", escaped(found))));
    for row in result.scenarios.iter().filter(|row| row.skipped) {
        page.push_str(&format!("<li>{}: {}.</li>\n", row.scenario, escaped(&row.undecided.join("; "))));
    }
    page.push_str("</ul>\n</html>\n");
    page
}

fn table_row(row: &ScenarioResult) -> String {
    let word = if row.skipped { "skipped" } else { row.verdict.word() };
    let outcomes: Vec<String> = row.outcomes.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let why =
        if row.undecided.is_empty() { String::new() } else { format!("<br>{}", escaped(&row.undecided.join("; "))) };
    format!(
        "<tr><td>{}<td class=\"verdict {word}\">{word}{why}<td>{}<td>{}<td>{:.1} s<td>{:.1} / {:.1} ms<td>{}\n",
        row.scenario,
        row.rounds,
        escaped(&outcomes.join(", ")),
        row.took_ms as f64 / 1_000.0,
        row.spread_us.0 as f64 / 1_000.0,
        row.spread_us.1 as f64 / 1_000.0,
        row.overlapped,
    )
}

fn told(failure: &Failure) -> String {
    format!(
        "<h2 class=\"broken\">{}, round {}</h2>\n<pre>{}</pre>\n{}{}",
        escaped(&failure.scenario),
        failure.round,
        escaped(&failure.to_string()),
        occupancy(failure),
        timeline(failure)
    )
}

const WIDTH: f64 = 1_000.0;

struct Scale {
    from_ms: f64,
    per_ms: f64,
}

impl Scale {
    fn of(failure: &Failure) -> Option<Self> {
        let from_ms = failure.timeline.iter().map(|bar| bar.from_ms).min_by(f64::total_cmp)?;
        let to_ms = failure.timeline.iter().map(|bar| bar.to_ms).max_by(f64::total_cmp)?;
        Some(Scale { from_ms, per_ms: WIDTH / (to_ms - from_ms).max(0.001) })
    }

    fn x(&self, ms: f64) -> f64 {
        ((ms - self.from_ms) * self.per_ms).clamp(0.0, WIDTH)
    }
}

/// What was certainly and what was possibly taken, against the total, with the reads as dots.
fn occupancy(failure: &Failure) -> String {
    let Some(scale) = Scale::of(failure) else { return String::new() };
    let highest = failure.band.iter().map(|(_, _, most)| *most).chain([failure.total, 1]).max().unwrap_or(1) as f64;
    let y = |units: i64| 150.0 - units as f64 / highest * 140.0;
    let mut upper = format!("M0 {:.1}", y(0));
    let mut lower = upper.clone();
    for (at_ms, least, most) in &failure.band {
        let x = scale.x(*at_ms);
        // Writing to a string cannot fail.
        let _ = write!(upper, " H{x:.1} V{:.1}", y(*most));
        let _ = write!(lower, " H{x:.1} V{:.1}", y(*least));
    }
    let dots: String = failure
        .timeline
        .iter()
        .filter_map(|bar| bar.taken.map(|taken| (bar, taken)))
        .map(|(bar, taken)| {
            format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"#1f6feb\"/>", scale.x(bar.to_ms), y(taken))
        })
        .collect();
    format!(
        "<p>Units taken: possibly (thin), certainly (thick), as reads showed (dots), and the total (dashed).</p>\n\
         <svg viewBox=\"0 0 1000 160\" role=\"img\" aria-label=\"units taken over time\">\
         <path d=\"{upper} H1000\" fill=\"none\" stroke=\"#8a8f98\"/><path d=\"{lower} H1000\" fill=\"none\" stroke=\"#116329\" stroke-width=\"2.5\"/>\
         <path d=\"M0 {0:.1} H1000\" stroke=\"#b3261e\" stroke-dasharray=\"6 4\"/>{dots}</svg>\n",
        y(failure.total)
    )
}

/// One bar a call; what shows the violation is red.
fn timeline(failure: &Failure) -> String {
    let Some(scale) = Scale::of(failure) else { return String::new() };
    let step = (600.0 / failure.timeline.len().max(1) as f64).clamp(2.0, 14.0);
    let bar = |(index, bar): (usize, &Bar)| {
        let colour = if bar.marked {
            "#b3261e"
        } else if bar.ok {
            "#116329"
        } else {
            "#8a8f98"
        };
        format!(
            "<rect x=\"{:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{:.1}\" fill=\"{colour}\"{}><title>{}</title></rect>",
            scale.x(bar.from_ms),
            index as f64 * step + 2.0,
            (scale.x(bar.to_ms) - scale.x(bar.from_ms)).max(1.0),
            step - 1.0,
            if bar.marked { " class=\"failing\"" } else { "" },
            escaped(&bar.label)
        )
    };
    let bars: String = failure.timeline.iter().enumerate().map(bar).collect();
    format!(
        "<p>The round's calls in time: done (green), refused or unknown (grey), those that show the violation (red).</p>\n\
         <svg viewBox=\"0 0 1000 {:.0}\" role=\"img\" aria-label=\"calls over time\">{bars}</svg>\n",
        failure.timeline.len() as f64 * step + 4.0
    )
}
