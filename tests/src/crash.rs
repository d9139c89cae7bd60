//! Real processes on one store, killed at random moments, hundreds of times.
//!
//! Workers ([`worker`]) keep one connection of the real component alive on the real file store, against the fake Procore, which
//! lives with the driver ([`driver`]) in another process. Their clock runs so fast that refreshes follow each other without a
//! pause. The driver kills a worker, looks at the files ([`look`]), and starts another in its place.
//!
//! The driver knows both sides, and so it can tell what was lost. After each kill and at the end: the store has a refresh token
//! that the server accepts; or an intent names the token that was spent for it, since the process died before the reply was
//! durable; or the refusal that followed from that was told. That window cannot be closed where a refresh token is single-use;
//! it is counted. Afterwards ([`account`]) no refresh token was sent twice, unless whoever sent it first was killed before
//! its reply was durable.
//!
//! SIGKILL loses nothing that was written: this says nothing about power cuts.

pub mod account;
pub mod driver;
pub mod events;
pub mod look;
pub mod process;
pub mod report;
pub mod worker;
pub mod workplace;

pub use driver::{Plan, run};
pub use report::Report;
