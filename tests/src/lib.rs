//! Scenarios: the real component in its real host, against the fake Procore and a real Doorkeeper.
#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture that does not work is a failed test"
)]

pub mod component;
pub mod doorkeeper;
pub mod rig;
#[cfg(unix)]
pub mod tool;

pub use component::plugin;
pub use rig::Rig;
#[cfg(unix)]
pub use tool::Tool;
