//! The broken variants, as decorators of the store: the component on a host that breaks one promise.
//! [`Variant`](super::plan::Variant) says what each of them does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use procore_auth_host::{Entry, Key, LockGuard, Provenance, Store, StoreFailure, Write};

use super::{capabilities::SimStore, chance::Stream, scenario::SECOND, world::held};

/// The lock is held around each save only (S4).
pub(crate) struct LockAroundSave(pub(crate) SimStore);

/// How long a save waits for the lock that it takes for itself.
const PATIENCE: Duration = Duration::from_secs(45);

#[async_trait]
impl Store for LockAroundSave {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        self.0.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let _around_the_save = self.0.lock(PATIENCE).await?;
        self.0.put(key, value, expected).await
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        self.0.delete(key, expected).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.0.list(prefix).await
    }

    async fn lock(&self, _: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        Ok(Some(LockGuard::new(())))
    }
}

/// A write after the POST is said to be done at once, and happens some seconds later.
pub(crate) struct SaveAfterUse {
    store: SimStore,
    /// What was said to be stored and is not yet.
    pending: Arc<Mutex<BTreeMap<Key, Entry>>>,
}

impl SaveAfterUse {
    pub(crate) fn over(store: SimStore) -> Self {
        Self {
            store,
            pending: Arc::default(),
        }
    }

    /// Stores the entry in the background, unless the process dies before.
    fn store_later(&self, key: &Key, revision: u64) {
        let process = Arc::clone(&self.store.0);
        let pending = Arc::clone(&self.pending);
        let key = key.clone();
        let later = process.draw(Stream::Variant).u64(SECOND..20 * SECOND);
        tokio::spawn(async move {
            if process.rest(later).await.is_err() {
                return;
            }
            let mut pending = held(&pending);
            if let Some(entry) = pending.get(&key).filter(|entry| entry.revision == revision) {
                held(&process.world.disk).write(&key, &entry.value, revision);
                pending.remove(&key);
            }
        });
    }
}

#[async_trait]
impl Store for SaveAfterUse {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let pending = held(&self.pending).get(key).cloned();
        match pending {
            Some(entry) => Ok(Some(entry)),
            None => self.store.get(key).await,
        }
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        if !self.store.0.asked.load(Ordering::Relaxed) {
            return self.store.put(key, value, expected).await;
        }
        let world = &self.store.0.world;
        let revision = held(&world.disk).reserve();
        world.note_about(
            Some(self.store.0.who),
            "claims to have written",
            key.as_str(),
        );
        let entry = Entry {
            value: value.to_owned(),
            revision,
            provenance: Provenance::Newest,
        };
        held(&self.pending).insert(key.clone(), entry);
        self.store_later(key, revision);
        Ok(Write::Stored(revision))
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        self.store.delete(key, expected).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.store.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.store.lock(wait).await
    }
}

/// A refusal is the last word (S5): nobody looks again, and the verdict goes over whatever is there.
pub(crate) struct LatchWithoutReread {
    store: SimStore,
    /// The session as the call last read or wrote it.
    known: Mutex<Option<Entry>>,
}

impl LatchWithoutReread {
    pub(crate) fn over(store: SimStore) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    fn was_refused(&self) -> bool {
        self.store.0.refused.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for LatchWithoutReread {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        if key.as_str() != "session" {
            return self.store.get(key).await;
        }
        if self.was_refused() {
            return Ok(held(&self.known).clone());
        }
        let entry = self.store.get(key).await?;
        held(&self.known).clone_from(&entry);
        Ok(entry)
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        if key.as_str() != "session" {
            return self.store.put(key, value, expected).await;
        }
        let write = if self.was_refused() {
            self.store.overwrite(key, value).await?
        } else {
            self.store.put(key, value, expected).await?
        };
        if let Write::Stored(revision) = write {
            *held(&self.known) = Some(Entry {
                value: value.to_owned(),
                revision,
                provenance: Provenance::Newest,
            });
        }
        Ok(write)
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        self.store.delete(key, expected).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.store.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        // Takes none, but begins a call: what an earlier one was told counts no more.
        let process = &self.store.0;
        process.asked.store(false, Ordering::Relaxed);
        process.refused.store(false, Ordering::Relaxed);
        let _ = wait;
        Ok(Some(LockGuard::new(Freed(Arc::clone(process)))))
    }
}

/// Tells the oracle of the moment at which a lock would be freed.
struct Freed(Arc<super::process::Process>);

impl Drop for Freed {
    fn drop(&mut self) {
        let process = &self.0;
        // The verdict of this call is written; the next one reads for itself.
        process.refused.store(false, Ordering::Relaxed);
        if !process.is_dead() {
            process.world.judge(Some(process.who), |oracle, sight| {
                oracle.on_unlock(sight, process.who)
            });
        }
    }
}

/// A claim on a parked request is kept in memory (S61).
pub(crate) struct ClaimInMemory {
    store: SimStore,
    claims: Mutex<BTreeMap<Key, Claim>>,
}

/// What was said to be written over a parked request.
struct Claim {
    /// The revision that it has in the store.
    stored: u64,
    entry: Entry,
}

impl ClaimInMemory {
    pub(crate) fn over(store: SimStore) -> Self {
        Self {
            store,
            claims: Mutex::default(),
        }
    }
}

#[async_trait]
impl Store for ClaimInMemory {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let claimed = held(&self.claims).get(key).map(|claim| claim.entry.clone());
        match claimed {
            Some(entry) => Ok(Some(entry)),
            None => self.store.get(key).await,
        }
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let Some(expected) = expected.filter(|_| key.as_str().starts_with("parked-")) else {
            return self.store.put(key, value, expected).await;
        };
        let revision = held(&self.store.0.world.disk).reserve();
        let entry = Entry {
            value: value.to_owned(),
            revision,
            provenance: Provenance::Newest,
        };
        let mut claims = held(&self.claims);
        let stored = claims.get(key).map_or(expected, |claim| claim.stored);
        claims.insert(key.clone(), Claim { stored, entry });
        Ok(Write::Stored(revision))
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let claimed = held(&self.claims).remove(key);
        let stored = claimed.map_or(expected, |claim| claim.stored);
        self.store.delete(key, stored).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.store.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.store.lock(wait).await
    }
}
