//! A connection's entries in files, in the format of the native host's `FileStore`, which documents it.
//!
//! What differs, since WASI 0.2 has no locks for the moment of a change: the file of a write that follows revision `N` has the one
//! name `.KEY.N.wasi`, and is created exclusively. Who created it looks again whether the entry is still at `N`, and is then the
//! only program in WASI that writes or deletes it; the last step of the write, its renaming, frees the name. Where such a file stays
//! behind, the next holder of the lock finishes the write or removes it, as a native host does.

use std::{collections::BTreeSet, rc::Rc, time::Duration};

use procore_auth_lending::{
    Entry, Key, Provenance, StoreFailure, Write,
    entry_file::{self, Decoded, MAX_HEADER, Unreadable},
    hex::hex,
    revision,
    sealed::is_sealed,
    unfinished::{self, Unfinished},
};
use serde::Deserialize;

use crate::{
    folder::{Folder, NewFile},
    time,
};

/// The most bytes of a value, as in the native host.
const MAX_VALUE: usize = 256 << 20;

const PREVIOUS: &str = ".previous";

/// Which installation the folder belongs to. It is a native host's to write: what tells a copy apart cannot be seen from here.
const MARK: &str = ".install";

/// How long another program's change of the same entry is waited for. It takes a moment, unless the program died.
const BRIEFLY: Duration = Duration::from_secs(2);

/// The pause between two looks at another program's change.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection's entries.
pub(crate) struct Entries {
    folder: Rc<Folder>,
}

/// The version of an entry that counts.
struct Found {
    decoded: Decoded,
    provenance: Provenance,
    /// Whether the file under the entry's own name is another one, damaged or older.
    hides: bool,
}

/// What one file came to.
enum File {
    Whole(Decoded),
    Missing,
    Damaged(&'static str),
}

/// A change of an entry that nobody else makes at the same time.
struct Claim {
    file: NewFile,
    name: String,
    current: Option<Found>,
}

impl Entries {
    pub(crate) fn new(folder: Rc<Folder>) -> Self {
        Self { folder }
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let found = self.load(key)?;
        found.map(|found| plain(key, found.into())).transpose()
    }

    pub(crate) fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        if value.len() > MAX_VALUE {
            let message = format!("{}: more than {MAX_VALUE} bytes", self.path(key));
            return Err(StoreFailure::new("too-large", message));
        }
        let claim = match self.claim(key, expected)? {
            Ok(claim) => claim,
            Err(current) => return Ok(Write::Conflict(current)),
        };
        let written = self.write(key, value, &claim);
        if written.is_err() {
            // The next holder of the lock removes it otherwise.
            let _ = self.folder.remove(&claim.name);
        }
        written.map(Write::Stored)
    }

    pub(crate) fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let claim = match self.claim(key, Some(expected))? {
            Ok(claim) => claim,
            Err(current) => return Ok(Write::Conflict(current)),
        };
        let (unfinished, damaged) = (
            unfinished::prefix(key),
            format!("{}.damaged-", key.as_str()),
        );
        for name in self.folder.names()? {
            let goes = name.starts_with(&unfinished) || name.starts_with(&damaged);
            if goes && name != claim.name {
                self.folder.remove(&name)?;
            }
        }
        self.folder.remove(&previous(key))?;
        self.folder.remove(key.as_str())?;
        self.folder.remove(&claim.name)?;
        self.folder.sync()?;
        Ok(Write::Stored(expected))
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let names = self.folder.names()?;
        let keys: BTreeSet<Key> = names
            .iter()
            .map(|name| name.strip_suffix(PREVIOUS).unwrap_or(name))
            .filter(|name| name.starts_with(prefix))
            .filter_map(|name| Key::new(name).ok())
            .collect();
        Ok(keys.into_iter().collect())
    }

    /// Finishes the writes that were cut short by their writers' death, and removes what cannot be finished. The lock is held.
    pub(crate) fn finish_writes(&self) -> Result<(), StoreFailure> {
        for name in self.folder.names()? {
            if let Some(unfinished) = Unfinished::parse(&name) {
                self.finish_write(&name, &unfinished)?;
            }
        }
        Ok(())
    }

    fn finish_write(&self, name: &str, unfinished: &Unfinished) -> Result<(), StoreFailure> {
        let key = &unfinished.key;
        let current = match (self.read(key.as_str()), self.read(&previous(key))) {
            (Ok(File::Whole(current)), _) => Some(current),
            (Ok(File::Missing), Ok(File::Missing)) => None,
            _ => return Ok(()),
        };
        let last = current.as_ref().map(|current| current.revision);
        let is_next = unfinished.follows == Some(last);
        match self.read(name) {
            Ok(File::Whole(_)) if is_next => {
                if let Some(current) = &current {
                    self.keep_previous(key, current)?;
                }
                self.folder.rename(name, key.as_str())?;
                self.folder.sync()
            }
            Ok(File::Whole(_) | File::Damaged(_)) => {
                // Where it cannot be removed it harms nobody, and the next one tries again.
                let _ = self.folder.remove(name);
                Ok(())
            }
            Ok(File::Missing) | Err(_) => Ok(()),
        }
    }

    /// Makes this program the only one that changes the entry at revision `expected`; the inner error is the entry where it is not at
    /// that revision.
    fn claim(
        &self,
        key: &Key,
        expected: Option<u64>,
    ) -> Result<Result<Claim, Option<Entry>>, StoreFailure> {
        let name = format!("{}wasi", unfinished::successor_prefix(key, expected));
        let patience = time::elapsed().saturating_add(BRIEFLY);
        loop {
            if let Some(conflict) = self.differing(key, expected)? {
                return Ok(Err(conflict));
            }
            if let Some(file) = self.folder.create_new(&name)? {
                let current = self.load(key)?;
                if revision_of(current.as_ref()) == expected {
                    return Ok(Ok(Claim {
                        file,
                        name,
                        current,
                    }));
                }
                self.folder.remove(&name)?;
            } else if time::elapsed() >= patience {
                let message = format!(
                    "{}: another program writes it, or died doing so",
                    self.path(key)
                );
                return Err(StoreFailure::new("busy", message));
            } else {
                time::sleep(PAUSE);
            }
        }
    }

    /// Returns the entry where it is not at revision `expected`.
    fn differing(
        &self,
        key: &Key,
        expected: Option<u64>,
    ) -> Result<Option<Option<Entry>>, StoreFailure> {
        let current = self.load(key)?;
        if revision_of(current.as_ref()) == expected {
            // What cannot be read must not be replaced.
            current.map(|found| plain(key, found.into())).transpose()?;
            return Ok(None);
        }
        let entry = current.map(|found| plain(key, found.into())).transpose()?;
        Ok(Some(entry))
    }

    fn write(&self, key: &Key, value: &[u8], claim: &Claim) -> Result<u64, StoreFailure> {
        let revision = next_revision(revision_of(claim.current.as_ref()));
        let bytes = entry_file::encode(revision, self.install().as_deref(), value);
        claim.file.write(&bytes)?;
        match &claim.current {
            Some(found) if found.hides => self.set_aside(key)?,
            Some(found) if found.provenance != Provenance::Previous => {
                self.keep_previous(key, &found.decoded)?;
            }
            _ => {}
        }
        let renamed = self.folder.rename(&claim.name, key.as_str())?;
        self.folder.sync()?;
        // A native host that was granted the lock may have finished the write, or removed it.
        if renamed || revision_of(self.load(key)?.as_ref()) == Some(revision) {
            return Ok(revision);
        }
        let message = format!("{}: another program removed the write", self.path(key));
        Err(StoreFailure::new("io", message))
    }

    /// Reads the entry by the native host's table. Changes nothing.
    fn load(&self, key: &Key) -> Result<Option<Found>, StoreFailure> {
        let current = self.read(key.as_str())?;
        let previous = || self.read(&previous(key));
        let damage = match current {
            File::Whole(decoded) if !self.is_outdated(key, &decoded)? => {
                return Ok(Some(self.newest(decoded)));
            }
            // The previous generation may be damaged behind its header: then the older one is all there is.
            File::Whole(decoded) => {
                return Ok(Some(match previous()? {
                    File::Whole(previous) => previous_generation(previous, true),
                    _ => self.newest(decoded),
                }));
            }
            File::Missing => None,
            File::Damaged(what) => Some(what),
        };
        match (damage, previous()?) {
            (None, File::Missing) => Ok(None),
            (damage, File::Whole(previous)) => {
                Ok(Some(previous_generation(previous, damage.is_some())))
            }
            (Some(what), File::Missing | File::Damaged(_)) | (None, File::Damaged(what)) => {
                let message = format!(
                    "{}: {what}, and there is no previous generation to fall back on; move the file away to start anew",
                    self.path(key)
                );
                Err(StoreFailure::new("corrupt", message))
            }
        }
    }

    fn newest(&self, decoded: Decoded) -> Found {
        let is_copied = match (self.install(), &decoded.install) {
            (Some(here), Some(written)) => here != *written,
            _ => false,
        };
        let provenance = if is_copied {
            Provenance::Copied
        } else {
            Provenance::Newest
        };
        Found {
            decoded,
            provenance,
            hides: false,
        }
    }

    /// Whether the previous generation is newer than this one: somebody put an older file in its place.
    fn is_outdated(&self, key: &Key, current: &Decoded) -> Result<bool, StoreFailure> {
        let start = self.folder.read(&previous(key), MAX_HEADER)?;
        let previous = start.and_then(|start| entry_file::revision(&start));
        Ok(previous.is_some_and(|previous| previous > current.revision))
    }

    fn read(&self, name: &str) -> Result<File, StoreFailure> {
        let limit = MAX_VALUE + MAX_HEADER;
        let Some(bytes) = self.folder.read(name, limit)? else {
            return Ok(File::Missing);
        };
        if bytes.len() > limit {
            return Ok(File::Damaged("the file is too large"));
        }
        match entry_file::decode(bytes) {
            Ok(decoded) => Ok(File::Whole(decoded)),
            Err(Unreadable::Damaged(what)) => Ok(File::Damaged(what)),
            Err(Unreadable::NewerFormat(format)) => {
                let path = self.folder.path_of(name);
                let message = format!("{path}: written by a later version (format {format})");
                Err(StoreFailure::new("newer-format", message))
            }
        }
    }

    /// Copies the current generation: not every runtime can give a file a second name.
    fn keep_previous(&self, key: &Key, current: &Decoded) -> Result<(), StoreFailure> {
        let bytes =
            entry_file::encode(current.revision, current.install.as_deref(), &current.value);
        let name = format!(
            "{}{}",
            unfinished::previous_prefix(key),
            hex(&time::random(6))
        );
        let Some(copy) = self.folder.create_new(&name)? else {
            return Err(StoreFailure::new(
                "io",
                format!("{}: a random name was taken", self.path(key)),
            ));
        };
        let kept = copy
            .write(&bytes)
            .and_then(|()| self.folder.rename(&name, &previous(key)));
        if kept.is_err() {
            let _ = self.folder.remove(&name);
        }
        kept.map(drop)
    }

    fn set_aside(&self, key: &Key) -> Result<(), StoreFailure> {
        let names = self.folder.names()?;
        let free = (1u64..)
            .map(|number| format!("{}.damaged-{number}", key.as_str()))
            .find(|name| !names.contains(name))
            .unwrap_or_default();
        self.folder.rename(key.as_str(), &free).map(drop)
    }

    /// Returns the id of the installation that the folder belongs to, where a native host has marked it.
    fn install(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Mark {
            install: String,
        }
        let bytes = self.folder.read(MARK, MAX_HEADER).ok()??;
        let mark: Mark = serde_json::from_slice(&bytes).ok()?;
        Some(mark.install)
    }

    fn path(&self, key: &Key) -> String {
        self.folder.path_of(key.as_str())
    }
}

impl From<Found> for Entry {
    fn from(found: Found) -> Self {
        Self {
            value: found.decoded.value,
            revision: found.decoded.revision,
            provenance: found.provenance,
        }
    }
}

fn previous(key: &Key) -> String {
    format!("{}{PREVIOUS}", key.as_str())
}

fn revision_of(found: Option<&Found>) -> Option<u64> {
    found.map(|found| found.decoded.revision)
}

fn next_revision(last: Option<u64>) -> u64 {
    let tail = time::random(4);
    let tail = tail
        .iter()
        .fold(0, |tail, byte| tail << 8 | u32::from(*byte));
    revision::next(last, time::now() / 1000, tail)
}

fn previous_generation(decoded: Decoded, hides: bool) -> Found {
    Found {
        decoded,
        provenance: Provenance::Previous,
        hides,
    }
}

/// The adapter has no keys: what is encrypted is refused, instead of being taken for damage.
fn plain(key: &Key, entry: Entry) -> Result<Entry, StoreFailure> {
    if !is_sealed(&entry.value) {
        return Ok(entry);
    }
    let message = format!(
        "the entry {} is encrypted, and no key reaches a plugin in WASI; give it a store of its own, or run \
         `procore-auth store decrypt`. Nothing was overwritten",
        key.as_str()
    );
    Err(StoreFailure::new("key-unavailable", message))
}
