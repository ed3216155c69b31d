//! Histories with their right verdict: `tests/histories/VERDICT/NAME.jsonl`. A fault that is found in the check, or in the
//! reading of a file, adds one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use stockhold_harness::internal::{
    check::{Limits, check_file},
    history::read,
};

#[test]
fn every_history_gets_the_verdict_of_its_folder() {
    let mut wrong = Vec::new();
    for verdict in ["held", "broken", "undecided", "refused"] {
        let files = histories(verdict);
        assert!(!files.is_empty(), "no history in {verdict}");
        for file in files {
            let (found, why) = judge(&file);
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if found != verdict {
                wrong.push(format!("{verdict}/{name} is {found}: {}", why.join("; ")));
            } else if verdict == "refused" && name != "empty.jsonl" && !why[0].contains("line ") {
                wrong.push(format!("{verdict}/{name} is refused without its line: {}", why[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} histories:\n{}", wrong.len(), wrong.join("\n"));
}

fn histories(verdict: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories").join(verdict);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The verdict's word, and what stands behind it.
fn judge(file: &Path) -> (&'static str, Vec<String>) {
    match read(fs::File::open(file).unwrap()) {
        Err(error) => ("refused", vec![error]),
        Ok(file) => {
            let checked = check_file(&file, Limits::default());
            let violations = checked.violations.into_iter().map(|violation| violation.what);
            (checked.verdict.word(), violations.chain(checked.undecided).collect())
        }
    }
}
