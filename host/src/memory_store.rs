//! A store in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{Entry, Key, LockGuard, Provenance, Store, StoreFailure, Write};

/// A [`Store`] in memory, for tests and for credentials that need no second life. Clones share content and lock.
///
/// Keeps every promise of a store but one: nothing survives the process.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    content: Arc<Mutex<Content>>,
    lock: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Content {
    entries: BTreeMap<Key, Entry>,
    /// Counts over all keys and is never reset, so that no revision is used twice.
    last_revision: u64,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A panic elsewhere cannot leave the content half-changed: each change is one call on the map.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn put(&mut self, key: &Key, value: &[u8], expected: Option<u64>) -> Write {
        let current = self.entries.get(key);
        if current.map(|entry| entry.revision) != expected {
            return Write::Conflict(current.cloned());
        }
        self.last_revision += 1;
        let entry = Entry {
            value: value.to_owned(),
            revision: self.last_revision,
            provenance: Provenance::Newest,
        };
        self.entries.insert(key.clone(), entry);
        Write::Stored(self.last_revision)
    }

    fn delete(&mut self, key: &Key, expected: u64) -> Write {
        let current = self.entries.get(key);
        if current.map(|entry| entry.revision) != Some(expected) {
            return Write::Conflict(current.cloned());
        }
        self.entries.remove(key);
        Write::Stored(expected)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        Ok(self.content().entries.get(key).cloned())
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        Ok(self.content().put(key, value, expected))
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        Ok(self.content().delete(key, expected))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let content = self.content();
        let keys = content.entries.keys();
        Ok(keys
            .filter(|key| key.as_str().starts_with(prefix))
            .cloned()
            .collect())
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        let locked = tokio::time::timeout(wait, Arc::clone(&self.lock).lock_owned()).await;
        Ok(locked.ok().map(LockGuard::new))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::MemoryStore;
    use crate::{Key, Store, Write};

    fn key(text: &str) -> Key {
        Key::new(text).expect("valid")
    }

    #[tokio::test]
    async fn a_lost_race_carries_the_winner() {
        let (a, key) = (MemoryStore::new(), key("tokens"));
        let b = a.clone();
        let Ok(Write::Stored(first)) = a.put(&key, b"one", None).await else {
            panic!("stored");
        };
        let Ok(Write::Conflict(Some(winner))) = b.put(&key, b"two", None).await else {
            panic!("conflict");
        };
        assert_eq!((winner.revision, &*winner.value), (first, &b"one"[..]));
        assert!(matches!(
            b.put(&key, b"two", Some(first + 1)).await,
            Ok(Write::Conflict(Some(_)))
        ));
        assert!(matches!(
            b.put(&key, b"two", Some(first)).await,
            Ok(Write::Stored(second)) if second != first
        ));
    }

    #[tokio::test]
    async fn revisions_are_not_used_again_after_a_delete() {
        let (store, key) = (MemoryStore::new(), key("tokens"));
        assert_eq!(store.delete(&key, 1).await, Ok(Write::Conflict(None)));
        let Ok(Write::Stored(first)) = store.put(&key, b"one", None).await else {
            panic!("stored");
        };
        assert_eq!(store.delete(&key, first).await, Ok(Write::Stored(first)));
        assert_eq!(store.get(&key).await, Ok(None));
        let Ok(Write::Stored(second)) = store.put(&key, b"two", None).await else {
            panic!("stored");
        };
        assert_ne!(first, second);
    }

    #[tokio::test]
    async fn lists_by_prefix_in_order() {
        let store = MemoryStore::new();
        for name in ["parked-2", "tokens", "parked-1"] {
            store.put(&key(name), b"", None).await.expect("stored");
        }
        assert_eq!(
            store.list("parked-").await,
            Ok(vec![key("parked-1"), key("parked-2")])
        );
    }

    #[tokio::test]
    async fn the_lock_is_exclusive_among_clones() {
        let a = MemoryStore::new();
        let b = a.clone();
        let held = a.lock(Duration::ZERO).await.expect("works");
        assert!(held.is_some());
        assert!(b.lock(Duration::ZERO).await.expect("works").is_none());
        drop(held);
        assert!(b.lock(Duration::ZERO).await.expect("works").is_some());
    }
}
