//! A store that is not encrypted, and knows it.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Entry, Key, LockGuard, Store, StoreFailure, Write, seal};

/// A [`Store`] as another one holds it, without [`EncryptedStore`](crate::EncryptedStore): what is encrypted all the same is
/// refused with the code `key-unavailable`, instead of being taken for damage or handed to the plugin.
#[derive(Debug, Clone)]
pub struct PlainStore<S>(S);

impl<S> PlainStore<S> {
    /// Wraps a store.
    pub fn new(inner: S) -> Self {
        Self(inner)
    }
}

#[async_trait]
impl<S: Store> Store for PlainStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let entry = self.0.get(key).await?;
        entry.map(|entry| plain(key, entry)).transpose()
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let write = self.0.put(key, value, expected).await?;
        plain_write(key, write)
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let write = self.0.delete(key, expected).await?;
        plain_write(key, write)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.0.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.0.lock(wait).await
    }
}

fn plain_write(key: &Key, write: Write) -> Result<Write, StoreFailure> {
    Ok(match write {
        Write::Conflict(Some(entry)) => Write::Conflict(Some(plain(key, entry)?)),
        other => other,
    })
}

fn plain(key: &Key, entry: Entry) -> Result<Entry, StoreFailure> {
    if !seal::is_sealed(&entry.value) {
        return Ok(entry);
    }
    let message = format!(
        "the entry {} is encrypted, and no key is configured; name its key as `encryption.key` in the configuration, and \
         restart what runs with an older one. Nothing was overwritten",
        key.as_str()
    );
    Err(StoreFailure::new("key-unavailable", message))
}

#[cfg(test)]
mod tests {
    use super::PlainStore;
    use crate::{EncryptedStore, EncryptionKey, Key, MemoryStore, Store, SystemRandom};

    #[tokio::test]
    async fn what_is_encrypted_is_refused_and_stays() {
        let (memory, key) = (MemoryStore::new(), Key::new("session").expect("valid"));
        let plain = PlainStore::new(memory.clone());
        plain.put(&key, b"{}", None).await.expect("stored");
        let entry = plain.get(&key).await.expect("read").expect("there");
        assert_eq!(entry.value, b"{}");
        plain.delete(&key, entry.revision).await.expect("deleted");

        let secret = EncryptionKey::generate(&SystemRandom);
        let sealed = EncryptedStore::new(memory, &"acme".parse().expect("valid"), secret);
        sealed.put(&key, b"value", None).await.expect("stored");
        for refused in [
            plain.get(&key).await.map(drop),
            plain.put(&key, b"{}", None).await.map(drop),
            plain.delete(&key, entry.revision).await.map(drop),
        ] {
            assert_eq!(refused.expect_err("encrypted").code, "key-unavailable");
        }
        let entry = sealed.get(&key).await.expect("read").expect("there");
        assert_eq!(entry.value, b"value");
    }
}
