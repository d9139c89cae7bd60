//! A store's entries: their keys, their versions, and what becomes of a write.

use std::fmt;

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
#[non_exhaustive]
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
