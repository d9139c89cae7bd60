//! `cargo xtask test`.

use std::path::Path;

use crate::compiler::Choice;
use crate::{guest, node, step};

/// Builds the plugin and prepares the host for Node, then runs every test of the workspace, doc tests included.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    node::prepare(root);
    let mut command = step::cargo(root);
    command.args(["test", "--workspace", "--locked"]);
    step::run("test", command.args(arguments))
}
