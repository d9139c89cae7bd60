//! What a test run leaves for a search for secrets: `cargo xtask test` names the folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

const FOLDER: &str = "PROCORE_AUTH_TEST_RECORD";

/// The most bytes of a file that is kept: larger ones are bodies.
const LARGEST: u64 = 1 << 20;

/// Returns a path that nobody else uses; none where nothing is to be left.
fn place(kind: &str) -> Option<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = PathBuf::from(env::var_os(FOLDER)?).join(kind);
    fs::create_dir_all(&folder).ok()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Some(folder.join(format!("{}-{number}", process::id())))
}

/// Leaves what a process said.
pub fn output(text: &str) {
    if let Some(file) = place("outputs") {
        fs::write(file, text).expect("written");
    }
}

/// Leaves a copy of a folder's files: of what can be read, and is not large.
pub fn folder(from: &Path) {
    if let Some(to) = place("homes") {
        copy(from, &to);
    }
}

/// A test may have made files and folders that cannot be read, or that go meanwhile: those are left out.
fn copy(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    for entry in entries.flatten() {
        let to = to.join(entry.file_name());
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => copy(&entry.path(), &to),
            Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => {
                let folder = to.parent().expect("a folder");
                let _ = fs::create_dir_all(folder).and_then(|()| fs::copy(entry.path(), &to));
            }
            _ => {}
        }
    }
}
