//! The deployment's database as a witness: its rows, its log, and gates that stop its calls.

pub mod books;
pub mod gate;
pub mod log;
pub mod sampler;
pub mod stage;
