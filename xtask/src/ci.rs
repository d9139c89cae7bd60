//! `cargo xtask ci`.

use std::path::Path;

use crate::compiler::{self, Choice};
use crate::{debian, guest, step, test, wasi};

/// A real OAuth server, for the tests against others' software.
const DOORKEEPER: [&str; 4] = ["ruby-doorkeeper", "ruby-rails", "ruby-sqlite3", "puma"];

/// A real keyring on a session bus.
const KEYRING: [&str; 2] = ["dbus-daemon", "gnome-keyring"];

/// A real browser, and what drives it.
const CHROMIUM: [&str; 2] = ["chromium", "chromium-driver"];

/// Runs what continuous integration runs, the quickest verdict first.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut format = step::cargo(root);
    step::run("format", format.args(["fmt", "--all", "--check"]))?;
    // Tests that lack the packages say so and skip; their absence is no failure.
    for packages in [&DOORKEEPER[..], &KEYRING, &CHROMIUM] {
        if let Err(reason) = debian::install(packages) {
            eprintln!("Without {}: {reason:#}", packages.join(", "));
        }
    }
    guest::build(root, Choice::Auto)?;
    lint(root)?;
    document(root)?;
    test::run(root, &[])
}

fn lint(root: &Path) -> anyhow::Result<()> {
    let mut clippy = step::cargo(root);
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked"]);
    step::run("lint", clippy.args(["--", "--deny", "warnings"]))?;
    // The files that touch the bindings exist on wasm only. Clippy belongs to the active toolchain, and can see those files where
    // that toolchain has the target.
    if !compiler::target_installed() {
        return Ok(());
    }
    let mut clippy = step::cargo(root);
    clippy.args(["clippy", "--lib", "--locked"]);
    for package in [guest::PACKAGE, wasi::ADAPTER, wasi::COMMAND] {
        clippy.args(["--package", package]);
    }
    // The bindings' generator is there already from the plugin's build.
    clippy.args(["--profile", "plugin", "--target", compiler::TARGET]);
    clippy.args(["--target-dir", guest::TARGET_FOLDER]);
    step::run("lint plugin", clippy.args(["--", "--deny", "warnings"]))
}

fn document(root: &Path) -> anyhow::Result<()> {
    let mut doc = step::cargo(root);
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]);
    step::run("document", doc.env("RUSTDOCFLAGS", "--deny warnings"))
}
