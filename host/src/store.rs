//! Storage, as lent to the plugin.

use std::{fmt, time::Duration};

use async_trait::async_trait;

/// One connection's storage: small versioned entries and one exclusive lock.
///
/// Promises of an implementation: a write that returned survives a crash; a write happens whole or not at all; a revision
/// of a key is never used twice; an entry that cannot be read is a failure, never "none".
#[async_trait]
pub trait Store: Send + Sync {
    /// Returns the entry; `None` where the key was never written or was deleted.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure>;

    /// Writes the entry if it is at revision `expected`; `None` expects that there is no entry.
    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure>;

    /// Deletes the entry, and every older version of it, if it is at revision `expected`.
    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure>;

    /// Returns the keys that begin with `prefix`, in ascending order.
    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure>;

    /// Takes the exclusive lock; `None` where another holder kept it for longer than `wait`. Dropping the guard frees it, and
    /// so does the death of the process.
    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure>;
}

/// Holds a store's lock until it is dropped.
pub struct LockGuard(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send>);

impl LockGuard {
    /// Wraps what frees the lock when it is dropped.
    pub fn new(held: impl Send + 'static) -> Self {
        Self(Box::new(held))
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// The name of an entry: 1 to 64 characters of `a`-`z`, `0`-`9` and `-`. Fit for a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Checks and wraps a key; the failure's code is `invalid-key`.
    pub fn new(key: impl Into<String>) -> Result<Self, StoreFailure> {
        let key = key.into();
        let valid = (1..=64).contains(&key.len())
            && key
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if valid {
            Ok(Self(key))
        } else {
            Err(StoreFailure::new(
                "invalid-key",
                "a key is 1 to 64 characters of a-z, 0-9 and -",
            ))
        }
    }

    /// Returns the key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A value with its version.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value: often tokens, so `Debug` does not print it.
    pub value: Vec<u8>,
    /// Names this version of the value.
    pub revision: u64,
    /// Whether this can be what was written last.
    pub provenance: Provenance,
}

/// Whether an entry can be what was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provenance {
    /// As far as the store can tell, this was written last.
    Newest,
    /// An older version, served because the newest cannot be read whole, or because an even older one was put in its place.
    Previous,
    /// Another installation wrote it: the store was copied from another machine, or restored from a backup.
    Copied,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            value: _,
            revision,
            provenance,
        } = self;
        f.debug_struct("Entry")
            .field("value", &"****")
            .field("revision", revision)
            .field("provenance", provenance)
            .finish()
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The revision that was stored, or deleted.
    Stored(u64),
    /// Nothing was written: the entry is not at the expected revision, but as given here.
    Conflict(Option<Entry>),
}

/// Why the store could not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct StoreFailure {
    /// One of the codes that the contract lists at `store.failure`, such as `full`, `read-only`, `corrupt`.
    pub code: &'static str,
    /// For a person: names the place, never its content.
    pub message: String,
}

impl StoreFailure {
    /// Makes a failure.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn a_key_cannot_leave_its_folder() {
        for bad in [
            "",
            "..",
            "a/b",
            "a\\b",
            "A",
            "a.b",
            "a b",
            "ä",
            "a\0",
            &"a".repeat(65),
        ] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            Key::new("parked-0001").expect("valid").as_str(),
            "parked-0001"
        );
    }
}
