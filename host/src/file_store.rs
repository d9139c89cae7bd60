//! A store in files.
//!
//! # On disk
//!
//! The format is open, so that hosts in other languages can share a store. One folder per connection, `ROOT/NAME/`, holds:
//!
//! | file | content |
//! |---|---|
//! | `KEY` | the entry: a header, a line feed, the value's bytes |
//! | `KEY.previous` | the entry's previous generation, in the same format |
//! | `KEY.damaged-1`, … | a file that could not be read whole, set aside; never overwritten, and deleted with its entry alone |
//! | `.KEY.N.xxxxxx` | a write in progress that is to follow revision `N` (0: the first), or one that was cut short |
//! | `.KEY.previous.xxxxxx` | the previous generation on its way to its place |
//! | `.guard` | empty; locked (`flock`, exclusive) for a moment around every change |
//! | `.lock` | empty; locked (`flock`, exclusive) by whoever holds the connection's lock |
//! | `.install` | which installation the folder belongs to: one line of JSON, `{"procore-auth":1,"install":"…","inode":1,"born":1}` |
//!
//! The value may be sealed: the format of [`crate::EncryptedStore`] is documented at the top of `seal.rs`.
//!
//! Folders are 0700, files 0600, both from their creation; anything else is refused, and so are symbolic links.
//!
//! The header is one line of JSON: `{"procore-auth":1,"revision":7,"sha256":"…","install":"…"}`. `procore-auth` is the format's
//! version, `revision` at most 2⁵³ − 1, `sha256` the value's digest in hexadecimal, `install` the id of the installation that
//! wrote it, where that is known. Readers ignore members that they do not know. A
//! writer picks a revision that the key never had, by `max(seconds since 1970, (last revision >> 20) + 1) << 20` plus 20
//! random bits.
//!
//! # Writing
//!
//! Under `.guard`: read and compare the revision; write `.KEY.N.xxxxxx` and `fsync` it; make the current file's second name
//! `KEY.previous`; rename `.KEY.N.xxxxxx` to `KEY`; `fsync` the folder. Whatever cuts this short, `KEY` is the old or the new
//! generation, whole. A write that failed may have happened: read again.
//!
//! Whoever has just been granted `.lock` takes `.guard` and finishes what killed writers left: a `.KEY.N.xxxxxx` that is whole and
//! follows the entry as it is becomes that entry, by the same steps; any other file of an unfinished write is removed. Its bytes
//! may be the only copy of tokens that a server has already exchanged. Beside an entry that is not whole, nothing is touched,
//! except by a rewrite (`rewrite.rs`).
//!
//! Deleting removes the other files first and `KEY` last: whatever cuts it short, the entry is there whole or gone. What was
//! set aside as damaged goes as well: it may hold the very tokens that are to be gone.
//!
//! # Reading
//!
//! | `KEY` | `KEY.previous` | result |
//! |---|---|---|
//! | whole | of a greater revision | the previous generation, marked as such: an older `KEY` was put back; it becomes `KEY.damaged-N` |
//! | whole | any other | the entry |
//! | missing | missing | no entry |
//! | missing | whole | the previous generation, marked as such |
//! | damaged | whole | the same; `KEY` becomes `KEY.damaged-N` |
//! | damaged | missing or damaged | failure `corrupt`, on every read and write until a person acts; nothing is touched |
//! | missing | damaged | the same |
//! | of a later format | any | failure `newer-format` |
//!
//! An entry whose `install` is not the folder's is marked as copied. The folder's own is in `.install`, together with that
//! file's inode and birth (nanoseconds since 1970): where they are not those of the file, the folder is a copy, and whoever
//! opens it writes a new `.install` (a new file, renamed) with a random id.
//!
//! A file that cannot be read for another reason (permissions, an I/O error) is a failure, and nothing is touched.

mod rewrite;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use crate::{
    ConnectionName, Entry, Key, LockGuard, Provenance, Store, StoreFailure, Write,
    entry_file::{self, Decoded, Unreadable},
    file_lock::{self, FileLock},
    installation,
    private_file::{self, failure},
    revision,
    unfinished::{self, Unfinished},
};

pub(crate) use rewrite::Piece;
pub use rewrite::Rewritten;

/// The most bytes of a value: no plugin has more memory. How much may be parked is the policy's to say.
const MAX_VALUE: usize = 256 << 20;

const PREVIOUS: &str = ".previous";

/// A [`Store`] in files: one folder per connection, for this account only.
///
/// Processes, threads and programs in other languages share it safely, on one machine; the format is documented at the top
/// of this module's source. Clones share everything. All file access happens off the async threads, and a write that was
/// begun is finished even where its caller gives up.
#[derive(Debug, Clone)]
pub struct FileStore {
    folder: Arc<Folder>,
    lock: Arc<FileLock>,
}

impl FileStore {
    /// Opens the connection's folder under `root`, and creates both where they are missing. Blocks for a few file operations.
    ///
    /// Two spellings of one root, such as a relative path or one through a symbolic link, make one store with one lock.
    ///
    /// Errors: `insecure-permissions` where the folder is a symbolic link, belongs to another account or lets others in;
    /// `locks-unsupported` where the file system has no working locks; `busy` where another process keeps the folder to itself;
    /// `read-only`, `permission-denied`, `full` or `io` where it cannot be created or read.
    pub fn open(root: &Path, name: &ConnectionName) -> Result<Self, StoreFailure> {
        create_folder(root)?;
        let root = root.canonicalize().map_err(|error| failure(&error, root))?;
        let path = root.join(name.as_str());
        // A link would pass for a folder here, and is refused by the check.
        create_folder(&path)?;
        private_file::check_folder(&path)?;
        let folder = Folder { path };
        file_lock::check_support(&folder.guard_path())?;
        if installation::marked(&folder.path)?.is_none() {
            folder.install(&folder.guard()?)?;
        }
        let lock = folder.path.join(".lock");
        private_file::open_lock_file(&lock)?;
        Ok(Self {
            folder: Arc::new(folder),
            lock: FileLock::of(lock),
        })
    }

    /// Runs `work` where blocking does no harm. It runs to its end even where this future is dropped.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, StoreFailure> + Send + 'static,
    ) -> Result<T, StoreFailure> {
        let folder = Arc::clone(&self.folder);
        spawn_blocking(move || work(&folder))
            .await
            .unwrap_or_else(|error| Err(failure(&error.into(), &self.folder.path)))
    }
}

#[async_trait]
impl Store for FileStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        let key = key.clone();
        self.run(move |folder| folder.get(&key)).await
    }

    async fn put(
        &self,
        key: &Key,
        value: &[u8],
        expected: Option<u64>,
    ) -> Result<Write, StoreFailure> {
        let (key, value) = (key.clone(), value.to_owned());
        self.run(move |folder| folder.put(&key, &value, expected))
            .await
    }

    async fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let key = key.clone();
        self.run(move |folder| folder.delete(&key, expected)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let prefix = prefix.to_owned();
        self.run(move |folder| folder.list(&prefix)).await
    }

    async fn lock(&self, wait: Duration) -> Result<Option<LockGuard>, StoreFailure> {
        let held = self.lock.lock(wait).await?;
        if held.is_some() {
            self.run(Folder::finish_writes).await?;
        }
        Ok(held)
    }
}

/// A connection's folder. All methods block.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

/// The version of an entry that counts.
struct Found {
    decoded: Decoded,
    provenance: Provenance,
}

/// What one file came to.
enum File {
    Whole(Decoded),
    Missing,
    Damaged(&'static str),
}

impl Folder {
    fn guard_path(&self) -> PathBuf {
        self.path.join(".guard")
    }

    fn current_path(&self, key: &Key) -> PathBuf {
        self.path.join(key.as_str())
    }

    fn previous_path(&self, key: &Key) -> PathBuf {
        self.path.join(format!("{}{PREVIOUS}", key.as_str()))
    }

    fn get(&self, key: &Key) -> Result<Option<Entry>, StoreFailure> {
        // Without the guard: renaming is atomic, so a whole file is the entry.
        if let File::Whole(current) = self.read(&self.current_path(key))?
            && !self.is_outdated(key, &current)?
            && let Some(install) = installation::marked(&self.path)?
        {
            return Ok(Some(found(current, Some(&install)).into()));
        }
        let guard = self.guard()?;
        self.load(key, &guard).map(|found| found.map(Entry::from))
    }

    fn put(&self, key: &Key, value: &[u8], expected: Option<u64>) -> Result<Write, StoreFailure> {
        if value.len() > MAX_VALUE {
            let message = format!(
                "{}: more than {MAX_VALUE} bytes",
                self.current_path(key).display()
            );
            return Err(StoreFailure::new("too-large", message));
        }
        let guard = self.guard()?;
        let current = self.load(key, &guard)?;
        let last = current.as_ref().map(|found| found.decoded.revision);
        if last != expected {
            return Ok(Write::Conflict(current.map(Entry::from)));
        }
        let revision = revision::next(last);
        let bytes = entry_file::encode(revision, self.install(&guard)?.as_deref(), value);
        let new = self.write_aside(key, &unfinished::successor_prefix(key, last), &bytes)?;
        if let Some(current) = current.filter(|found| found.provenance != Provenance::Previous) {
            self.keep_previous(key, &current.decoded)?;
        }
        self.put_in_place(new, &self.current_path(key))?;
        self.sync()?;
        Ok(Write::Stored(revision))
    }

    fn delete(&self, key: &Key, expected: u64) -> Result<Write, StoreFailure> {
        let guard = self.guard()?;
        let current = self.load(key, &guard)?;
        if current.as_ref().map(|found| found.decoded.revision) != Some(expected) {
            return Ok(Write::Conflict(current.map(Entry::from)));
        }
        self.remove_beginning_with(&unfinished::prefix(key))?;
        self.remove_beginning_with(&format!("{}.damaged-", key.as_str()))?;
        // An entry that is served from its previous generation has no other file; either way the last removal decides.
        remove(&self.previous_path(key))?;
        remove(&self.current_path(key))?;
        self.sync()?;
        Ok(Write::Stored(expected))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Key>, StoreFailure> {
        let names = self.names()?;
        let keys: BTreeSet<Key> = names
            .iter()
            .map(|name| name.strip_suffix(PREVIOUS).unwrap_or(name))
            .filter(|name| name.starts_with(prefix))
            .filter_map(|name| Key::new(name).ok())
            .collect();
        Ok(keys.into_iter().collect())
    }

    /// Keeps everybody else from changing anything. Errors: `busy` where somebody else does that for too long.
    fn guard(&self) -> Result<file_lock::Held, StoreFailure> {
        file_lock::hold_briefly(&self.guard_path())
    }

    /// Finishes the writes that were cut short by their writers' death, and removes what cannot be finished.
    fn finish_writes(&self) -> Result<(), StoreFailure> {
        let guard = self.guard()?;
        for name in self.names()? {
            if let Some(unfinished) = Unfinished::parse(&name) {
                self.finish_write(&self.path.join(&name), &unfinished, &guard)?;
            }
        }
        Ok(())
    }

    fn finish_write(
        &self,
        path: &Path,
        unfinished: &Unfinished,
        _: &file_lock::Held,
    ) -> Result<(), StoreFailure> {
        let key = &unfinished.key;
        let current = match (
            self.read(&self.current_path(key)),
            self.read(&self.previous_path(key)),
        ) {
            (Ok(File::Whole(current)), _) => Some(current),
            (Ok(File::Missing), Ok(File::Missing)) => None,
            _ => return Ok(()),
        };
        let last = current.as_ref().map(|current| current.revision);
        let is_next = unfinished.follows == Some(last);
        match self.read(path) {
            Ok(File::Whole(_)) if is_next => self.finish(key, path, current.as_ref()),
            Ok(File::Whole(_) | File::Damaged(_)) => {
                // Where it cannot be removed it harms nobody, and the next one tries again.
                let _ = fs::remove_file(path);
                Ok(())
            }
            Ok(File::Missing) | Err(_) => Ok(()),
        }
    }

    fn finish(&self, key: &Key, new: &Path, current: Option<&Decoded>) -> Result<(), StoreFailure> {
        let at = |error: io::Error| failure(&error, new);
        fs::File::open(new)
            .and_then(|file| file.sync_all())
            .map_err(at)?;
        if let Some(current) = current {
            self.keep_previous(key, current)?;
        }
        fs::rename(new, self.current_path(key)).map_err(at)?;
        self.sync()
    }

    /// Reads the entry by the table at the top.
    fn load(&self, key: &Key, guard: &file_lock::Held) -> Result<Option<Found>, StoreFailure> {
        let current = self.current_path(key);
        let install = self.install(guard)?;
        let install = install.as_deref();
        let damage = match self.read(&current)? {
            File::Whole(decoded) if !self.is_outdated(key, &decoded)? => {
                return Ok(Some(found(decoded, install)));
            }
            File::Whole(decoded) => {
                // The previous generation may be damaged behind its header: then the older one is all there is.
                let File::Whole(previous) = self.read(&self.previous_path(key))? else {
                    return Ok(Some(found(decoded, install)));
                };
                self.set_aside(key, &current)?;
                return Ok(Some(previous_generation(previous)));
            }
            File::Missing => None,
            File::Damaged(what) => Some(what),
        };
        match (damage, self.read(&self.previous_path(key))?) {
            (None, File::Missing) => Ok(None),
            (None, File::Whole(previous)) => Ok(Some(previous_generation(previous))),
            (Some(_), File::Whole(previous)) => {
                self.set_aside(key, &current)?;
                Ok(Some(previous_generation(previous)))
            }
            (Some(what), File::Missing | File::Damaged(_)) | (None, File::Damaged(what)) => {
                Err(corrupt(&current, what))
            }
        }
    }

    /// Whether the previous generation is newer than this one: somebody put an older file in its place.
    fn is_outdated(&self, key: &Key, current: &Decoded) -> Result<bool, StoreFailure> {
        let path = self.previous_path(key);
        let Some(file) = private_file::open(&path)? else {
            return Ok(false);
        };
        let mut start = Vec::with_capacity(entry_file::MAX_HEADER);
        file.take(entry_file::MAX_HEADER as u64)
            .read_to_end(&mut start)
            .map_err(|error| failure(&error, &path))?;
        Ok(entry_file::revision(&start).is_some_and(|previous| previous > current.revision))
    }

    /// Returns the id of the installation that the folder belongs to. It may have been replaced since it was last asked.
    fn install(&self, guard: &file_lock::Held) -> Result<Option<String>, StoreFailure> {
        installation::of(&self.path, guard)
    }

    fn read(&self, path: &Path) -> Result<File, StoreFailure> {
        let Some(file) = private_file::open(path)? else {
            return Ok(File::Missing);
        };
        let limit = MAX_VALUE + entry_file::MAX_HEADER;
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failure(&error, path))?;
        if bytes.len() > limit {
            return Ok(File::Damaged("the file is too large"));
        }
        match entry_file::decode(bytes) {
            Ok(decoded) => Ok(File::Whole(decoded)),
            Err(Unreadable::Damaged(what)) => Ok(File::Damaged(what)),
            Err(Unreadable::NewerFormat(format)) => Err(StoreFailure::new(
                "newer-format",
                format!(
                    "{}: written by a later version (format {format})",
                    path.display()
                ),
            )),
        }
    }

    fn set_aside(&self, key: &Key, damaged: &Path) -> Result<(), StoreFailure> {
        let mut number = 1;
        let aside = loop {
            let path = self.path.join(format!("{}.damaged-{number}", key.as_str()));
            match fs::symlink_metadata(&path) {
                Ok(_) => number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break path,
                Err(error) => return Err(failure(&error, &path)),
            }
        };
        fs::rename(damaged, &aside).map_err(|error| failure(&error, &aside))?;
        self.sync()
    }

    /// Writes a file of its own, durably. Dropping it removes it.
    fn write_aside(
        &self,
        key: &Key,
        prefix: &str,
        bytes: &[u8],
    ) -> Result<NamedTempFile, StoreFailure> {
        let at = |error: io::Error| failure(&error, &self.current_path(key));
        // Born with mode 600.
        let mut file = tempfile::Builder::new()
            .prefix(prefix)
            .tempfile_in(&self.path)
            .map_err(at)?;
        file.write_all(bytes).map_err(at)?;
        file.as_file().sync_all().map_err(at)?;
        Ok(file)
    }

    /// Gives the current generation its second name. `current` is what the file holds.
    fn keep_previous(&self, key: &Key, current: &Decoded) -> Result<(), StoreFailure> {
        match self.link_previous(key) {
            Ok(()) => Ok(()),
            // There are file systems without hard links.
            Err(_) => self.copy_previous(key, current),
        }
    }

    /// Links under a third name first: `KEY.previous` is replaced and at no point missing.
    fn link_previous(&self, key: &Key) -> io::Result<()> {
        let current = self.current_path(key);
        let prefix = unfinished::previous_prefix(key);
        let link = tempfile::Builder::new()
            .prefix(&prefix)
            .make_in(&self.path, |link| fs::hard_link(&current, link))?;
        let path = link.path().to_owned();
        link.persist(self.previous_path(key))?;
        // Renaming one name of a file over another name of it does nothing and says that it worked.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn copy_previous(&self, key: &Key, current: &Decoded) -> Result<(), StoreFailure> {
        let bytes =
            entry_file::encode(current.revision, current.install.as_deref(), &current.value);
        let copy = self.write_aside(key, &unfinished::previous_prefix(key), &bytes)?;
        self.put_in_place(copy, &self.previous_path(key))
    }

    fn put_in_place(&self, file: NamedTempFile, path: &Path) -> Result<(), StoreFailure> {
        match file.persist(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(failure(&error.error, path)),
        }
    }

    /// Removes the files whose names begin so. The guard is held, so no write is in progress.
    fn remove_beginning_with(&self, prefix: &str) -> Result<(), StoreFailure> {
        for name in self.names()? {
            if name.starts_with(prefix) {
                remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// Returns the names in the folder. Those that are no Unicode are none of ours.
    fn names(&self) -> Result<Vec<String>, StoreFailure> {
        let at = |error: io::Error| failure(&error, &self.path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at)? {
            names.extend(entry.map_err(at)?.file_name().into_string());
        }
        Ok(names)
    }

    fn sync(&self) -> Result<(), StoreFailure> {
        private_file::sync_folder(&self.path).map_err(|error| failure(&error, &self.path))
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

/// Marks the newest generation as the folder's own or as copied.
fn found(decoded: Decoded, install: Option<&str>) -> Found {
    let copied = match (install, &decoded.install) {
        (Some(here), Some(written)) => here != written,
        _ => false,
    };
    let provenance = if copied {
        Provenance::Copied
    } else {
        Provenance::Newest
    };
    Found {
        decoded,
        provenance,
    }
}

fn previous_generation(decoded: Decoded) -> Found {
    Found {
        decoded,
        provenance: Provenance::Previous,
    }
}

fn corrupt(path: &Path, what: &str) -> StoreFailure {
    let message = format!(
        "{}: {what}, and there is no previous generation to fall back on; move the file away to start anew",
        path.display()
    );
    StoreFailure::new("corrupt", message)
}

fn remove(path: &Path) -> Result<(), StoreFailure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failure(&error, path)),
        _ => Ok(()),
    }
}

fn create_folder(path: &Path) -> Result<(), StoreFailure> {
    private_file::create_folder(path).map_err(|error| failure(&error, path))
}

#[cfg(test)]
mod tests;
