//! What everyone who lends to the procore-auth plugin must do alike, whatever it runs on: the native host and the WASI adapter
//! are two of them.
//!
//! Data in, data out: nothing here does I/O, reads a clock or draws randomness, so it builds for any target.

pub mod egress;
mod entry;
pub mod entry_file;
pub mod hex;
pub mod revision;
pub mod sealed;
mod secret;
mod settings;
pub mod unfinished;

pub use entry::{Entry, Key, Provenance, StoreFailure, Write};
pub use secret::Secret;
pub use settings::{ConnectionName, Environment, Grant, InvalidConnectionName, Policy, Settings};
