//! What a command writes to the output stream, and how it ends.

use std::io::Write;

use crate::{check::verdict::Verdict, drive::race::RaceResult, report::exit_code::Exit};

/// Writes to the output stream. A reader that has seen enough (`| head`) is no reason to panic.
pub fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// How a race ends the program.
pub fn exit(result: &RaceResult) -> Exit {
    match &result.stopped {
        // Broken is never ranked below anything.
        Some(stopped) if stopped.target && result.verdict != Verdict::Broken => Exit::Unreachable,
        _ => result.verdict.into(),
    }
}
