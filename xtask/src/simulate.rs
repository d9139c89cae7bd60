//! `cargo xtask simulate`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::compiler::Choice;
use crate::{guest, step};

/// Builds the plugin and the simulation, then runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    // The whole workspace is selected, as for the demo, so that nothing is built twice.
    let mut build = step::cargo(root);
    build.args(["build", "--workspace", "--bin", "simulate", "--locked"]);
    step::run("build", &mut build)?;

    let mut simulate = Command::new(program()?);
    simulate.current_dir(root).args(arguments);
    step::run("simulate", &mut simulate)
}

/// The program's path: cargo puts it beside this one, wherever its target folder is.
fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(this.with_file_name(format!("simulate{}", std::env::consts::EXE_SUFFIX)))
}
