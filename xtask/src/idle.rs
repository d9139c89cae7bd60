//! `cargo xtask idle`.

use std::path::Path;
use std::process::Command;

use crate::compiler::Choice;
use crate::{guest, step};

/// Builds the plugin and the tool, then measures what its keeper costs while it waits.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    // The whole workspace is selected for the same reason as for the demo.
    let mut build = step::cargo(root);
    build.args(["build", "--workspace", "--locked"]);
    build.args(["--bin", "procore-auth", "--bin", "idle"]);
    step::run("build", &mut build)?;
    let mut idle = Command::new(step::built("idle")?);
    idle.arg("--program").arg(step::built("procore-auth")?);
    step::run("idle", idle.current_dir(root).args(arguments))
}
