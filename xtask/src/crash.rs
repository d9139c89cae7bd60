//! `cargo xtask crash`.

use std::path::Path;
use std::process::Command;

use crate::compiler::Choice;
use crate::{guest, step};

/// Builds the plugin and the crash test, then kills processes with it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    // The whole workspace is selected for the same reason as for the demo.
    let mut build = step::cargo(root);
    build.args(["build", "--workspace", "--locked"]);
    build.args(["--bin", "crash", "--bin", "crash-worker"]);
    step::run("build", &mut build)?;
    let mut crash = Command::new(step::built("crash")?);
    step::run("crash", crash.current_dir(root).args(arguments))
}
