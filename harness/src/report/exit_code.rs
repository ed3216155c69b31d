//! The exit codes of every command: stable, so that a CI can rely on them.

use std::process::ExitCode;

use crate::check::verdict::Verdict;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: everything asked for ran, and the invariant held.
    Held,
    /// 1: the invariant, or an exact expectation, was broken.
    Broken,
    /// 2: neither could be shown. Also: nothing ran, or what was asked for was skipped.
    Undecided,
    /// 3: the command line, a file or a setting was wrong; nothing was sent.
    Usage,
    /// 4: the target could not be reached, or its plain sequential path is already wrong.
    Unreachable,
    /// 5: the control did not fail, so the instrument itself is in doubt.
    ControlHeld,
    /// 70: the harness itself failed; what it had found until then was printed.
    Internal,
}

impl Exit {
    /// The number a shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Held => 0,
            Exit::Broken => 1,
            Exit::Undecided => 2,
            Exit::Usage => 3,
            Exit::Unreachable => 4,
            Exit::ControlHeld => 5,
            Exit::Internal => 70,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Held => Exit::Held,
            Verdict::Undecided => Exit::Undecided,
            Verdict::Broken => Exit::Broken,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
