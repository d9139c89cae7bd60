//! A store that counts what is asked of it, and fails where a test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use procore_auth_host::{Entry, Key, LockGuard, Store, StoreFailure, Write};
use tokio::sync::watch;

/// Wraps a store. Clones share the counters.
#[derive(Clone)]
pub struct RecordingStore {
    inner: Arc<dyn Store>,
    state: Arc<State>,
}

struct State {
    accesses: AtomicUsize,
    locks: watch::Sender<usize>,
    held_up: watch::Sender<bool>,
    lockless: AtomicBool,
    room: AtomicUsize,
    full: AtomicUsize,
}

impl RecordingStore {
    /// Wraps a store.
    pub fn new(inner: impl Store + 'static) -> Self {
        let state = State {
            accesses: AtomicUsize::new(0),
            locks: watch::Sender::new(0),
            held_up: watch::Sender::new(false),
            lockless: AtomicBool::new(false),
            room: AtomicUsize::new(0),
            full: AtomicUsize::new(0),
        };
        Self {
            inner: Arc::new(inner),
            state: Arc::new(state),
        }
    }

    /// Grants every lock without taking one, as a program that knows no locks would go on.
    #[must_use]
    pub fn without_locks(self) -> Self {
        self.state.lockless.store(true, Ordering::SeqCst);
        self
    }

    /// Fails the next writes as a full disk does.
    pub fn fail_writes(&self, count: usize) {
        self.fail_writes_after(0, count);
    }

    /// Lets some writes through, then fails `count` as a full disk does.
    pub fn fail_writes_after(&self, room: usize, count: usize) {
        self.state.room.store(room, Ordering::SeqCst);
        self.state.full.store(count, Ordering::SeqCst);
    }

    /// Returns how often anything was asked of the store, the lock included.
    pub fn accesses(&self) -> usize {
        self.state.accesses.load(Ordering::SeqCst)
    }

    /// Waits until the lock was asked for so many times in all.
    pub async fn locks_asked_for(&self, count: usize) {
        let mut locks = self.state.locks.subscribe();
        // The sender lives as long as `self`.
        let _ = locks.wait_for(|&asked| asked >= count).await;
    }

    /// Lets nobody who asks for the lock from now on go on to it, until they are let: others may have it first.
    pub fn hold_up_locks(&self) {
        self.state.held_up.send_replace(true);
    }

    /// Lets all who were held up go on.
    pub fn let_locks_go_on(&self) {
        self.state.held_up.send_replace(false);
    }

    fn count(&self) {
        self.state.accesses.fetch_add(1, Ordering::SeqCst);
    }

    fn is_full(&self) -> bool {
        let take = |from: &AtomicUsize| {
            let one_less = |left: usize| left.checked_sub(1);
            from.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
        };
        !take(&self.state.room) && take(&self.state.full)
    }
}

#[async_trait::async_trait]
impl Store for RecordingStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        self.count();
        self.inner.get(key).await
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        self.count();
        if self.is_full() {
            return Err(StoreFailure::new("full", "no space left on the device"));
        }
        self.inner.put(key, value, expected).await
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        self.count();
        self.inner.delete(key, expected).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        self.count();
        self.inner.list(prefix).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        self.count();
        self.state.locks.send_modify(|asked| *asked += 1);
        let mut held_up = self.state.held_up.subscribe();
        // The sender lives as long as `self`.
        let _ = held_up.wait_for(|held_up| !held_up).await;
        if self.state.lockless.load(Ordering::SeqCst) {
            return Ok(Some(LockGuard::new(())));
        }
        self.inner.lock(wait).await
    }
}
