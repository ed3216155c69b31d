//! A round, drawn: how many units were taken, and every call in its lane. Drawn once, in microseconds and lanes: to look
//! closer is to move the view box, which the page's script does; without it the picture stands still and is whole.

use std::{collections::HashMap, fmt::Write as _};

use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use crate::{
    drive::drawing::{Bar, Drawing, Kind},
    report::text::{counted, grouped, ms, script_json, spelt_out},
};

/// Up to so many calls, the shortest is still a pixel wide; beyond, short calls add up to a shade.
const TICKED_MAX: usize = 2_000;
/// So many marked calls are elements of their own, with a title each.
const TITLED_MAX: usize = 500;
/// The band is drawn in no more slices than this.
const SLICES_MAX: u64 = 8_000;
/// So few marked calls are pointed at from the margin.
const POINTED_MAX: usize = 12;
const DENSITY_PARTS: usize = 300;
const FAULT_COLOUR: &str = "#c77700";

/// How a kind of call is drawn: its class, what the legend calls it, its thickness as a part of its lane.
const KINDS: [(Kind, &str, &str, f64); 4] = [
    (Kind::Read, "read", "read", 0.28),
    (Kind::Refused, "refused", "refused", 0.42),
    (Kind::Unknown, "unknown", "no answer", 0.42),
    (Kind::Done, "done", "done", 0.78),
];

/// The drawing of a round, with everything a script needs to look closer.
pub fn figure(drawing: &Drawing, id: &str) -> Markup {
    let (from, to) = view(drawing);
    let lane_px = (420.0 / drawing.lanes.max(1) as f64).clamp(2.5, 16.0);
    html! {
        figure.drawing data-span=(drawing.span_us) data-from=(from) data-to=(to) data-focus=(format!("{from} {to}")) {
            figcaption { (caption(drawing)) }
            div.tools hidden role="group" aria-label="What the drawing shows" {
                button type="button" data-act="focus" {
                    @if drawing.instant_us.is_some() { "What broke" } @else { "The race" }
                }
                button type="button" data-act="whole" { "Whole round" }
                button type="button" data-act="closer" aria-label="Closer" { "+" }
                button type="button" data-act="farther" aria-label="Farther" { "−" }
                button type="button" data-act="earlier" aria-label="Earlier" { "←" }
                button type="button" data-act="later" aria-label="Later" { "→" }
            }
            (density(drawing))
            div.plots {
                @if !drawing.band.is_empty() { (band(drawing, (from, to))) }
                (lanes(drawing, (from, to), lane_px, id))
            }
            div.axis aria-hidden="true" {
                @for tick in 0..=4_u64 {
                    span style=(format!("left:{}%", tick * 25)) { (ms(from + (to - from) * tick / 4)) }
                }
            }
            p.readout hidden {}
            (legend(drawing))
            script.calls type="application/json" { (PreEscaped(calls(drawing))) }
        }
    }
}

/// The part that is shown at first: the focus and a little around it, or all where that is not much more.
fn view(drawing: &Drawing) -> (u64, u64) {
    let (from, to) = drawing.focus_us;
    // One call alone says little: some of what was under way around it belongs to it.
    let margin = ((to - from) / 20).max((drawing.span_us / 16).saturating_sub(to - from) / 2).max(1);
    let (from, to) = (from.saturating_sub(margin), (to + margin).min(drawing.span_us));
    if (to - from) * 10 >= drawing.span_us * 8 { (0, drawing.span_us) } else { (from, to) }
}

fn caption(drawing: &Drawing) -> String {
    let clients = if drawing.packed { " (several clients share one)" } else { "" };
    let thinned = if drawing.calls > drawing.bars.len() {
        format!(", of which {} are drawn", grouped(drawing.bars.len() as u64))
    } else {
        String::new()
    };
    format!(
        "Round {}: {}{thinned}, {}{clients}, {} in all. Times are from the round’s first call, {} into the run.",
        drawing.round,
        counted(drawing.calls, "call", "calls"),
        counted(drawing.lanes, "lane", "lanes"),
        ms(drawing.span_us),
        ms(drawing.from_ns / 1_000),
    )
}

/// The whole round at a glance: how many calls were under way, and where those are that show the violation.
fn density(drawing: &Drawing) -> Markup {
    let density = drawing.density(DENSITY_PARTS);
    let fullest = density.iter().map(|(count, _)| *count).max().unwrap_or(0).max(1);
    let (mut all, mut marked) = ("M0 40".to_owned(), String::new());
    for (index, (count, shows)) in density.iter().enumerate() {
        let y = 40.0 - *count as f64 / fullest as f64 * 36.0;
        // Writing to a string cannot fail.
        let _ = write!(all, "V{y:.1}H{}", index + 1);
        if *shows {
            let _ = write!(marked, "M{index} 0h1");
        }
    }
    all.push_str("V40Z");
    html! {
        svg.density viewBox=(format!("0 0 {DENSITY_PARTS} 40")) preserveAspectRatio="none" role="img" height="40"
            aria-label=(format!("Calls under way over the whole round, at most {fullest} at once")) {
            path.all d=(all) fill="#8b93a1" {}
            @if !marked.is_empty() { (stroke("shows", &marked, "#c62828", 6.0, "")) }
            rect.window x="0" y="0" width=(DENSITY_PARTS) height="40" fill="none" {}
        }
    }
}

/// Units certainly and possibly taken, against the total, with the reads as dots.
fn band(drawing: &Drawing, (from, to): (u64, u64)) -> Markup {
    let steps = sliced(&drawing.band, drawing.span_us);
    let most = steps.iter().map(|step| step.2.max(step.1)).max().unwrap_or(0);
    let shown = || drawing.bars.iter().filter_map(|bar| bar.taken.map(|taken| (bar, taken)));
    let highest = shown().map(|(_, taken)| taken).chain([drawing.total, most, 1]).max().unwrap_or(1);
    let lowest = shown().map(|(_, taken)| taken).chain([0]).min().unwrap_or(0);
    let range = (highest as f64 - lowest as f64).max(1.0);
    let y = |units: i64| 94.0 - (units as f64 - lowest as f64) / range * 88.0;
    let least = steps.iter().map(|step| step.1).max().unwrap_or(0);
    let area = |of: &dyn Fn(&(u64, i64, i64)) -> i64, base: i64| {
        let mut path = format!("M0 {:.2}", y(base));
        for step in &steps {
            let _ = write!(path, "H{}V{:.2}", step.0, y(of(step)));
        }
        let _ = write!(path, "H{}V{:.2}Z", drawing.span_us, y(base));
        path
    };
    let reads = |marked: bool| -> String {
        shown()
            .filter(|(bar, _)| bar.marked == marked)
            .map(|(bar, taken)| format!("M{} {:.2}h0", bar.to_us, y(taken)))
            .collect()
    };
    let words = format!(
        "Units taken over time. Total {}; certainly taken at most {least}; possibly taken at most {most}; {} say how \
         many were taken.",
        drawing.total,
        counted(shown().count(), "read", "reads"),
    );
    html! {
        div.plot {
            div.labels aria-hidden="true" {
                @if least > drawing.total { span.over style=(format!("top:{:.1}%", y(least))) { (least) } }
                span.total style=(format!("top:{:.1}%", y(drawing.total))) { (drawing.total) }
                span style=(format!("top:{:.1}%", y(0))) { "0" }
            }
            svg.band viewBox=(format!("{from} 0 {} 100", to - from)) preserveAspectRatio="none" role="img" height="190"
                aria-label=(words) {
                path.possible d=(area(&|step| step.2, 0)) fill="#2457c5" fill-opacity=".16" {}
                path.certain d=(area(&|step| step.1, 0)) fill="#2457c5" fill-opacity=".5" {}
                @if least > drawing.total {
                    path.over d=(area(&|step| step.1.max(drawing.total), drawing.total)) fill="#c62828" {}
                }
                (stroke("total", &format!("M0 {:.2}H{}", y(drawing.total), drawing.span_us), "currentColor", 1.5, "7 4"))
                (faults(drawing, 100))
                (instant(drawing, 100))
                g stroke-linecap="round" {
                    (stroke("reads", &reads(false), "currentColor", 5.0, ""))
                    (stroke("reads shows", &reads(true), "#c62828", 9.0, ""))
                }
            }
        }
    }
}

/// What was made to fail, over the whole height for as long as it lasted.
fn faults(drawing: &Drawing, height: usize) -> Markup {
    html! {
        @for (what, from, to) in &drawing.faults {
            rect.fault x=(from) y="0" width=((to - from).max(1)) height=(height) fill=(FAULT_COLOUR) fill-opacity=".22" {
                title { (what) ", " (ms(*from)) " to " (ms(*to)) }
            }
        }
    }
}

fn instant(drawing: &Drawing, height: usize) -> Markup {
    html! {
        @if let Some(at) = drawing.instant_us {
            (stroke("instant", &format!("M{at} 0V{height}"), "#c62828", 1.5, "2 3"))
        }
    }
}

/// Where more changes than pixels are, each slice keeps its highest.
fn sliced(band: &[(u64, i64, i64)], span_us: u64) -> Vec<(u64, i64, i64)> {
    let width = span_us / SLICES_MAX;
    if width == 0 || band.len() as u64 <= SLICES_MAX {
        return band.to_vec();
    }
    let mut slices: Vec<(u64, i64, i64)> = Vec::new();
    // What was taken when a slice began counts for it too.
    let mut before = (0, 0);
    for (at_us, least, most) in band {
        let begins = at_us / width * width;
        match slices.last_mut() {
            Some(last) if last.0 == begins => *last = (begins, last.1.max(*least), last.2.max(*most)),
            _ => slices.push((begins, before.0.max(*least), before.1.max(*most))),
        }
        before = (*least, *most);
    }
    slices.push((span_us, before.0, before.1));
    slices
}

/// Every call as a line from its invocation to its return. The marked ones come last, on top of all others.
fn lanes(drawing: &Drawing, (from, to): (u64, u64), lane_px: f64, id: &str) -> Markup {
    let plain = |kind: Kind| drawing.bars.iter().filter(move |bar| bar.kind == kind && !bar.marked);
    let marked: Vec<&Bar> = drawing.bars.iter().filter(|bar| bar.marked).collect();
    let height = lane_px * drawing.lanes as f64;
    let words = format!(
        "Calls over time, one lane {}. {}. The calls that show a violation are listed as text beside the drawing.",
        if drawing.packed { "for calls that do not overlap" } else { "a client" },
        counts(drawing).join(", "),
    );
    html! {
        div.plot {
            div.labels aria-hidden="true" { span.turned { (if drawing.packed { "calls" } else { "clients" }) }
                @if marked.len() <= POINTED_MAX {
                    @for bar in &marked {
                        @let at = (bar.lane as f64 + 0.5) / drawing.lanes as f64 * 100.0;
                        span.here style=(format!("top:{at:.2}%")) { "▶" }
                    }
                }
            }
            svg.lanes id=(id) viewBox=(format!("{from} 0 {} {}", to - from, drawing.lanes)) preserveAspectRatio="none"
                height=(format!("{height:.0}")) role="img" aria-label=(words) tabindex="0" {
                (faults(drawing, drawing.lanes))
                (instant(drawing, drawing.lanes))
                @for (kind, class, _, part) in KINDS {
                    @let width = (lane_px * part).max(1.0);
                    @if plain(kind).next().is_some() { (line(class, &path(plain(kind)), width)) }
                    @if drawing.bars.len() <= TICKED_MAX && plain(kind).next().is_some() {
                        (line(&format!("{class} tick"), &ticks(plain(kind), part), 1.0))
                    }
                }
                @for bar in marked.iter().take(TITLED_MAX) {
                    @let (class, part) = look(bar.kind);
                    @let part = part.max(0.6);
                    g.failing {
                        title { (spelt_out(&told(bar))) }
                        (line(class, &path([*bar].into_iter()), (lane_px * part).max(2.5)))
                        (line("tick", &ticks([*bar].into_iter(), part), 2.0))
                    }
                }
                @if marked.len() > TITLED_MAX {
                    g.failing {
                        title { (grouped((marked.len() - TITLED_MAX) as u64)) " more of the calls that show the violation" }
                        (line("done", &path(marked.iter().skip(TITLED_MAX).copied()), lane_px * 0.6))
                        (line("tick", &ticks(marked.iter().skip(TITLED_MAX).copied(), 0.6), 2.0))
                    }
                }
            }
        }
    }
}

fn look(kind: Kind) -> (&'static str, f64) {
    KINDS.iter().find(|(one, ..)| *one == kind).map_or(("done", 0.78), |(_, class, _, part)| (class, *part))
}

/// Its colour stands in the attribute too, for a server that lets no style sheet through.
fn line(class: &str, path: &str, width: f64) -> Markup {
    let colour = if class.starts_with("done") { "#1a7f4b" } else { "#8b93a1" };
    stroke(class, path, colour, width, "")
}

/// A path as thick on the screen however close one looks.
fn stroke(class: &str, path: &str, colour: &str, width: f64, dashes: &str) -> Markup {
    html! {
        path class=(class) d=(path) fill="none" stroke=(colour) stroke-width=(format!("{width:.1}"))
            stroke-dasharray=[(!dashes.is_empty()).then_some(dashes)] vector-effect="non-scaling-stroke" {}
    }
}

fn path<'b>(bars: impl Iterator<Item = &'b Bar>) -> String {
    let mut path = String::new();
    for bar in bars {
        // A call of no length at all would not be drawn.
        let _ = write!(path, "M{} {}.5H{}", bar.from_us, bar.lane, bar.to_us.max(bar.from_us + 1));
    }
    path
}

fn ticks<'b>(bars: impl Iterator<Item = &'b Bar>, part: f64) -> String {
    let mut path = String::new();
    for bar in bars {
        let _ = write!(path, "M{} {:.2}v{part:.2}", bar.from_us, bar.lane as f64 + 0.5 - part / 2.0);
    }
    path
}

fn told(bar: &Bar) -> String {
    let subject = if bar.subject.is_empty() { String::new() } else { format!(" {}", bar.subject) };
    format!(
        "{}{subject}: {}. Client {}, instance {}, {} to {}",
        bar.verb,
        bar.answer,
        bar.client,
        bar.instance + 1,
        ms(bar.from_us),
        ms(bar.to_us)
    )
}

fn counts(drawing: &Drawing) -> Vec<String> {
    let count = |kind: Kind| drawing.bars.iter().filter(|bar| bar.kind == kind).count();
    let mut counts: Vec<String> = KINDS
        .iter()
        .rev()
        .map(|(kind, _, word, _)| (count(*kind), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", grouped(count as u64)))
        .collect();
    let marked = drawing.bars.iter().filter(|bar| bar.marked).count();
    if marked > 0 {
        counts.push(format!("{} of them show the violation", grouped(marked as u64)));
    }
    counts
}

fn legend(drawing: &Drawing) -> Markup {
    let count = |kind: Kind| drawing.bars.iter().filter(|bar| bar.kind == kind).count();
    let marked = drawing.bars.iter().filter(|bar| bar.marked).count();
    let swatch = |class: &str, width: f64| {
        html! {
            svg.swatch viewBox="0 0 24 12" width="24" height="12" aria-hidden="true" { (line(class, "M2 6H22", width)) }
        }
    };
    html! {
        ul.legend {
            @for (kind, class, word, part) in KINDS.iter().rev() {
                @if count(*kind) > 0 { li { (swatch(class, 11.0 * part)) (grouped(count(*kind) as u64)) " " (word) } }
            }
            @for (what, from, to) in &drawing.faults {
                li {
                    svg.swatch viewBox="0 0 24 12" width="24" height="12" aria-hidden="true" {
                        rect x="2" y="0" width="20" height="12" fill=(FAULT_COLOUR) fill-opacity=".4" {}
                    }
                    (what) ", " (ms(*from)) " to " (ms(*to))
                }
            }
            @if marked > 0 {
                li.failing { (swatch("done", 8.0)) (grouped(marked as u64)) " of them show the violation" }
            }
            @if drawing.instant_us.is_some() { li { span.key.instant {} "when it was" } }
            @if !drawing.band.is_empty() {
                li { span.key.certain {} "units certainly taken" }
                li { span.key.possible {} "possibly taken" }
                li { span.key.total {} "all there are" }
                @if drawing.bars.iter().any(|bar| bar.taken.is_some()) { li { span.key.dot {} "taken, as a read said" } }
            }
        }
    }
}

/// The calls for the page's script: numbers, and words by their place in a list.
fn calls(drawing: &Drawing) -> String {
    #[derive(Serialize)]
    struct Calls {
        words: Vec<String>,
        calls: Vec<[u64; 8]>,
    }
    let mut places: HashMap<String, u64> = HashMap::new();
    let mut words = Vec::new();
    let mut place = |word: &str| {
        let next = words.len() as u64;
        *places.entry(word.to_owned()).or_insert_with(|| {
            words.push(spelt_out(word));
            next
        })
    };
    let calls = drawing
        .bars
        .iter()
        .map(|bar| {
            let words = [place(bar.verb), place(&bar.subject), place(&bar.answer)];
            let [verb, subject, answer] = words;
            let (client, instance) = (u64::from(bar.client), u64::from(bar.instance) * 2 + u64::from(bar.marked));
            [bar.lane as u64, bar.from_us, bar.to_us, client, instance, verb, subject, answer]
        })
        .collect();
    script_json(&Calls { words, calls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_keeps_the_highest_that_was_reached_in_it() {
        let band: Vec<(u64, i64, i64)> = (0..20_000).map(|n| (n * 10, i64::from(n == 12_345), 2)).collect();
        let slices = sliced(&band, 200_000);
        assert!(slices.len() as u64 <= SLICES_MAX + 2);
        assert_eq!(slices.iter().filter(|slice| slice.1 == 1).count(), 1, "one slice had it, and none after");
        assert_eq!(sliced(&band[..5], 50), band[..5], "few are left as they are");
    }
}
