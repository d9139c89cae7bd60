//! The component under test must be the one that its sources make.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use procore_auth_host::Plugin;
use sha2::{Digest as _, Sha256};

/// Returns the bundled plugin, loaded once for all tests of a process.
///
/// # Panics
///
/// Where the component was not built from the sources as they are now: a test that ran all the same would say nothing.
pub fn plugin() -> &'static Plugin {
    static PLUGIN: OnceLock<Plugin> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        assert_current();
        Plugin::bundled().expect("the bundled plugin loads")
    })
}

/// Compares the digests that `cargo xtask build` wrote down with the files.
///
/// # Panics
///
/// Where the component was not built from the sources as they are now.
pub fn assert_current() {
    let root = root();
    let record = fs::read_to_string(root.join("dist/procore-auth.wasm.inputs"))
        .expect("the component was never built; run: cargo xtask build");
    for line in record.lines() {
        let (digest, path) = line.split_once("  ").expect("sha256sum's format");
        let now = fs::read(root.join(path)).map(|bytes| hex(&Sha256::digest(bytes)));
        assert!(
            now.is_ok_and(|now| now == digest),
            "{path} has changed since the component was built; run: cargo xtask build"
        );
    }
}

/// Returns the component's file.
pub fn path() -> PathBuf {
    root().join("dist/procore-auth.wasm")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("workspace")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
