//! The faults that can be planted in the control, each a mistake that real services made.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reserve reads the counter, thinks, and writes back what it read plus one.
    ReadModifyWrite,
    /// Reserve checks, thinks, and then takes, without checking again.
    CheckThenTake,
    /// Each instance has a mutex of its own around reserve.
    MutexInMemory,
    /// Reserve admits one unit too many.
    OffByOne,
    /// Reserve takes, looks, and gives back what was too much.
    OversellThenRepair,
    /// Reserve refuses the last unit.
    FalseRefusal,
    /// Reserve answers 201 and, now and then, forgets.
    SuccessThenRollback,
    /// Confirm does not look at the deadline.
    ConfirmIgnoresExpiry,
    /// Confirm does not look at the state.
    ConfirmIgnoresState,
    /// Confirm looks, thinks, and deducts without looking again.
    DoubleDeduct,
    /// Cancel looks, thinks, and releases without looking again; what would fall below zero stays at zero.
    DoubleRelease,
    /// Cancel gives back what is sold.
    CancelAfterConfirm,
    /// Cancel gives nothing back.
    ReleaseNothing,
    /// The sweep finds, thinks, and releases without looking again.
    SweepReleasesTwice,
    /// The sweep releases before the deadline.
    SweepTooEarly,
    /// Availability comes from a cache.
    StaleAvailability,
    /// The `Idempotency-Key` is not looked at.
    KeyIgnored,
    /// The `Idempotency-Key` is looked up, but nothing stops two calls that look it up together.
    KeyRace,
    /// Reserve takes what it then refuses.
    RefusedYetTaken,
    /// Reserve says that nothing is left when somebody else is being served.
    BusyMeansNone,
    /// Confirm reads the counters, thinks, and writes back what it made of them.
    ConfirmLosesUpdates,
    /// What nobody has is answered 200, with nothing in it.
    UnknownIsOk,
    /// A part of a unit is cut off, and nothing is held for it.
    PartOfAUnit,
}

impl Fault {
    /// All of them.
    pub const ALL: &[Fault] = &[
        Fault::ReadModifyWrite,
        Fault::CheckThenTake,
        Fault::MutexInMemory,
        Fault::OffByOne,
        Fault::OversellThenRepair,
        Fault::FalseRefusal,
        Fault::SuccessThenRollback,
        Fault::ConfirmIgnoresExpiry,
        Fault::ConfirmIgnoresState,
        Fault::DoubleDeduct,
        Fault::DoubleRelease,
        Fault::CancelAfterConfirm,
        Fault::ReleaseNothing,
        Fault::SweepReleasesTwice,
        Fault::SweepTooEarly,
        Fault::StaleAvailability,
        Fault::KeyIgnored,
        Fault::KeyRace,
        Fault::RefusedYetTaken,
        Fault::BusyMeansNone,
        Fault::ConfirmLosesUpdates,
        Fault::UnknownIsOk,
        Fault::PartOfAUnit,
    ];
}
