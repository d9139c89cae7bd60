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
    conflict_notice::ConflictNotice, hex::hex, recorder::Recorder,
};

/// The pause before the first try to store what is held. It doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a held entry takes beside its value, with room: few are ever held.
const BESIDE_VALUE: usize = 4 << 10;

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

    /// Keeps a reply with tokens that a stopped plugin left, under a key of its own, and tells so.
    pub(crate) async fn keep_unread(&self, reply: &[u8]) {
        let cause = "The plugin was stopped before it had saved them: by a defect, or a limit.";
        let kept = self.0.keep_under("unread-reply", reply).await;
        let (code, message, remedy) = match kept {
            Ok(Some(key)) => (
                "kept-aside",
                format!(
                    "New tokens were received; the reply is kept as `{}`.",
                    key.as_str()
                ),
                "Sign in: `procore-auth login`. Report it.",
            ),
            Ok(None) => return,
            Err(failure) => (
                "tokens-lost",
                format!("New tokens were received and could not be kept: {failure}."),
                "Mend the store, and sign in: `procore-auth login`. Report it.",
            ),
        };
        self.0.alert(code, message, cause, remedy);
    }

    pub(crate) async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        match self.0.held(key) {
            None => self.0.inner.delete(key, expected).await,
            Some(held) if held.revision != expected => Ok(Write::Conflict(Some(held.into()))),
            Some(held) => self.0.delete_held(key, &held).await,
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

    /// Returns how many bytes of memory what is held takes, about.
    pub(crate) fn held_size(&self) -> usize {
        let state = self.0.state();
        let values = state.held.values().map(|held| held.value.len());
        values.map(|size| size.saturating_add(BESIDE_VALUE)).sum()
    }

    /// Waits until no call has the lock and nothing is held.
    pub(crate) async fn settled(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            // A call that has its turn may have received what it has not saved yet.
            drop(Arc::clone(&self.0.turn).lock_owned().await);
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
            self.saved(key);
        }
        Ok(written)
    }

    /// Deletes a held entry, and what it was to replace. What somebody else wrote meanwhile stays.
    async fn delete_held(&self, key: &Key, held: &Held) -> Result<Write, StoreFailure> {
        if let Some(stored) = self.inner.get(key).await? {
            let is_ours = Some(stored.revision) == held.expected || stored.value == held.value;
            if !is_ours {
                return Ok(Write::Conflict(Some(stored)));
            }
            let deleted = self.inner.delete(key, stored.revision).await?;
            if matches!(deleted, Write::Conflict(Some(_))) {
                return Ok(deleted);
            }
        }
        self.let_go(key);
        Ok(Write::Stored(held.revision))
    }

    /// Says so where nothing lives in this process alone any more.
    fn saved(&self, key: &Key) {
        if self.let_go(key) {
            self.recorder.record(
                Severity::Info,
                "tokens-saved",
                "The tokens that could not be saved are saved now.",
                Vec::new(),
            );
        }
    }

    /// Holds an entry no more. Returns whether it was the last one.
    fn let_go(&self, key: &Key) -> bool {
        let mut state = self.state();
        state.held.remove(key);
        let is_last = state.held.is_empty();
        drop(state);
        if is_last {
            self.emptied.notify_waiters();
        }
        is_last
    }

    /// Tries again and again, between the turns of the calls, until nothing is held.
    async fn store_what_is_held(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
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

    /// Stores what is held. It is newer than what somebody wrote without the lock meanwhile, which is kept aside.
    async fn store(&self, key: &Key, held: &Held) -> Result<(), StoreFailure> {
        let mut expected = held.expected;
        for _ in 0..3 {
            match self.inner.put(key, &held.value, expected).await? {
                Write::Stored(_) => {
                    self.saved(key);
                    break;
                }
                Write::Conflict(Some(theirs)) if theirs.value == held.value => {
                    self.saved(key);
                    break;
                }
                Write::Conflict(Some(theirs)) => {
                    self.keep_aside(key, &theirs.value).await?;
                    expected = Some(theirs.revision);
                }
                Write::Conflict(None) => expected = None,
            }
        }
        Ok(())
    }

    /// Keeps what may hold tokens under a key that it names itself, and tells so. What is kept there already was told; where
    /// something else took the key, it fails and replaces nothing.
    async fn keep_aside(&self, key: &Key, value: &[u8]) -> Result<(), StoreFailure> {
        let label = format!("{}-conflict", key.as_str());
        if let Some(aside) = self.keep_under(&label, value).await? {
            self.tell_conflict(&aside).await;
        }
        Ok(())
    }

    /// Tells of a conflict: as an alert once a day, by whichever process.
    async fn tell_conflict(&self, aside: &Key) {
        let notice = ConflictNotice::read(&*self.inner).await;
        let now = self.clock.now();
        let severity = notice.severity(now);
        let message = format!(
            "Somebody changed the store without its lock while tokens could not be saved: what was written is kept as `{}`.",
            aside.as_str()
        );
        let cause =
            "A program writes the store without taking its lock, or the lock excludes nobody.";
        let remedy = "Move the store to a local disk, and let only procore-auth write it. Look at what was kept before you delete it.";
        self.tell(severity, "write-without-lock", message, cause, remedy);
        if severity == Severity::Alert {
            notice.note(&*self.inner, now).await;
        }
    }

    /// Keeps bytes under a key that they name themselves; `None` where they are kept already.
    async fn keep_under(&self, label: &str, value: &[u8]) -> Result<Option<Key>, StoreFailure> {
        let name = hex(&Sha256::digest(value)[..8]);
        let aside = Key::new(format!("{label}-{name}"))?;
        match self.inner.put(&aside, value, None).await? {
            Write::Stored(_) => Ok(Some(aside)),
            Write::Conflict(Some(kept)) if kept.value == value => Ok(None),
            Write::Conflict(_) => {
                let message = format!("the entry {} is not what was kept there", aside.as_str());
                Err(StoreFailure::new("corrupt", message))
            }
        }
    }

    fn alert(&self, code: &str, message: String, cause: &str, remedy: &str) {
        self.tell(Severity::Alert, code, message, cause, remedy);
    }

    fn tell(&self, severity: Severity, code: &str, message: String, cause: &str, remedy: &str) {
        let fields = vec![
            ("cause".to_owned(), cause.to_owned()),
            ("remedy".to_owned(), remedy.to_owned()),
        ];
        self.recorder.record(severity, code, message, fields);
    }

    fn tell_held(&self, why: Option<&StoreFailure>) {
        self.alert(
            "tokens-not-saved",
            "New tokens were received and cannot be saved: they live in this process alone. The save is tried again until it works."
                .to_owned(),
            &why.map_or_else(String::new, ToString::to_string),
            "Make the store writable while this process runs. If the process ends before, its sign-in is lost: `procore-auth login`.",
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{Event, Journal, MemoryStore, SystemClock};

    const SOON: Duration = Duration::from_millis(50);

    /// A store in memory on a disk that can be full.
    #[derive(Clone, Default)]
    struct Disk {
        memory: MemoryStore,
        full: Arc<AtomicBool>,
    }

    #[async_trait]
    impl Store for Disk {
        async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
            self.memory.get(key).await
        }

        async fn put(
            &self,
            key: &Key,
            value: &[u8],
            expected: Option<u64>,
        ) -> Result<Write, StoreFailure> {
            if self.full.load(Ordering::SeqCst) {
                return Err(StoreFailure::new("full", "no space left"));
            }
            self.memory.put(key, value, expected).await
        }

        async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
            self.memory.delete(key, expected).await
        }

        async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
            self.memory.list(prefix).await
        }

        async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
            self.memory.lock(wait).await
        }
    }

    #[derive(Default)]
    struct Codes(Mutex<Vec<String>>);

    impl Journal for Codes {
        fn record(&self, _connection: &str, event: &Event) {
            self.0.lock().expect("sound").push(event.code.clone());
        }
    }

    /// A clock whose sleeps end where a test says so.
    struct Waking {
        system: SystemClock,
        woken: Notify,
    }

    #[async_trait]
    impl Clock for Waking {
        fn now(&self) -> u64 {
            self.system.now()
        }

        fn elapsed(&self) -> Duration {
            self.system.elapsed()
        }

        async fn sleep(&self, _: Duration) {
            self.woken.notified().await;
        }
    }

    struct Setting {
        disk: Disk,
        store: HoldingStore,
        codes: Arc<Codes>,
        clock: Arc<Waking>,
        key: Key,
        /// What the disk had when it became full.
        first: u64,
    }

    impl Setting {
        /// A disk that became full after the first value.
        async fn full() -> Self {
            let (disk, codes) = (Disk::default(), Arc::<Codes>::default());
            let clock = Arc::new(Waking {
                system: SystemClock::new(),
                woken: Notify::new(),
            });
            let recorder = Recorder::new("acme".to_owned(), clock.clone(), vec![codes.clone()]);
            let store = HoldingStore::new(Arc::new(disk.clone()), clock.clone(), recorder.into());
            let key = Key::new("session").expect("valid");
            let Ok(Write::Stored(first)) = store.put(&key, b"one", None).await else {
                panic!("stored");
            };
            disk.full.store(true, Ordering::SeqCst);
            Self {
                disk,
                store,
                codes,
                clock,
                key,
                first,
            }
        }

        /// As a call does that received something and cannot save it.
        async fn hold(&self, value: &[u8], expected: u64) -> u64 {
            let locked = self.store.lock(SOON).await.expect("works").expect("free");
            let refused = self.store.put(&self.key, value, Some(expected)).await;
            assert_eq!(refused.expect_err("full").code, "full");
            let held = self
                .store
                .hold(self.key.clone(), value.to_vec(), Some(expected));
            drop(locked);
            held
        }

        async fn entry(&self) -> Entry {
            let entry = self.store.get(&self.key).await;
            entry.expect("readable").expect("there")
        }

        async fn on_disk(&self) -> Vec<u8> {
            let entry = self.disk.get(&self.key).await;
            entry.expect("readable").expect("there").value
        }

        async fn make_room(&self) {
            self.disk.full.store(false, Ordering::SeqCst);
            self.clock.woken.notify_one();
            self.store.settled().await;
        }

        fn codes(&self) -> Vec<String> {
            self.codes.0.lock().expect("sound").clone()
        }
    }

    #[tokio::test]
    async fn s19_what_is_held_is_read_here_and_stored_as_soon_as_there_is_room() {
        let setting = Setting::full().await;
        let held = setting.hold(b"two", setting.first).await;
        let entry = setting.entry().await;
        assert_eq!((&*entry.value, entry.revision), (&b"two"[..], held));
        assert_eq!(setting.on_disk().await, b"one");
        setting.make_room().await;
        assert_eq!(setting.on_disk().await, b"two");
        assert_eq!(setting.entry().await.value, b"two");
        assert_eq!(setting.codes(), ["tokens-not-saved", "tokens-saved"]);
    }

    #[tokio::test]
    async fn s19_while_something_is_held_no_other_process_gets_the_lock_and_this_one_does() {
        let setting = Setting::full().await;
        setting.hold(b"two", setting.first).await;
        assert!(setting.disk.lock(SOON).await.expect("works").is_none());
        let turn = setting.store.lock(SOON).await.expect("works");
        assert!(setting.store.lock(SOON).await.expect("works").is_none());
        drop(turn.expect("ours"));
        setting.make_room().await;
        let free = setting.disk.lock(Duration::from_secs(5)).await;
        assert!(free.expect("works").is_some());
    }

    #[tokio::test]
    async fn what_is_held_is_replaced_and_deleted_by_its_own_revision_only() {
        let setting = Setting::full().await;
        let two = setting.hold(b"two", setting.first).await;
        let three = setting.hold(b"three", two).await;
        for stale in [setting.first, two] {
            let put = setting.store.put(&setting.key, b"x", Some(stale)).await;
            assert!(matches!(put, Ok(Write::Conflict(Some(entry))) if entry.revision == three));
            let delete = setting.store.delete(&setting.key, stale).await;
            assert!(matches!(delete, Ok(Write::Conflict(Some(entry))) if entry.revision == three));
        }
        assert_eq!(setting.store.list("").await, Ok(vec![setting.key.clone()]));
        let deleted = setting.store.delete(&setting.key, three).await;
        assert_eq!(deleted, Ok(Write::Stored(three)));
        assert_eq!(setting.store.get(&setting.key).await, Ok(None));
        assert_eq!(setting.disk.get(&setting.key).await, Ok(None));
    }

    #[tokio::test]
    async fn a_later_write_that_works_takes_the_place_of_what_is_held() {
        let setting = Setting::full().await;
        let held = setting.hold(b"two", setting.first).await;
        setting.disk.full.store(false, Ordering::SeqCst);
        let stored = setting.store.put(&setting.key, b"three", Some(held)).await;
        assert!(matches!(stored, Ok(Write::Stored(_))));
        setting.store.settled().await;
        assert_eq!(setting.on_disk().await, b"three");
    }

    #[tokio::test]
    async fn s7_what_is_held_and_what_somebody_wrote_meanwhile_are_both_kept() {
        let setting = Setting::full().await;
        setting.hold(b"two", setting.first).await;
        let memory = &setting.disk.memory;
        let other = memory
            .put(&setting.key, b"other", Some(setting.first))
            .await;
        assert!(matches!(other, Ok(Write::Stored(_))));
        setting.make_room().await;
        assert_eq!(setting.on_disk().await, b"two");
        let keys = memory.list("session-conflict-").await.expect("listed");
        let kept = memory.get(&keys[0]).await.expect("readable");
        assert_eq!(kept.expect("kept").value, b"other");
        assert_eq!(
            setting.codes(),
            ["tokens-not-saved", "write-without-lock", "tokens-saved"]
        );
    }

    #[tokio::test]
    async fn what_was_kept_once_is_not_told_again() {
        let setting = Setting::full().await;
        let key = &setting.key;
        let keep = || setting.store.0.keep_aside(key, b"other");
        setting.disk.full.store(false, Ordering::SeqCst);
        for _ in 0..2 {
            keep().await.expect("kept");
        }
        assert_eq!(setting.codes(), ["write-without-lock"]);
    }

    #[tokio::test]
    async fn what_cannot_be_kept_because_its_key_is_taken_is_not_replaced() {
        let setting = Setting::full().await;
        setting.disk.full.store(false, Ordering::SeqCst);
        let keep = || setting.store.0.keep_aside(&setting.key, b"other");
        keep().await.expect("kept");
        let aside = setting.disk.list("session-conflict-").await;
        let aside = aside.expect("listed").remove(0);
        let kept = setting.disk.get(&aside).await.expect("readable");
        let revision = kept.expect("kept").revision;
        let taken = setting.disk.put(&aside, b"damaged", Some(revision)).await;
        assert!(matches!(taken, Ok(Write::Stored(_))));
        assert!(keep().await.is_err());
        let kept = setting.disk.get(&aside).await.expect("readable");
        assert_eq!(kept.expect("there").value, b"damaged");
    }

    #[tokio::test]
    async fn what_is_held_is_stored_where_somebody_moved_the_entry_away_meanwhile() {
        let setting = Setting::full().await;
        setting.hold(b"two", setting.first).await;
        let gone = setting.disk.delete(&setting.key, setting.first).await;
        assert!(matches!(gone, Ok(Write::Stored(_))));
        setting.make_room().await;
        assert_eq!(setting.on_disk().await, b"two");
    }

    #[tokio::test]
    async fn the_end_waits_for_a_call_that_has_its_turn() {
        let setting = Setting::full().await;
        let turn = setting.store.lock(SOON).await.expect("works");
        let waiting = setting.store.clone();
        let mut end = Box::pin(waiting.settled());
        assert!(timeout(SOON, &mut end).await.is_err());
        drop(turn);
        end.await;
    }

    #[tokio::test]
    async fn deleting_what_is_held_leaves_alone_what_somebody_wrote_meanwhile() {
        let setting = Setting::full().await;
        let held = setting.hold(b"two", setting.first).await;
        let memory = &setting.disk.memory;
        let other = memory
            .put(&setting.key, b"other", Some(setting.first))
            .await;
        assert!(matches!(other, Ok(Write::Stored(_))));
        let refused = setting.store.delete(&setting.key, held).await;
        assert!(matches!(refused, Ok(Write::Conflict(Some(entry))) if entry.value == b"other"));
        assert_eq!(setting.on_disk().await, b"other");
    }

    #[tokio::test]
    async fn deleting_what_is_held_takes_a_write_with_it_that_happened_all_the_same() {
        let setting = Setting::full().await;
        let held = setting.hold(b"two", setting.first).await;
        let memory = &setting.disk.memory;
        let wrote = memory.put(&setting.key, b"two", Some(setting.first)).await;
        assert!(matches!(wrote, Ok(Write::Stored(_))));
        let deleted = setting.store.delete(&setting.key, held).await;
        assert_eq!(deleted, Ok(Write::Stored(held)));
        assert_eq!(setting.disk.get(&setting.key).await, Ok(None));
    }
}
