//! What a deployment's answers are held to, and the deadlines that were moved in its database.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// On which points the deployment's contract leaves a choice, as far as the model must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// Confirming what is confirmed succeeds again.
    pub repeated_confirm_is_ok: bool,
    /// Cancelling what is cancelled succeeds again.
    pub repeated_cancel_is_ok: bool,
    /// A lapsed hold stops counting at its deadline; otherwise at some time after it.
    pub lapse_frees_at_once: bool,
    /// A refusal's reason can be relied on.
    pub exact_reasons: bool,
    /// Callers' deadlines are honoured.
    pub ttl_is_honoured: bool,
    /// How far a deadline may lie from where the caller's own arithmetic puts it.
    pub rounding_ns: u64,
}

/// Deadlines that were set behind the callers' backs: reservation, not before, not after.
pub type Moved = HashMap<String, (u64, u64)>;
