//! `cargo xtask simulate`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::compiler::Choice;
use crate::{guest, step};

/// Optimised: a first build takes some ten minutes, and a simulated day a third of the time.
const PROFILE: &str = "simulation";

/// Builds the plugin and the simulation, then runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let mut build = step::cargo(root);
    build.args([
        "build",
        "--package",
        "procore-auth-tests",
        "--bin",
        "simulate",
    ]);
    build.args(["--profile", PROFILE, "--locked"]);
    step::run("build", &mut build)?;

    let mut simulate = Command::new(program()?);
    simulate.current_dir(root).args(arguments);
    step::run("simulate", &mut simulate)
}

/// The program's path: cargo puts it into the profile's folder, beside that of this program, wherever its target folder is.
fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let folder = this.ancestors().nth(2).context("no target folder")?;
    let name = format!("simulate{}", std::env::consts::EXE_SUFFIX);
    Ok(folder.join(PROFILE).join(name))
}
