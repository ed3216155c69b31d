//! What an operation could not do. What it refused is an outcome, never an error.

use std::time::Duration;

/// Why an operation has no outcome. No variant's text contains a value of the caller's or a secret of ours.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot work, whatever the database does.
    #[error("{0}")]
    Configuration(String),

    /// The database could not be reached, or went away. The operation took no effect, or the same operation sent again
    /// under the same idempotency key finds what it did.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),

    /// Other work was in the way for the whole of the bounded wait, or too much of it waited already. The operation took no
    /// effect.
    #[error("gave up after waiting {waited:?} for {what}")]
    Overloaded {
        /// What the operation waited for.
        what: &'static str,
        /// How long it waited.
        waited: Duration,
    },

    /// The database refused a statement for a reason that no caller can mend: a bug, or a schema that does not fit.
    #[error("`{statement}` failed: {cause}")]
    Internal {
        /// The operation's name.
        statement: &'static str,
        /// What PostgreSQL or the driver said.
        cause: String,
    },

    /// The caller's transaction has another isolation level, at which a statement may decide by a state that is no longer
    /// true.
    #[error("the transaction's isolation level is {0}: begin it with `isolation level read committed`")]
    NotReadCommitted(String),
}

impl Error {
    /// Whether the same call may succeed when it is sent again, under the same idempotency key if there was one.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Overloaded { .. } => true,
            Self::Configuration(_) | Self::Internal { .. } | Self::NotReadCommitted(_) => false,
        }
    }
}
