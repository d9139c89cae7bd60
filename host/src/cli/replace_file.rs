//! Replaces a file in one step: a reader sees the old text or the new one, and so does whoever comes after a crash.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::path::Path;

use procore_auth_host::internals;

/// Replaces what the path names, a link itself too. The file is for its owner alone unless other permissions are given.
pub(super) fn replace(path: &Path, text: &str, permissions: Option<Permissions>) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Born with mode 600.
    let mut file = tempfile::Builder::new()
        .prefix(".procore-auth-")
        .suffix(".tmp")
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    internals::sync_folder(folder)
}
