//! A connection's store, and what could not be written to it yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::{
    sync::{Mutex as Turn, Notify, OwnedMutexGuard},
    time::{Instant, timeout},
};

use crate::{
    Clock, Entry, Key, LockGuard, Provenance, Severity, Store, StoreFailure, Write,
    recorder::Recorder,
};

/// The pauses between two tries to store what is held: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A connection's store. What cannot be written and must not be lost is held in memory until it is stored.
///
/// While something is held, the store's lock is kept for this process, so that no other acts on what the store still says; the
/// calls of this process go on taking turns, and see what is held.
#[derive(Clone)]
pub(crate) struct HoldingStore(Arc<Shared>);

struct Shared {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
    /// Whose turn it is among the calls of this process.
    turn: Arc<Turn<()>>,
    state: Mutex<State>,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    /// The store's lock, while a call has it or something is held.
    lock: Option<LockGuard>,
    held: BTreeMap<Key, Held>,
    /// Counts down from the top, where no store has its revisions.
    revisions: u64,
    last_failure: Option<StoreFailure>,
}

/// What a key is to become.
#[derive(Clone)]
struct Held {
    value: Vec<u8>,
    /// What this process calls it.
    revision: u64,
    /// What it replaces in the store.
    expected: Option<u64>,
}

impl HoldingStore {
    pub(crate) fn new(
        inner: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        recorder: Arc<Recorder>,
    ) -> Self {
        Self(Arc::new(Shared {
            inner,
            clock,
            recorder,
            turn: Arc::default(),
            state: Mutex::default(),
            emptied: Notify::new(),
        }))
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        match self.0.held(key) {
            Some(held) => Ok(Some(held.into())),
            None => self.0.inner.get(key).await,
        }
    }

    pub(crate) async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let written = match self.0.held(key) {
            None => self.0.inner.put(key, value, expected).await,
            Some(held) if expected == Some(held.revision) => {
                self.0.replace(key, value, &held).await
            }
            Some(held) => return Ok(Write::Conflict(Some(held.into()))),
        };
        self.0.note_failure(&written);
        written
    }

    pub(crate) async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        match self.0.held(key) {
            None => self.0.inner.delete(key, expected).await,
            Some(held) if held.revision != expected => Ok(Write::Conflict(Some(held.into()))),
            Some(held) => {
                if let Some(stored) = held.expected {
                    self.0.inner.delete(key, stored).await?;
                }
                self.0.let_go(key);
                Ok(Write::Stored(expected))
            }
        }
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let mut keys = self.0.inner.list(prefix).await?;
        let state = self.0.state();
        let held = state.held.keys();
        keys.extend(held.filter(|key| key.as_str().starts_with(prefix)).cloned());
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Holds an entry, in place of the one at `expected`. Returns what to call it from now on.
    ///
    /// The caller has the lock.
    pub(crate) fn hold(&self, key: Key, value: Vec<u8>, expected: Option<u64>) -> u64 {
        let mut state = self.0.state();
        let is_first = state.held.is_empty();
        state.revisions += 1;
        let revision = u64::MAX - state.revisions;
        let expected = match state.held.get(&key) {
            Some(earlier) if Some(earlier.revision) == expected => earlier.expected,
            _ => expected,
        };
        let held = Held {
            value,
            revision,
            expected,
        };
        state.held.insert(key, held);
        let why = state.last_failure.clone();
        drop(state);
        if is_first {
            self.0.tell_held(why.as_ref());
            tokio::spawn(Arc::clone(&self.0).store_what_is_held());
        }
        revision
    }

    /// Waits until nothing is held.
    pub(crate) async fn settled(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if !self.holds() {
                return;
            }
            emptied.await;
        }
    }

    /// Whether anything lives in this process alone.
    pub(crate) fn holds(&self) -> bool {
        !self.0.state().held.is_empty()
    }

    /// Takes the turn in this process and the store's lock, unless that is kept already.
    pub(crate) async fn lock(&self, wait: Duration) -> Result<Option<Locked>, StoreFailure> {
        let until = Instant::now() + wait;
        let Ok(turn) = timeout(wait, Arc::clone(&self.0.turn).lock_owned()).await else {
            return Ok(None);
        };
        if !self.holds() {
            let left = until.saturating_duration_since(Instant::now());
            let Some(lock) = self.0.inner.lock(left).await? else {
                return Ok(None);
            };
            self.0.state().lock = Some(lock);
        }
        Ok(Some(Locked {
            store: Arc::clone(&self.0),
            _turn: turn,
        }))
    }
}

impl Shared {
    /// A panic elsewhere cannot leave the state half-changed: each change is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, key: &Key) -> Option<Held> {
        self.state().held.get(key).cloned()
    }

    fn note_failure<T>(&self, result: &Result<T, StoreFailure>) {
        if let Err(failure) = result {
            self.state().last_failure = Some(failure.clone());
        }
    }

    /// Writes what takes the place of a held entry. Where that fails, the held one stays.
    async fn replace(&self, key: &Key, value: &[u8], held: &Held) -> Result<Write, StoreFailure> {
        let mut written = self.inner.put(key, value, held.expected).await?;
        if let Write::Conflict(Some(current)) = &written
            && current.value == held.value
        {
            // An earlier try did write, and could not say so.
            written = self.inner.put(key, value, Some(current.revision)).await?;
        }
        if matches!(written, Write::Stored(_)) {
            self.let_go(key);
        }
        Ok(written)
    }

    fn let_go(&self, key: &Key) {
        let mut state = self.state();
        state.held.remove(key);
        let is_last = state.held.is_empty();
        drop(state);
        if is_last {
            self.recorder.record(
                Severity::Info,
                "tokens-saved",
                "The tokens that could not be saved are saved now.",
                Vec::new(),
            );
            self.emptied.notify_waiters();
        }
    }

    /// Tries again and again, between the turns of the calls, until nothing is held.
    async fn store_what_is_held(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            let turn = Arc::clone(&self.turn).lock_owned().await;
            let held = self.state().held.clone();
            for (key, held) in held {
                self.note_failure(&self.store(&key, &held).await);
            }
            let mut state = self.state();
            if state.held.is_empty() {
                let lock = state.lock.take();
                drop((state, lock, turn));
                return;
            }
        }
    }

    async fn store(&self, key: &Key, held: &Held) -> Result<(), StoreFailure> {
        match self.inner.put(key, &held.value, held.expected).await? {
            Write::Stored(_) => self.let_go(key),
            Write::Conflict(Some(current)) if current.value == held.value => self.let_go(key),
            Write::Conflict(_) => self.keep_aside(key, held).await?,
        }
        Ok(())
    }

    /// What somebody wrote without the lock stays, and so does what is held.
    async fn keep_aside(&self, key: &Key, held: &Held) -> Result<(), StoreFailure> {
        let name = Sha256::digest(&held.value)[..8]
            .iter()
            .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let aside = Key::new(format!("{}-conflict-{name}", key.as_str()))?;
        self.inner.put(&aside, &held.value, None).await?;
        let message = format!(
            "Somebody changed the store without its lock while tokens could not be saved: both versions are kept, these as `{}`.",
            aside.as_str()
        );
        self.recorder
            .record(Severity::Alert, "kept-aside", message, Vec::new());
        self.let_go(key);
        Ok(())
    }

    fn tell_held(&self, why: Option<&StoreFailure>) {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        self.recorder.record(
            Severity::Alert,
            "tokens-not-saved",
            "New tokens were received and cannot be saved: they live in this process alone. The save is tried again until it works.",
            vec![
                field("cause", &why.map_or_else(String::new, ToString::to_string)),
                field("remedy", "Make the store writable while this process runs. If the process ends before, its sign-in is lost: `procore-auth login`."),
            ],
        );
    }
}

impl From<Held> for Entry {
    fn from(held: Held) -> Self {
        Self {
            value: held.value,
            revision: held.revision,
            provenance: Provenance::Newest,
        }
    }
}

/// A call's turn with the lock. Dropping it frees the lock, unless something is held.
pub(crate) struct Locked {
    store: Arc<Shared>,
    _turn: OwnedMutexGuard<()>,
}

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.store.state();
        let lock = if state.held.is_empty() {
            state.lock.take()
        } else {
            None
        };
        drop((state, lock));
    }
}
