//! The events of a run, on one monotonic clock, and the file that they are written to as JSON lines.
//! A line is never rewritten: what is learned later about a call is a line of its own.

use std::{
    fs::File,
    io::{BufWriter, Seek, SeekFrom, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::history::{call::Call, contract::Contract};

/// One line of a history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line.
    Run {
        /// The file's format.
        format: u32,
        /// The run's id, part of every item's name.
        run: String,
        /// What the run's choices came from.
        seed: u64,
        /// The base URLs, without anything secret.
        instances: Vec<String>,
        /// What the deployment's answers are held to.
        contract: Contract,
    },
    /// A round of a scenario begins; the calls that follow are its.
    Round {
        /// The scenario.
        scenario: String,
        /// Its round, from 1.
        round: u32,
    },
    /// A call that returned or was given up.
    Call(Box<Call>),
    /// A reservation's deadline was moved by SQL.
    Deadline {
        /// The reservation.
        reservation: String,
        /// It lapses not before this instant.
        first_ns: u64,
        /// And not after this one.
        last_ns: u64,
    },
    /// What was found out later about an unknown call.
    Resolved {
        /// The call.
        call: u64,
        /// Whether it happened.
        happened: bool,
        /// How that is known.
        evidence: String,
    },
    /// Something was made to fail on purpose.
    Nemesis(Struck),
    /// The last line of a run that was not cut short.
    End {
        /// How many calls the file holds.
        calls: u64,
    },
}

/// A fault on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "race", derive(clap::ValueEnum))]
pub enum Nemesis {
    /// An instance is killed and started again.
    Kill,
    /// An instance is stopped and goes on later.
    Pause,
    /// Answers are lost with their connections: on their way to a client, or to the service from its database.
    Cut,
    /// The database neither hears nor answers for a while; without one, the service.
    Delay,
}

/// A fault that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Struck {
    /// What it was.
    pub fault: Nemesis,
    /// Which instance it struck, from 0; all of them if none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<u32>,
    /// From when, on the run's clock.
    pub from_ns: u64,
    /// Until when.
    pub to_ns: u64,
}

impl Struck {
    /// In words.
    pub fn told(&self) -> String {
        match self.instance {
            Some(instance) => format!("{} of instance {}", self.fault.word(), instance + 1),
            None => self.fault.word().to_owned(),
        }
    }
}

impl Nemesis {
    /// The word that the command line, the history and the report use.
    pub fn word(self) -> &'static str {
        match self {
            Nemesis::Kill => "kill",
            Nemesis::Pause => "pause",
            Nemesis::Cut => "cut",
            Nemesis::Delay => "delay",
        }
    }
}

/// The format this version writes and reads.
pub const FORMAT: u32 = 1;

/// The clock of a run and the file its history goes to.
pub struct Recorder {
    start: Instant,
    state: Mutex<State>,
}

struct State {
    calls: u64,
    /// The last line is written: a call that was still under way is no part of the history any more.
    ended: bool,
    file: Option<BufWriter<File>>,
    failure: Option<String>,
}

impl Recorder {
    /// A clock that starts now; with a path, a new file of that name.
    pub fn start(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path
            .map(|path| File::options().read(true).write(true).create_new(true).open(path))
            .transpose()?
            .map(BufWriter::new);
        Ok(Recorder { start: Instant::now(), state: Mutex::new(State { calls: 0, ended: false, file, failure: None }) })
    }

    /// A clock that starts now, and a file that nobody else sees: it has no name, and is gone with this process,
    /// however that ends.
    pub fn nameless(beside: &Path) -> std::io::Result<Self> {
        let path = beside.join(format!(".stockhold-history-{}", uuid::Uuid::now_v7()));
        let recorder = Recorder::start(Some(&path))?;
        std::fs::remove_file(&path)?;
        Ok(recorder)
    }

    /// Copies what was recorded, where there is a file; says how many bytes that were.
    pub fn copy(&self, into: &mut impl Write) -> std::io::Result<Option<u64>> {
        let mut state = self.state();
        let Some(file) = &mut state.file else { return Ok(None) };
        file.seek(SeekFrom::Start(0))?;
        let copied = std::io::copy(file.get_mut(), into)?;
        Ok(Some(copied))
    }

    /// An instant on the run's clock.
    pub fn ns(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant behind a number of the run's clock.
    pub fn instant(&self, ns: u64) -> Instant {
        self.start + Duration::from_nanos(ns)
    }

    /// Now.
    pub fn now_ns(&self) -> u64 {
        self.ns(Instant::now())
    }

    /// The next call's number.
    pub fn number(&self) -> u64 {
        let mut state = self.state();
        state.calls += 1;
        state.calls
    }

    /// How many calls were numbered.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Adds a line. A full disk is remembered and told once, at the end, instead of stopping a race in its middle.
    pub fn record(&self, event: &Event) {
        let mut state = self.state();
        let State { file: Some(file), failure, ended, .. } = &mut *state else { return };
        if *ended {
            return;
        }
        *ended = matches!(event, Event::End { .. });
        let written =
            serde_json::to_writer(&mut *file, event).map_err(std::io::Error::from).and_then(|()| file.write_all(b"\n"));
        if let Err(error) = written {
            failure.get_or_insert_with(|| error.to_string());
        }
    }

    /// Writes the last line and whatever was buffered.
    pub fn finish(&self) -> Result<(), String> {
        let calls = self.calls();
        self.record(&Event::End { calls });
        let mut state = self.state();
        if let Some(file) = &mut state.file {
            file.flush().map_err(|error| format!("the history could not be written: {error}"))?;
        }
        state.failure.take().map_or(Ok(()), |error| Err(format!("the history could not be written: {error}")))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves nothing half-done here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
