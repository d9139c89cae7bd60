//! Scenarios: the real component in its real host.

pub mod doorkeeper;
