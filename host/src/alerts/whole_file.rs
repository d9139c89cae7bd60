//! Small files that no reader sees half written, for the agent's account only.
//!
//! A file is written under another name and renamed. What a process leaves that dies before has [`UNFINISHED_PREFIX`].

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::{StoreFailure, private_file};

/// What the names of unfinished files begin with.
pub(super) const UNFINISHED_PREFIX: &str = ".tmp-";

/// A longer file is none of ours: it is cut off here, and so taken for damaged.
const LONGEST: u64 = 1 << 20;

/// Reads a file; `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreFailure> {
    let Some(file) = private_file::open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| private_file::failure(&error, path))?;
    Ok(Some(bytes))
}

/// Writes a file that is there after a power cut too.
pub(super) fn write_durably(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = unfinished(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    private_file::sync_folder(folder)
}

/// Replaces a file that may be lost: after a power cut it may be the old one, empty or torn.
pub(crate) fn replace(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = unfinished(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Takes a file away from everybody else; `None` where there is none. It is deleted once it was read.
pub(super) fn take(folder: &Path, path: &Path) -> Result<Option<Vec<u8>>, StoreFailure> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |error: io::Error| private_file::failure(&error, path);
    let taken = unfinished(folder).map_err(failed)?.into_temp_path();
    match fs::rename(path, &taken) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        Ok(()) => read(&taken),
    }
}

/// Born with mode 600; removed where it is not given its name.
fn unfinished(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(UNFINISHED_PREFIX)
        .tempfile_in(folder)
}
