//! Folders that nobody but their owner may enter.

use std::io;
use std::path::Path;

/// Creates the folder and those above it that are missing, with mode 700. One that exists is left as it is.
#[cfg(unix)]
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Creates the folder and those above it that are missing. One that exists is left as it is.
#[cfg(not(unix))]
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}
