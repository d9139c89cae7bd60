//! Storage, as lent to the plugin.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{Entry, Key, StoreFailure, Write};

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
