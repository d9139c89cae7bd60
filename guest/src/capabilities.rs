//! What the host lends, as the flows see it. `component` implements this over the bindings, and nothing else does.

use crate::{
    event::Event,
    http::{Failure, Request, Response},
    settings::Settings,
};

/// The host's capabilities; the contract in `wit/capabilities.wit` says what each promises.
pub trait Capabilities {
    /// Returns the connection's settings.
    fn settings(&self) -> Settings;
    /// Sends one request, and leaves it as it was. It is lent mutably so that a large body is not copied on its way.
    fn send(&self, request: &mut Request) -> Result<Response, Failure>;
    /// Returns the wall clock in milliseconds since the epoch.
    fn now(&self) -> u64;
    /// Returns the monotonic clock in milliseconds.
    fn elapsed(&self) -> u64;
    /// Returns after so many milliseconds.
    fn sleep(&self, milliseconds: u64);
    /// Returns random bytes.
    fn random(&self, count: u32) -> Vec<u8>;
    /// Reads an entry.
    fn get(&self, key: &str) -> Result<Option<Entry>, StoreFailure>;
    /// Writes an entry if it is at the expected revision.
    fn put(&self, key: &str, value: &[u8], expected: Option<u64>) -> Result<Write, StoreFailure>;
    /// Keeps what could not be written in the host's memory until it is stored; returns its revision.
    fn hold(&self, key: &str, value: &[u8], expected: Option<u64>) -> u64;
    /// Deletes an entry if it is at the expected revision.
    fn delete(&self, key: &str, expected: u64) -> Result<Write, StoreFailure>;
    /// Lists keys.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreFailure>;
    /// Takes the lock.
    fn lock(&self, wait: u64) -> Result<bool, StoreFailure>;
    /// Frees the lock.
    fn unlock(&self);
    /// Records an event.
    fn record(&self, event: &Event);

    /// Draws a number.
    fn draw(&self) -> u64 {
        self.random(8)
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

/// A stored value with its version.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Vec<u8>,
    /// The version.
    pub revision: u64,
    /// Whether it can be what was written last.
    pub provenance: Provenance,
}

/// Whether an entry can be what was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// As far as the host can tell, it was written last.
    Newest,
    /// It is an older version.
    Previous,
    /// Another installation wrote it.
    Copied,
}

/// What became of a write.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// It is stored at this revision.
    Stored(u64),
    /// The entry was at another revision.
    Conflict(Option<Entry>),
}

/// Why the store failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFailure {
    /// Such as `full`.
    pub code: String,
    /// For a person.
    pub message: String,
}
