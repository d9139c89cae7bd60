//! `cargo xtask simulate`.

use std::path::Path;
use std::process::Command;

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

    let mut simulate = Command::new(step::built_with(PROFILE, "simulate")?);
    simulate.current_dir(root).args(arguments);
    step::run("simulate", &mut simulate)
}
