//! `cargo xtask test`.

use std::path::Path;

use crate::compiler::Choice;
use crate::{guest, python, step};

/// Builds the plugin, then runs every test of the workspace, doc tests included.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    if let Err(reason) = python::prepare(root) {
        // The tests that need it say so and skip.
        eprintln!("Without Python: {reason:#}");
    }
    let mut command = step::cargo(root);
    command.args(["test", "--workspace", "--locked"]);
    step::run("test", command.args(arguments))
}
