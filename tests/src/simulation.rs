//! The simulation.
mod actor;
mod agenda;
mod capabilities;
mod chance;
mod disk;
mod fault;
mod kernel_lock;
mod machine;
mod operator;
mod oracle;
mod plan;
mod process;
mod run;
mod scenario;
mod server;
mod shrink;
mod tally;
mod trace;
mod variant;
mod world;

pub use fault::{FaultId, Hit};
pub use plan::{NoPlan, Plan, Variant};
pub use run::{Outcome, Violation, run, run_with_whole_trace};
pub use shrink::shrink;
pub use tally::{Table, Tally};
