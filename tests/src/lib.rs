//! Scenarios: the real component in its real host, against the fake Procore and a real Doorkeeper.
#![expect(
    clippy::missing_panics_doc,
    reason = "a fixture that does not work is a failed test"
)]

pub mod component;
#[cfg(target_os = "linux")]
pub mod confined;
#[cfg(unix)]
pub mod crash;
pub mod doorkeeper;
pub mod fast_clock;
pub mod hand_written;
#[cfg(target_os = "linux")]
pub mod idle;
#[cfg(target_os = "linux")]
pub mod locks_refused;
pub mod mortal;
#[cfg(target_os = "linux")]
pub mod node;
pub mod padding;
pub mod paused_clock;
#[cfg(unix)]
pub mod python;
pub mod record;
pub mod recording_store;
pub mod rig;
pub mod simulation;
#[cfg(target_os = "linux")]
pub mod small_disk;
pub mod stepped_clock;
pub mod stored;
#[cfg(unix)]
pub mod tool;

pub use component::plugin;
pub use padding::Padding;
pub use paused_clock::PausedClock;
pub use recording_store::RecordingStore;
pub use rig::Rig;
pub use stepped_clock::SteppedClock;
#[cfg(unix)]
pub use tool::Tool;
