//! Finds the plugin that the library bundles. It builds nothing: `cargo xtask build` does.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Where `cargo xtask build` puts the component, seen from this crate.
const BUILT: &str = "../dist/procore-auth.wasm";
/// What the component is made from, seen from this crate.
const SOURCES: [&str; 4] = [
    "../guest/src",
    "../guest/Cargo.toml",
    "../wit",
    "../Cargo.lock",
];

fn main() {
    println!("cargo::rerun-if-env-changed=PROCORE_AUTH_COMPONENT");
    let given = env::var_os("PROCORE_AUTH_COMPONENT").map(PathBuf::from);
    let wanted = given.clone().unwrap_or_else(|| PathBuf::from(BUILT));
    println!("cargo::rerun-if-changed={}", wanted.display());

    let Ok(component) = wanted.canonicalize() else {
        let from = if given.is_some() {
            " (PROCORE_AUTH_COMPONENT)"
        } else {
            ""
        };
        println!(
            "cargo::error=the plugin is not built: {}{from} is missing; run: cargo xtask build",
            wanted.display()
        );
        return;
    };
    println!(
        "cargo::rustc-env=PROCORE_AUTH_BUNDLED={}",
        component.display()
    );
    if given.is_none() {
        warn_where_stale(&component);
    }
}

fn warn_where_stale(component: &Path) {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    let built = modified(component);
    let newest = SOURCES
        .iter()
        .filter_map(|source| newest(Path::new(source)));
    if let (Some(built), Some(newest)) = (built, newest.max())
        && newest > built
    {
        println!(
            "cargo::warning=the bundled plugin is older than its sources; run: cargo xtask build"
        );
    }
}

fn newest(path: &Path) -> Option<SystemTime> {
    match fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(|entry| newest(&entry.ok()?.path()))
            .max(),
        Err(_) => modified(path),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|meta| meta.modified()).ok()
}
