//! Which installation a store's folder belongs to, so that a copy of it is known for one.
//!
//! The folder holds a mark, `.install`: a random id, and what the file system says about the mark itself. Whoever copies the
//! folder to another machine, or restores it from a backup, makes a new file with an old content: the two no longer agree, and
//! the folder gets a new mark. Entries carry the id of the installation that wrote them.
//!
//! A folder that is moved within its file system keeps its mark; so does a volume that is mounted elsewhere. Not noticed: a copy of the whole disk, such as a
//! cloned virtual machine; a backup that was written over the very same files; systems other than Unix.

use std::{
    fs::Metadata,
    io::{self, Read, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    Random, StoreFailure, SystemRandom, file_lock,
    hex::hex,
    private_file::{self, failure},
};

const MARK: &str = ".install";

/// Longer than any mark.
const LONGEST: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct Mark {
    #[serde(rename = "procore-auth")]
    format: u64,
    install: String,
    #[serde(flatten)]
    body: Body,
}

/// What a copy cannot have: the number of the mark's inode, and its birth in nanoseconds since 1970, where the system knows them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
}

impl Body {
    fn of(metadata: &Metadata) -> Self {
        let born = metadata.created().ok();
        let nanos = |born: SystemTime| born.duration_since(UNIX_EPOCH).ok();
        Self {
            inode: inode(metadata),
            born: born
                .and_then(nanos)
                .and_then(|born| u64::try_from(born.as_nanos()).ok()),
        }
    }

    /// Whether the two can be of one file. What is known of one alone says nothing.
    fn agrees_with(&self, other: &Self) -> bool {
        let agree = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
        // Some file systems number their inodes anew at each mount; a birth stays.
        match (self.born, other.born) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => agree(self.inode, other.inode),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<u64> {
    Some(std::os::unix::fs::MetadataExt::ino(metadata))
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> Option<u64> {
    None
}

/// Returns the id of the folder's installation; makes a new mark where there is none or it was copied. `None` where it cannot be
/// told, since the folder cannot be written.
pub(crate) fn of(folder: &Path, _: &file_lock::Held) -> Result<Option<String>, StoreFailure> {
    if let Some(id) = marked(folder)? {
        return Ok(Some(id));
    }
    match renew(folder) {
        Ok(id) => Ok(Some(id)),
        Err(error) => {
            tracing::debug!("no mark in {}: {error}", folder.display());
            Ok(None)
        }
    }
}

/// Returns the id of the folder's mark, if that is the original.
pub(crate) fn marked(folder: &Path) -> Result<Option<String>, StoreFailure> {
    let path = &folder.join(MARK);
    let Some(file) = private_file::open(path)? else {
        return Ok(None);
    };
    let at = |error: io::Error| failure(&error, path);
    let here = Body::of(&file.metadata().map_err(at)?);
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(at)?;
    let mark: Option<Mark> = serde_json::from_slice(&bytes).ok();
    Ok(mark
        .filter(|mark| mark.body.agrees_with(&here))
        .map(|mark| mark.install))
}

fn renew(folder: &Path) -> io::Result<String> {
    let mut random = [0; 16];
    SystemRandom.fill(&mut random);
    let install = hex(&random);
    // Born with mode 600, and renamed: the inode stays.
    let mut file = tempfile::Builder::new()
        .prefix(&format!("{MARK}."))
        .tempfile_in(folder)?;
    let mark = Mark {
        format: 1,
        install: install.clone(),
        body: Body::of(&file.as_file().metadata()?),
    };
    file.write_all(&serde_json::to_vec(&mark)?)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(MARK))?;
    private_file::sync_folder(folder)?;
    Ok(install)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(folder: &Path) -> String {
        let guard = file_lock::hold_briefly(&folder.join(".guard")).expect("held");
        of(folder, &guard).expect("readable").expect("writable")
    }

    #[test]
    fn a_folder_keeps_its_mark_and_a_copy_gets_its_own() {
        let original = tempfile::tempdir().expect("a folder");
        let first = id(original.path());
        assert_eq!(id(original.path()), first);
        let copy = tempfile::tempdir().expect("a folder");
        fs::copy(original.path().join(MARK), copy.path().join(MARK)).expect("copied");
        let second = id(copy.path());
        assert_ne!(second, first);
        assert_eq!((id(copy.path()), id(original.path())), (second, first));
    }

    #[test]
    fn a_moved_folder_keeps_its_mark() {
        let root = tempfile::tempdir().expect("a folder");
        let (here, there) = (root.path().join("a"), root.path().join("b"));
        fs::create_dir(&here).expect("a folder");
        let first = id(&here);
        fs::rename(&here, &there).expect("moved");
        assert_eq!(id(&there), first);
    }

    #[test]
    fn a_mark_that_says_nothing_is_replaced() {
        for content in ["", "{}", "\0\0"] {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join(MARK), content).expect("written");
            #[cfg(unix)]
            fs::set_permissions(
                folder.path().join(MARK),
                std::os::unix::fs::PermissionsExt::from_mode(0o600),
            )
            .expect("private");
            let first = id(folder.path());
            assert_eq!(id(folder.path()), first);
        }
    }
}
