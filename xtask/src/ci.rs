//! `cargo xtask ci`.

use std::path::Path;

use crate::compiler::{self, Choice};
use crate::{debian, deny, fuzz, guest, node, reproduce, step, test, wasi};

/// A real OAuth server, for the tests against others' software.
const DOORKEEPER: [&str; 4] = ["ruby-doorkeeper", "ruby-rails", "ruby-sqlite3", "puma"];

/// A real keyring on a session bus.
const KEYRING: [&str; 2] = ["dbus-daemon", "gnome-keyring"];

/// The language of an example host; `python3-venv` is where its environment comes from.
const PYTHON: [&str; 2] = ["python3", "python3-venv"];

/// A real browser, and what drives it.
const CHROMIUM: [&str; 2] = ["chromium", "chromium-driver"];

/// The project's workspaces: what is built with other flags has one of its own.
const WORKSPACES: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

/// How long each target is fuzzed: enough for the seeds, and for what a change broke in plain sight.
const FUZZ_SECONDS: u64 = 5;

/// Runs what continuous integration runs, the quickest verdict first.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    format(root)?;
    deny::run(root)?;
    // Tests that lack the packages say so and skip; their absence is no failure.
    for packages in [&DOORKEEPER[..], &KEYRING, &CHROMIUM, &PYTHON] {
        if let Err(reason) = debian::install(packages) {
            eprintln!("Without {}: {reason:#}", packages.join(", "));
        }
    }
    if let Err(reason) = node::install_runtime() {
        eprintln!("Without Node: {reason:#}");
    }
    guest::build(root, Choice::Auto)?;
    lint(root)?;
    lint_library(root)?;
    document(root)?;
    reproduce::run(root, Choice::Auto)?;
    test::run(root, &[])?;
    fuzz::run_briefly(root, FUZZ_SECONDS)
}

fn format(root: &Path) -> anyhow::Result<()> {
    for workspace in WORKSPACES {
        let mut format = step::cargo(root);
        format.args(["fmt", "--all", "--check", "--manifest-path", workspace]);
        step::run("format", &mut format)?;
    }
    Ok(())
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

/// The library as embedders have it: in a build of the workspace, others ask for the binary's features.
fn lint_library(root: &Path) -> anyhow::Result<()> {
    let mut clippy = step::cargo(root);
    clippy.args(["clippy", "--package", "procore-auth-host", "--lib"]);
    clippy.args(["--no-default-features", "--locked"]);
    step::run("lint library", clippy.args(["--", "--deny", "warnings"]))
}

fn document(root: &Path) -> anyhow::Result<()> {
    let mut doc = step::cargo(root);
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]);
    step::run("document", doc.env("RUSTDOCFLAGS", "--deny warnings"))
}
