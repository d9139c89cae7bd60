//! A store whose values are encrypted.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    ConnectionName, EncryptionKey, Entry, FileStore, Key, LockGuard, Rewritten, Store,
    StoreFailure, Write,
    file_store::Piece,
    seal::{self, Seal},
};

/// A [`Store`] that seals every value before another store gets it, and opens it on the way back.
///
/// Encrypted and authenticated (XChaCha20-Poly1305) are the values; a sealed value opens at its own key of its own connection
/// alone. Names of entries, sizes, times and the number of entries stay visible. Revisions, locks and [`Entry::provenance`] are the
/// inner store's.
///
/// **A plain value is refused**, with the code `not-encrypted`: if it were read, whoever can write the folder could slip one
/// in. A store with plain values is taken over by [`EncryptedStore::encrypt_all`].
///
/// Further failures: `wrong-key` where a value was sealed with a key that is not given, `corrupt` where it was changed or moved,
/// `newer-format` where a later version wrote it. Nothing is overwritten on any of them: a revision to expect comes from a value
/// that was read.
#[derive(Debug, Clone)]
pub struct EncryptedStore<S> {
    inner: S,
    seal: Arc<Seal>,
}

impl<S> EncryptedStore<S> {
    /// Encrypts a store of the connection with this name. Renaming a connection makes its values unreadable.
    pub fn new(inner: S, connection: &ConnectionName, key: EncryptionKey) -> Self {
        let seal = Seal::new(connection.clone(), key);
        Self {
            inner,
            seal: Arc::new(seal),
        }
    }

    /// Adds keys that open what they sealed once, and seal nothing any more. With [`EncryptedStore::encrypt_all`] they become
    /// superfluous.
    #[must_use]
    pub fn old_keys(mut self, keys: impl IntoIterator<Item = EncryptionKey>) -> Self {
        Arc::make_mut(&mut self.seal).add_old_keys(keys);
        self
    }

    fn opened(&self, key: &Key, entry: &Entry) -> Result<Entry, StoreFailure> {
        let value = self.seal.open(key.as_str(), &entry.value)?;
        Ok(Entry { value, ..*entry })
    }

    fn write_opened(&self, key: &Key, write: Write) -> Result<Write, StoreFailure> {
        Ok(match write {
            Write::Conflict(Some(entry)) => Write::Conflict(Some(self.opened(key, &entry)?)),
            other => other,
        })
    }
}

impl EncryptedStore<FileStore> {
    /// Encrypts everything in the folder with the key, whether plain or sealed with an old key: entries, their previous
    /// generations, and what was set aside as damaged. Unfinished writes are finished or removed. `None` where another holder kept the
    /// connection's lock for longer than `wait`.
    ///
    /// When it returned, no plain value and no old key's value is left in the store's files. Cut short, it has done a part, and
    /// can be run again. The disk may keep what was there in blocks that are free now.
    ///
    /// Errors: those of reading and writing; then a part is done.
    pub async fn encrypt_all(&self, wait: Duration) -> Result<Option<Rewritten>, StoreFailure> {
        let seal = Arc::clone(&self.seal);
        self.rewrite(wait, move |piece, place, bytes| match piece {
            _ if seal.is_current(bytes) => Ok(None),
            // What was torn after it was sealed.
            Piece::Damaged if !seal::is_sealed(bytes) && seal::has_sealed(bytes) => Ok(None),
            _ if seal::is_sealed(bytes) => seal.seal(place, &seal.open(place, bytes)?).map(Some),
            _ => seal.seal(place, bytes).map(Some),
        })
        .await
    }

    /// Decrypts everything in the folder, the opposite of [`EncryptedStore::encrypt_all`]. From then on, this store refuses
    /// it: go on with the inner store.
    pub async fn decrypt_all(&self, wait: Duration) -> Result<Option<Rewritten>, StoreFailure> {
        let seal = Arc::clone(&self.seal);
        self.rewrite(wait, move |_, place, bytes| {
            if seal::is_sealed(bytes) {
                seal.open(place, bytes).map(Some)
            } else {
                Ok(None)
            }
        })
        .await
    }

    async fn rewrite(
        &self,
        wait: Duration,
        change: impl Fn(Piece, &str, &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> + Send + 'static,
    ) -> Result<Option<Rewritten>, StoreFailure> {
        let Some(held) = self.inner.lock(wait).await? else {
            return Ok(None);
        };
        self.inner.rewrite(held, change).await.map(Some)
    }
}

#[async_trait]
impl<S: Store> Store for EncryptedStore<S> {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let entry = self.inner.get(key).await?;
        entry.map(|entry| self.opened(key, &entry)).transpose()
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let sealed = self.seal.seal(key.as_str(), value)?;
        let write = self.inner.put(key, &sealed, expected).await?;
        self.write_opened(key, write)
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let write = self.inner.delete(key, expected).await?;
        self.write_opened(key, write)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.inner.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.inner.lock(wait).await
    }
}

#[cfg(test)]
mod tests;
