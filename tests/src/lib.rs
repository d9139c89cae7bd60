//! Scenarios: the real component in its real host, against the fake Procore and a real Doorkeeper.
#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture that does not work is a failed test"
)]

pub mod component;
pub mod doorkeeper;
pub mod recording_store;
pub mod rig;
pub mod simulation;
pub mod stepped_clock;
pub mod stored;
#[cfg(unix)]
pub mod tool;

pub use component::plugin;
pub use recording_store::RecordingStore;
pub use rig::Rig;
pub use stepped_clock::SteppedClock;
#[cfg(unix)]
pub use tool::Tool;
