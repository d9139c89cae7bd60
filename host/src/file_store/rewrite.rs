//! Rewriting everything in a folder: when encryption is turned on or off, or the key changes.
//!
//! Under the connection's lock and `.guard`: an entry gets a new revision, so that whoever read it before loses the race; its
//! previous generation keeps its own. A previous generation that cannot be read is set aside first. What was set aside as damaged
//! is rewritten as a whole, header and all. Each file is replaced in one step.
//!
//! Where the newest generation is lost, an unfinished write may be the only copy of received tokens: the newest that is whole
//! becomes the entry. Any other is removed. One of a later format, or that the disk does not give, stops the rewrite.

use std::{io::Read as _, path::PathBuf};

use super::{
    Decoded, File, FileStore, Folder, Found, PREVIOUS, entry_file, failure, file_lock, remove,
    revision,
    unfinished::{self, Unfinished},
};
use crate::{Key, LockGuard, Provenance, StoreFailure, private_file};

/// What one piece of a store's content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The value of an entry or of its previous generation.
    Value,
    /// The bytes of a file that was set aside as damaged.
    Damaged,
}

/// What a change of a whole store came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rewritten {
    /// How many entries there are.
    pub entries: usize,
    /// How many files were replaced; 0 where everything was as wanted before.
    pub files: usize,
    /// The names in the folder that are none of the store's: they were left as they are, whatever they hold.
    pub foreign: Vec<String>,
}

/// Returns what a piece is to become; `None` where it is to stay. The text is the place: the entry's key, or the name of the
/// damaged file.
pub(super) type Change<'a> =
    &'a dyn Fn(Piece, &str, &[u8]) -> Result<Option<Vec<u8>>, StoreFailure>;

impl FileStore {
    /// Rewrites everything by `change`, while the connection's lock is held. What cannot be changed ends it.
    pub(crate) async fn rewrite(
        &self,
        held: LockGuard,
        change: impl Fn(Piece, &str, &[u8]) -> Result<Option<Vec<u8>>, StoreFailure> + Send + 'static,
    ) -> Result<Rewritten, StoreFailure> {
        self.run(move |folder| {
            let rewritten = folder.rewrite(&change);
            drop(held);
            rewritten
        })
        .await
    }
}

impl Folder {
    fn rewrite(&self, change: Change<'_>) -> Result<Rewritten, StoreFailure> {
        let guard = self.guard()?;
        let mut done = Rewritten::default();
        for key in self.list("")? {
            done.entries += 1;
            done.files += self.rewrite_entry(&key, &guard, change)?;
        }
        for name in self.names()? {
            if Unfinished::parse(&name).is_some() {
                let path = self.path.join(name);
                // What cannot be judged stays.
                self.read(&path)?;
                remove(&path)?;
            } else if is_damaged(&name) {
                done.files += self.rewrite_damaged(&name, change)?;
            } else if !is_ours(&name) {
                done.foreign.push(name);
            }
        }
        done.foreign.sort_unstable();
        self.sync()?;
        Ok(done)
    }

    fn rewrite_entry(
        &self,
        key: &Key,
        guard: &file_lock::Held,
        change: Change<'_>,
    ) -> Result<usize, StoreFailure> {
        let Some(Found {
            decoded: current,
            provenance,
        }) = self.load(key, guard)?
        else {
            return Ok(0);
        };
        if provenance == Provenance::Previous
            && let Some((path, newer)) = self.newer_unfinished(key, current.revision)?
        {
            // What cannot be changed must not take the place of what can.
            change(Piece::Value, key.as_str(), &newer.value)?;
            self.finish(key, &path, None)?;
            return self.rewrite_entry(key, guard, change);
        }
        let mut replaced = 0;
        if provenance != Provenance::Previous
            && let Some(value) = change(Piece::Value, key.as_str(), &current.value)?
        {
            let revision = revision::next(Some(current.revision));
            let bytes = entry_file::encode(revision, current.install.as_deref(), &value);
            let prefix = unfinished::successor_prefix(key, Some(current.revision));
            let new = self.write_aside(key, &prefix, &bytes)?;
            self.put_in_place(new, &self.current_path(key))?;
            replaced += 1;
        }
        let previous = self.previous_path(key);
        match self.read(&previous)? {
            File::Missing => {}
            File::Damaged(_) => self.set_aside(key, &previous)?,
            File::Whole(old) => {
                if let Some(value) = change(Piece::Value, key.as_str(), &old.value)? {
                    let bytes = entry_file::encode(old.revision, old.install.as_deref(), &value);
                    let prefix = unfinished::previous_prefix(key);
                    let new = self.write_aside(key, &prefix, &bytes)?;
                    self.put_in_place(new, &previous)?;
                    replaced += 1;
                }
            }
        }
        Ok(replaced)
    }

    /// Finds the newest whole file of a write that was cut short, if it is newer than `revision`.
    fn newer_unfinished(
        &self,
        key: &Key,
        revision: u64,
    ) -> Result<Option<(PathBuf, Decoded)>, StoreFailure> {
        let mut newest = None;
        let mut least = revision;
        for name in self.names()? {
            if Unfinished::parse(&name).is_none_or(|unfinished| unfinished.key != *key) {
                continue;
            }
            let path = self.path.join(name);
            if let File::Whole(decoded) = self.read(&path)?
                && decoded.revision > least
            {
                least = decoded.revision;
                newest = Some((path, decoded));
            }
        }
        Ok(newest)
    }

    fn rewrite_damaged(&self, name: &str, change: Change<'_>) -> Result<usize, StoreFailure> {
        let path = self.path.join(name);
        let Some(mut file) = private_file::open(&path)? else {
            return Ok(0);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|error| failure(&error, &path))?;
        let Some(bytes) = change(Piece::Damaged, name, &bytes)? else {
            return Ok(0);
        };
        let key = Key::new(name.split('.').next().unwrap_or_default())?;
        let new = self.write_aside(&key, &unfinished::previous_prefix(&key), &bytes)?;
        self.put_in_place(new, &path)?;
        Ok(1)
    }
}

/// `KEY.damaged-N`
fn is_damaged(name: &str) -> bool {
    let parts = name.split_once(".damaged-");
    parts.is_some_and(|(key, number)| is_key(key) && number.parse::<u64>().is_ok())
}

/// `KEY`, `KEY.previous`, `.guard`, `.lock` and the like.
fn is_ours(name: &str) -> bool {
    name.starts_with('.') || is_key(name.strip_suffix(PREVIOUS).unwrap_or(name))
}

fn is_key(name: &str) -> bool {
    Key::new(name).is_ok()
}
