//! Files and folders that are for the agent's account only.
//!
//! On Unix: folders are 0700 and files 0600 from their creation; what is a symbolic link, belongs to another account, or lets
//! group or others in is refused with the code `insecure-permissions`, and is checked on the open file, not on its path.
//!
//! Elsewhere the checks are weaker: symbolic links are refused by a look before the opening, and access is what the folder
//! inherits. On Windows a folder in the user's profile is closed to other users.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    path::Path,
};

use crate::StoreFailure;

/// Creates a folder and its missing parents. One that exists is left as it is.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(path)
        .and_then(|()| path.parent().map_or(Ok(()), sync_folder))
}

/// Checks that a folder is for this account only.
pub(crate) fn check_folder(path: &Path) -> Result<(), StoreFailure> {
    let metadata = fs::symlink_metadata(path).map_err(|error| failure(&error, path))?;
    if !metadata.is_dir() {
        return Err(insecure(path, "is not a folder"));
    }
    check_access(&metadata, path)
}

/// Opens a file for reading; `None` where there is none.
pub(crate) fn open(path: &Path) -> Result<Option<File>, StoreFailure> {
    match open_checked(OpenOptions::new().read(true), path) {
        Err(Refused::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => Ok(Some(opened.map_err(|refused| refused.at(path))?)),
    }
}

/// Opens a file that is there to be locked, and creates it where it is missing.
pub(crate) fn open_lock_file(path: &Path) -> Result<File, StoreFailure> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    match open_checked(&mut options, path) {
        // Entries can be read from a read-only file system, and reading takes a lock at times.
        Err(Refused::Io(error)) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            open_checked(OpenOptions::new().read(true), path)
                // Where it is missing, the cause is not that it is missing.
                .map_err(|_| failure(&error, path))
        }
        opened => opened.map_err(|refused| refused.at(path)),
    }
}

/// Opens a file for appending, and creates it where it is missing. Whom an existing file lets read is its owner's choice.
pub(crate) fn open_for_appending(path: &Path) -> io::Result<File> {
    let file = open_itself(OpenOptions::new().append(true).create(true), path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "not a file"))
    }
}

/// Creates a file for writing. Fails where there is one.
pub fn create_new(path: &Path) -> io::Result<File> {
    open_itself(OpenOptions::new().write(true).create_new(true), path)
}

/// Tells whether the mode lets group or others in.
#[cfg(unix)]
pub fn lets_others_in(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

/// Tells whether the mode lets everybody write what is a regular file.
#[cfg(unix)]
pub fn lets_all_write(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.is_file() && metadata.permissions().mode() & 0o002 != 0
}

/// Says no: there are no modes here.
#[cfg(not(unix))]
pub fn lets_all_write(_: &fs::Metadata) -> bool {
    false
}

/// Says no: there are no modes here.
#[cfg(not(unix))]
pub fn lets_others_in(_: &fs::Metadata) -> bool {
    false
}

/// Makes the names in a folder durable.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    // The parent of a one-part relative path.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    match File::open(path)?.sync_all() {
        // Some network and FUSE file systems know no such thing, and order renames themselves.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// Does nothing: names cannot be made durable here other than by closing the files.
#[cfg(not(unix))]
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Tells whether two files are one: two names of it, or a name and an open file.
#[cfg(unix)]
pub(crate) fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Says yes: a file that is open cannot be replaced under its name here.
#[cfg(not(unix))]
pub(crate) fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

/// Names the code of an I/O error, and the place.
pub(crate) fn failure(error: &io::Error, path: &Path) -> StoreFailure {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "full",
        ErrorKind::ReadOnlyFilesystem => "read-only",
        ErrorKind::PermissionDenied => "permission-denied",
        _ => "io",
    };
    StoreFailure::new(code, format!("{}: {error}", path.display()))
}

enum Refused {
    Io(io::Error),
    Insecure(StoreFailure),
}

impl Refused {
    fn at(self, path: &Path) -> StoreFailure {
        match self {
            Self::Io(error) => failure(&error, path),
            Self::Insecure(failure) => failure,
        }
    }
}

fn open_checked(options: &mut OpenOptions, path: &Path) -> Result<File, Refused> {
    let file = open_itself(options, path).map_err(|error| {
        if is_symlink_error(&error) {
            Refused::Insecure(insecure(path, "is a symbolic link"))
        } else {
            Refused::Io(error)
        }
    })?;
    let metadata = file.metadata().map_err(Refused::Io)?;
    if !metadata.is_file() {
        return Err(Refused::Insecure(insecure(path, "is not a file")));
    }
    check_access(&metadata, path).map_err(Refused::Insecure)?;
    Ok(file)
}

/// Opens what the path names, never what a link there points to. `NONBLOCK`: opening a pipe must not wait for its other end.
#[cfg(unix)]
fn open_itself(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

#[cfg(not(unix))]
fn open_itself(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(io::Error::other(SYMLINK)),
        _ => options.open(path),
    }
}

#[cfg(unix)]
fn is_symlink_error(error: &io::Error) -> bool {
    use rustix::io::Errno;
    // FreeBSD says `MLINK`.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::LOOP | Errno::MLINK)
    )
}

#[cfg(not(unix))]
const SYMLINK: &str = "is a symbolic link";

#[cfg(not(unix))]
fn is_symlink_error(error: &io::Error) -> bool {
    error.to_string() == SYMLINK
}

#[cfg(unix)]
fn check_access(metadata: &fs::Metadata, path: &Path) -> Result<(), StoreFailure> {
    use std::os::unix::fs::MetadataExt;
    let (owner, us) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != us {
        let what = format!("belongs to the account with id {owner}, not to this one ({us})");
        return Err(insecure(path, &what));
    }
    if lets_others_in(metadata) {
        let mode = metadata.mode() & 0o777;
        let wanted = if metadata.is_dir() { "700" } else { "600" };
        let what = format!("lets others in (mode {mode:03o}); run: chmod {wanted} {path:?}");
        return Err(insecure(path, &what));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_access(_: &fs::Metadata, _: &Path) -> Result<(), StoreFailure> {
    Ok(())
}

fn insecure(path: &Path, what: &str) -> StoreFailure {
    StoreFailure::new("insecure-permissions", format!("{} {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::failure;

    #[cfg(unix)]
    #[test]
    fn names_what_went_wrong() {
        use rustix::io::Errno;
        for (errno, code) in [
            (Errno::NOSPC, "full"),
            (Errno::DQUOT, "full"),
            (Errno::ROFS, "read-only"),
            (Errno::ACCESS, "permission-denied"),
            (Errno::PERM, "permission-denied"),
            (Errno::IO, "io"),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            let failure = failure(&error, Path::new("/store/acme/tokens"));
            assert_eq!(failure.code, code);
            assert!(failure.message.starts_with("/store/acme/tokens: "));
        }
    }
}
