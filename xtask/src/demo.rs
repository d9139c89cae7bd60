//! `cargo xtask demo`.

use std::path::Path;
use std::process::Command;

use crate::compiler::Choice;
use crate::{guest, step};

/// Builds the plugin and the tool, then runs the tool's `demo`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    // The whole workspace is selected, though one binary is wanted: cargo unites the features of what is selected, and so the
    // dependencies built here are those that the tests need. With `--package` they would be built twice.
    let mut build = step::cargo(root);
    build.args(["build", "--workspace", "--bin", "procore-auth", "--locked"]);
    step::run("build", &mut build)?;

    let mut demo = Command::new(step::built("procore-auth")?);
    demo.current_dir(root).arg("demo").args(arguments);
    step::run("demo", &mut demo)
}
