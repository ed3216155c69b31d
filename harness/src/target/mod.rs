//! How calls reach one deployment: its names, the probe that finds them out, and the wires.

pub mod answers;
pub mod client;
pub mod connection;
pub mod dam;
pub mod deployment;
pub mod dialect;
pub mod fleet;
pub mod http2;
pub mod mapping;
pub mod pace;
pub mod probe;
pub mod reasons;
pub mod trust;
pub mod wire;
