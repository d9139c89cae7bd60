//! Finds the plugin that the library bundles. It builds nothing: `cargo xtask build` does, and the tests
//! refuse a component that is older than its sources.

use std::{env, path::PathBuf};

/// Where `cargo xtask build` puts the component, seen from this crate.
const BUILT: &str = "../dist/procore-auth.wasm";

fn main() {
    println!("cargo::rerun-if-env-changed=PROCORE_AUTH_COMPONENT");
    let given = env::var_os("PROCORE_AUTH_COMPONENT").map(PathBuf::from);
    let wanted = given.clone().unwrap_or_else(|| BUILT.into());
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
}
