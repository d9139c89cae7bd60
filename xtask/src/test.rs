//! `cargo xtask test`.

use std::path::Path;

use crate::{node, python, step, wasi};

/// Builds the plugin, alone and composed with WASI, and prepares the example hosts, then runs every test of the workspace, doc tests included.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    wasi::build(root)?;
    for (host, prepared) in [
        ("Python", python::prepare(root)),
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
