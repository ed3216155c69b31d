//! The floor plan, read from the `use` lines of this crate and of the library: rooms import downward only, no file imports
//! one that imports it, and what checks a history needs no runtime, no HTTP and no database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use rstest::rstest;

/// Each imports only from those behind it.
const ROOMS: [&str; 8] = ["commands", "report", "drive", "database", "target", "control", "check", "history"];

/// The files of a crate's `src`, by their path as a module, each with what it imports from its crate.
fn imports(folder: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "", &mut files);
    files.remove("lib");
    files.remove("main");
    let known: BTreeSet<String> = files.keys().cloned().collect();
    let file_of = |path: &str| {
        let mut path = path;
        loop {
            if known.contains(path) {
                return Some(path.to_owned());
            }
            path = path.rsplit_once("::")?.0;
        }
    };
    files
        .iter()
        .map(|(name, text)| {
            let paths = used(text).into_iter().map(|path| match path.strip_prefix("super::") {
                Some(rest) => format!("{}::{rest}", name.rsplit_once("::").map_or("", |(parent, _)| parent)),
                None => path,
            });
            (name.clone(), paths.filter_map(|path| file_of(&path)).filter(|file| file != name).collect())
        })
        .collect()
}

fn read(folder: &Path, module: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let name = if module.is_empty() { stem.clone() } else { format!("{module}::{stem}") };
        if path.is_dir() {
            read(&path, &name, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = if stem == "mod" { module.to_owned() } else { name };
            let text = fs::read_to_string(&path).unwrap();
            // What a file's own unit tests import binds nobody.
            files.insert(name, text.split("#[cfg(test)]").next().unwrap().to_owned());
        }
    }
}

/// Every path of this crate in the `use` lines of a text, written out.
fn used(text: &str) -> Vec<String> {
    let starts = ["use crate::", "use super::"];
    let mut paths = Vec::new();
    for line in
        text.split(';').filter_map(|part| starts.iter().find_map(|start| Some((start, part.split_once(start)?.1))))
    {
        let prefix = if *line.0 == "use super::" { "super" } else { "" };
        spell_out(&line.1.split_whitespace().collect::<String>(), prefix, &mut paths);
    }
    paths
}

fn spell_out(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let joined = |path: &str| if prefix.is_empty() { path.to_owned() } else { format!("{prefix}::{path}") };
    let (mut depth, mut from) = (0, 0);
    for (at, letter) in tree.char_indices().chain([(tree.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &tree[from..at];
                from = at + 1;
                match part.strip_suffix('}').and_then(|part| part.split_once('{')) {
                    Some((path, inner)) => {
                        spell_out(inner, joined(path.trim_end_matches(':')).trim_end_matches(':'), paths)
                    }
                    None if part.is_empty() => {}
                    None => paths.push(joined(part)),
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_use_lines_are_read_as_they_are_meant() {
    let text = "use crate::{\n    a::b,\n    c::{d::E, self},\n};\nuse super::{f, g::H};\nuse std::fs;\n";
    assert_eq!(used(text), ["a::b", "c::d::E", "c::self", "super::f", "super::g::H"]);
}

#[test]
fn rooms_import_downward_only() {
    let place = |file: &str| ROOMS.iter().position(|room| file.split("::").next() == Some(room));
    for (file, imported) in imports("src") {
        let own = place(&file).unwrap_or_else(|| panic!("{file} stands in no room"));
        for other in imported {
            assert!(place(&other).unwrap() >= own, "{file} imports {other}, which stands above it");
        }
    }
}

#[rstest]
#[case::harness("src")]
#[case::library("../lib/src")]
fn no_file_imports_one_that_imports_it(#[case] folder: &str) {
    let imports = imports(folder);
    for start in imports.keys() {
        let mut reached: BTreeSet<&String> = BTreeSet::new();
        let mut next: Vec<(&String, Vec<&String>)> =
            imports[start].iter().map(|file| (file, vec![start, file])).collect();
        while let Some((file, way)) = next.pop() {
            assert_ne!(file, start, "a circle: {way:?}");
            if reached.insert(file) {
                next.extend(imports[file].iter().map(|other| (other, [way.clone(), vec![other]].concat())));
            }
        }
    }
}

#[test]
fn a_history_is_checked_without_runtime_http_and_database() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--no-default-features", "--edges", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let told = String::from_utf8(tree.stdout).unwrap();
    assert!(told.starts_with("stockhold-harness"), "{}", String::from_utf8_lossy(&tree.stderr));
    let needed: BTreeSet<&str> = told.lines().filter_map(|line| line.split(' ').next()).collect();
    for unwanted in ["sqlx", "sqlx-core", "tokio", "reqwest", "hyper", "axum", "h2"] {
        assert!(!needed.contains(unwanted), "{unwanted} is needed to check a history");
    }
}
