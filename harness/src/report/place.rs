//! The report of a run, as a directory that is written whole or not at all: a page for people, JUnit XML and JSON for
//! machines, and the history itself. The page is one file and asks the network for nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    drive::race::RaceResult,
    history::Recorder,
    report::{junit::junit, page::html, setting::Setting, summary::summary},
};

/// A report has four files: each can come in between once.
const ATTEMPTS: usize = 5;

/// Where a report will stand. Clones share one fate: a report that was abandoned is never moved into place.
#[derive(Clone, Debug)]
pub struct Place {
    directory: PathBuf,
    unfinished: PathBuf,
    /// Locked while the unfinished folder is made, moved or removed, so that only one of them happens at a time.
    abandoned: Arc<Mutex<bool>>,
}

impl Place {
    /// Refuses a place where something stands already, before anything is raced.
    pub fn vacant(directory: &Path) -> Result<Self, String> {
        if directory.symlink_metadata().is_ok() {
            return Err(format!("{} exists already: a report is never written over another", directory.display()));
        }
        let parent = match directory.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !parent.is_dir() {
            return Err(format!("{} is no directory", parent.display()));
        }
        let unfinished = parent.join(format!(".stockhold-report-{}", uuid::Uuid::now_v7()));
        Ok(Place { directory: directory.to_owned(), unfinished, abandoned: Arc::default() })
    }

    /// The directory the report's own will stand in.
    pub fn parent(&self) -> &Path {
        self.unfinished.parent().unwrap_or(Path::new("."))
    }

    /// Writes everything beside the place, then moves it there in one step.
    pub fn write(&self, result: &RaceResult, setting: &Setting, history: History<'_>) -> io::Result<()> {
        self.make(|place| place.fill(result, setting, history))
    }

    /// The same for any other files.
    pub fn write_files(&self, files: &[(&str, Vec<u8>)]) -> io::Result<()> {
        self.make(|place| files.iter().try_for_each(|(name, bytes)| fs::write(place.unfinished.join(name), bytes)))
    }

    fn make(&self, fill: impl FnOnce(&Self) -> io::Result<()>) -> io::Result<()> {
        self.unless_abandoned(|| fs::create_dir(&self.unfinished))?;
        let written = fill(self).and_then(|()| self.unless_abandoned(|| fs::rename(&self.unfinished, &self.directory)));
        if written.is_err() {
            self.abandon();
        }
        written
    }

    fn unless_abandoned(&self, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let abandoned = self.fate();
        if *abandoned { Err(io::Error::other("the report was abandoned")) } else { step() }
    }

    fn fate(&self) -> MutexGuard<'_, bool> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, result: &RaceResult, setting: &Setting, history: History<'_>) -> io::Result<()> {
        let path = |name: &str| self.unfinished.join(name);
        fs::write(path("index.html"), html(result, setting))?;
        fs::write(path("junit.xml"), junit(result, setting))?;
        fs::write(path("summary.json"), summary(result, setting)?)?;
        match history {
            History::Recorded(recorder) => {
                recorder.copy(&mut fs::File::create_new(path("history.jsonl"))?)?;
            }
            History::File(file) => {
                fs::copy(file, path("history.jsonl"))?;
            }
        }
        Ok(())
    }

    /// Removes the unfinished folder and forbids to move it into place. A report that stands in its place stays. The
    /// thread that fills the folder may add a file while it is removed, so the removal is tried once for each file.
    pub fn abandon(&self) {
        let mut abandoned = self.fate();
        *abandoned = true;
        for _ in 0..ATTEMPTS {
            if fs::remove_dir_all(&self.unfinished).is_ok() || !self.unfinished.exists() {
                break;
            }
        }
    }
}

/// Where a report's history comes from.
#[derive(Clone, Copy)]
pub enum History<'h> {
    /// The run's own record.
    Recorded(&'h Recorder),
    /// A file of an earlier run.
    File(&'h Path),
}
