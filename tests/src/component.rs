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
    assert_built_from_sources("dist/procore-auth.wasm", "build");
}

/// Loads the component of the same sources that panics on demand: where `finish_login` is given `panic:MESSAGE?SECRET`.
///
/// # Panics
///
/// Where the component was not built from the sources as they are now.
pub fn panicking_plugin() -> Plugin {
    const COMPONENT: &str = "target/guest/panicking.wasm";
    assert_built_from_sources(COMPONENT, "test");
    Plugin::from_file(root().join(COMPONENT)).expect("the component loads")
}

fn root() -> &'static Path {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("workspace")
}

fn assert_built_from_sources(component: &str, verb: &str) {
    let record = fs::read_to_string(root().join(format!("{component}.inputs")))
        .unwrap_or_else(|_| panic!("{component} was never built; run: cargo xtask {verb}"));
    for line in record.lines() {
        let (digest, path) = line.split_once("  ").expect("sha256sum's format");
        let now = fs::read(root().join(path)).map(|bytes| hex(&Sha256::digest(bytes)));
        assert!(
            now.is_ok_and(|now| now == digest),
            "{path} has changed since {component} was built; run: cargo xtask {verb}"
        );
    }
}

/// Returns the component's file.
pub fn path() -> PathBuf {
    root().join("dist/procore-auth.wasm")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
