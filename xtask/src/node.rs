//! The host for Node in `examples/node`: its packages, and its plugin.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{debian, inputs, step};

const FOLDER: &str = "examples/node";

/// Where there is no Node. Debian 12 has version 18, which is too old: the tests say so and skip.
const PACKAGES: [&str; 2] = ["nodejs", "npm"];

/// Exits with 0 where Node is as new as the host needs.
const NEW_ENOUGH: &str = "scripts/new-enough.js";

/// Beside the packages: the digest of the lockfile that they were installed by.
const STAMP: &str = "node_modules/.lockfile.sha256";

/// Installs Node itself where there is none and the system allows it.
pub(crate) fn install_runtime() -> anyhow::Result<()> {
    if succeeds(Command::new("node").arg("--version")) {
        return Ok(());
    }
    debian::install(&PACKAGES)
}

/// Installs the packages, unless they are there already, and builds the plugin, which takes a second.
///
/// Fails where there is no Node, or an old one, or where the packages cannot be had.
pub(crate) fn prepare(root: &Path) -> anyhow::Result<()> {
    let folder = root.join(FOLDER);
    if !succeeds(Command::new("node").arg(folder.join(NEW_ENOUGH))) {
        anyhow::bail!("there is no Node, or one that is too old for {FOLDER}/package.json");
    }
    install_packages(&folder)?;
    build_plugin(root, &folder)
}

fn install_packages(folder: &Path) -> anyhow::Result<()> {
    let wanted = inputs::digest(&fs::read(folder.join("package-lock.json"))?);
    let stamp = folder.join(STAMP);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.current_dir(folder).arg("ci");
    // Whoever reads standard output wants the tests' own.
    step::run("node packages", npm.stdout(std::io::stderr()))?;
    fs::write(stamp, wanted)?;
    Ok(())
}

fn build_plugin(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let component = root.join(inputs::COMPONENT);
    let mut node = Command::new("node");
    node.current_dir(folder).arg("scripts/build-plugin.js");
    step::run("node plugin", node.arg(component))
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
