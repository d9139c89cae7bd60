//! The connection's storage and its lock, and what could not be stored yet.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use procore_auth_lending::{ConnectionName, Entry, Key, Provenance, StoreFailure, Write};

use crate::{
    entries::Entries,
    folder::Folder,
    journal::{Journal, Severity},
    keeper,
    lease::Lease,
    time,
};

/// The pauses between the tries to store what is held, before the call ends.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// A connection's storage.
pub(crate) struct Storage {
    root: Folder,
    folder: Rc<Folder>,
    name: ConnectionName,
    entries: Entries,
    lease: Option<Lease<Folder>>,
    /// Whether a call has the lock. While something is held the lease is kept, and no call may have it.
    locked: bool,
    held: BTreeMap<Key, Held>,
    /// Counts down from the top, where no store has its revisions.
    revisions: u64,
    last_failure: Option<StoreFailure>,
}

/// What a key is to become.
#[derive(Clone)]
struct Held {
    value: Vec<u8>,
    revision: u64,
    /// What it replaces in the store.
    expected: Option<u64>,
}

impl Storage {
    /// Opens the connection's folder in `root`, and creates it where it is missing.
    pub(crate) fn open(root: Option<&str>, name: &ConnectionName) -> Result<Self, StoreFailure> {
        let root = Folder::open(root)?;
        let folder = Rc::new(root.subfolder(name.as_str())?);
        Ok(Self {
            entries: Entries::new(Rc::clone(&folder)),
            root,
            folder,
            name: name.clone(),
            lease: None,
            locked: false,
            held: BTreeMap::new(),
            revisions: 0,
            last_failure: None,
        })
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        match self.held.get(key) {
            Some(held) => Ok(Some(held.clone().into())),
            None => self.entries.get(key),
        }
    }

    pub(crate) fn put(
        &mut self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let Some(held) = self.held.get(key).cloned() else {
            let written = self.entries.put(key, value, expected);
            self.last_failure = written.as_ref().err().cloned();
            return written;
        };
        if expected != Some(held.revision) {
            return Ok(Write::Conflict(Some(held.into())));
        }
        let written = self.entries.put(key, value, held.expected)?;
        if matches!(written, Write::Stored(_)) {
            self.held.remove(key);
        }
        Ok(written)
    }

    /// Deletes an entry. One that is held must be stored first.
    pub(crate) fn delete(&mut self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        match self.held.get(key).cloned() {
            None => self.entries.delete(key, expected),
            Some(held) if held.revision != expected => Ok(Write::Conflict(Some(held.into()))),
            Some(held) => {
                let stored = match held.expected {
                    Some(stored) => self.entries.delete(key, stored)?,
                    None => Write::Stored(expected),
                };
                if let Write::Conflict(Some(_)) = stored {
                    return Ok(stored);
                }
                self.held.remove(key);
                Ok(Write::Stored(expected))
            }
        }
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let mut keys = self.entries.list(prefix)?;
        let held = self
            .held
            .keys()
            .filter(|key| key.as_str().starts_with(prefix));
        keys.extend(held.cloned());
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Holds an entry in memory, in place of the one at `expected`; returns what to call it from now on.
    ///
    /// # Panics
    ///
    /// Where the lock is not held.
    pub(crate) fn hold(
        &mut self,
        key: Key,
        value: Vec<u8>,
        expected: Option<u64>,
        journal: &Journal,
    ) -> u64 {
        assert!(self.locked, "an entry was held without the lock");
        let is_first = self.held.is_empty();
        self.revisions += 1;
        let revision = u64::MAX - self.revisions;
        let expected = match self.held.get(&key) {
            Some(earlier) if Some(earlier.revision) == expected => earlier.expected,
            _ => expected,
        };
        self.held.insert(
            key,
            Held {
                value,
                revision,
                expected,
            },
        );
        if is_first {
            let cause = self
                .last_failure
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            journal.tell(
                Severity::Alert,
                "tokens-not-saved",
                "New tokens were received and cannot be saved: they live in this instance alone. The save is tried again until the \
                 call ends, and by the next calls of the same instance.",
                &cause,
                "Make the store writable now. If the runtime drops the instance before, sign in again.",
            );
        }
        revision
    }

    /// Takes the lock; `false` where somebody else had it for longer than `wait`.
    ///
    /// # Panics
    ///
    /// Where a call has it already.
    pub(crate) fn lock(&mut self, wait: Duration, journal: &Journal) -> Result<bool, StoreFailure> {
        assert!(!self.locked, "the lock was taken twice");
        if let Some(who) = keeper::alive(&self.root, &self.name, time::now()) {
            return Err(kept(&who));
        }
        if !self.extend(Duration::ZERO)? {
            self.lease = None;
            self.lease = Lease::acquire(&self.folder, wait)?;
            let Some(lease) = &self.lease else {
                return Ok(false);
            };
            if lease.followed_the_dead {
                journal.record(
                    Severity::Warning,
                    "lock-taken-over",
                    "A program that had the connection's lock died, or was stopped for long: this one has it now.",
                    &[],
                );
            }
        }
        self.locked = true;
        if self.held.is_empty() {
            self.entries.finish_writes()?;
        }
        Ok(true)
    }

    /// Frees the lock, unless something is held that cannot be stored.
    pub(crate) fn unlock(&mut self, journal: &Journal) {
        if !std::mem::take(&mut self.locked) {
            return;
        }
        let mut pauses = PAUSES.into_iter();
        while !self.store_held(journal) {
            let Some(pause) = pauses.next() else {
                // Kept as long as it lasts: nobody is to act on what the store still says.
                return;
            };
            // Where the lease is lost, comparing revisions still protects what somebody else wrote.
            let _ = self.extend(pause);
            time::sleep(pause);
        }
        self.lease = None;
    }

    /// Makes the lock last for a wait of `span`. Returns whether this program has it still; `false` where it never had.
    pub(crate) fn extend(&mut self, span: Duration) -> Result<bool, StoreFailure> {
        match &mut self.lease {
            Some(lease) => lease.extend(span),
            None => Ok(false),
        }
    }

    /// Whether a call has the lock.
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether a call has the lock and another program has taken it over.
    pub(crate) fn was_overtaken(&self) -> bool {
        let lease = self.lease.as_ref().filter(|_| self.locked);
        lease.is_some_and(|lease| !lease.is_ours().unwrap_or(true))
    }

    /// Tries to store what is held. Returns whether nothing is any more.
    fn store_held(&mut self, journal: &Journal) -> bool {
        if self.held.is_empty() {
            return true;
        }
        for (key, held) in self.held.clone() {
            match self.entries.put(&key, &held.value, held.expected) {
                Ok(Write::Stored(_)) => drop(self.held.remove(&key)),
                Ok(Write::Conflict(Some(theirs))) if theirs.value == held.value => {
                    self.held.remove(&key);
                }
                // It is newer than what somebody wrote without the lock; the previous generation keeps that.
                Ok(Write::Conflict(theirs)) => {
                    let expected = theirs.map(|theirs| theirs.revision);
                    self.held.insert(key, Held { expected, ..held });
                    journal.tell(
                        Severity::Alert,
                        "write-without-lock",
                        "Somebody changed the store while tokens could not be saved; what was written is kept as the previous generation.",
                        "A program that does not see this one's lease uses the same store.",
                        "Let one program use the store, or native hosts alone.",
                    );
                }
                Err(failure) => self.last_failure = Some(failure),
            }
        }
        if self.held.is_empty() {
            journal.record(
                Severity::Info,
                "tokens-saved",
                "The tokens that could not be saved are saved now.",
                &[],
            );
        }
        self.held.is_empty()
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

fn kept(who: &str) -> StoreFailure {
    let message = format!(
        "{who} keeps this connection alive with a lock that cannot be seen from WASI: it refreshes the tokens, and they are read \
         here. Stop that keeper to let this program refresh them"
    );
    StoreFailure::new("busy", message)
}
