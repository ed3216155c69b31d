//! What else a report must say of a run.

use chrono::{DateTime, Utc};

use crate::drive::kill::Kill;

/// What else a report must say of a run.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The run's id.
    pub run: String,
    /// When it began.
    pub began: DateTime<Utc>,
    /// The base URLs, fit to be printed.
    pub urls: Vec<String>,
    /// What the probe found.
    pub found: Vec<String>,
    /// Whether bursts went over HTTP/2.
    pub http2: bool,
    /// The history file, where nothing was raced and only a file was checked.
    pub checked: Option<String>,
    /// Whether the deployment's database was read.
    pub database: bool,
    /// What came of the control, where it was asked.
    pub control: Vec<Kill>,
    /// Scenarios that were not asked for.
    pub left_out: Vec<&'static str>,
    /// What else was measured, such as gated schedules.
    pub sections: Vec<Section>,
}

impl Setting {
    /// A run that begins now, over HTTP alone.
    pub fn new(run: impl Into<String>) -> Self {
        Setting {
            run: run.into(),
            began: Utc::now(),
            urls: Vec::new(),
            found: Vec::new(),
            http2: false,
            checked: None,
            database: false,
            control: Vec::new(),
            left_out: Vec::new(),
            sections: Vec::new(),
        }
    }
}

/// A table that the report shows as it is.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What it says, in a sentence or two.
    pub words: String,
    /// The columns' headings.
    pub columns: Vec<String>,
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}
