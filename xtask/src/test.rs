//! `cargo xtask test`.

use std::path::Path;

use crate::compiler::Choice;
use crate::{guest, node, python, step};

/// Builds the plugin and prepares the example hosts, then runs every test of the workspace, doc tests included.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    for (host, prepared) in [
        ("Python", python::EXAMPLE.prepare(root)),
        ("Node", node::prepare(root)),
    ] {
        if let Err(reason) = prepared {
            // The tests that need it say so and skip.
            eprintln!("Without the host for {host}: {reason:#}");
        }
    }
    let mut command = step::cargo(root);
    command.args(["test", "--workspace", "--locked"]);
    step::run("test", command.args(arguments))
}
