//! `cargo xtask test`.

use std::path::Path;

use crate::compiler::Choice;
use crate::secret_scan::Record;
use crate::{guest, node, python, step};

/// Builds the plugin and prepares the example hosts, then runs every test of the workspace, doc tests included,
/// and searches what they wrote for secrets.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    guest::build_panicking(root)?;
    for (host, prepared) in [
        ("Python", python::prepare(root)),
        ("Node", node::prepare(root)),
    ] {
        if let Err(reason) = prepared {
            // The tests that need it say so and skip.
            eprintln!("Without the host for {host}: {reason:#}");
        }
    }
    let record = Record::begin(root)?;
    let mut command = step::cargo(root);
    command.args(["test", "--workspace", "--locked"]);
    command.args(arguments).envs(record.variables());
    if !arguments.iter().any(|argument| argument == "--") {
        // What a test that passes has said is seen by nobody otherwise.
        command.args(["--", "--show-output"]);
    }
    step::run_noting("test", &mut command, &record.output())?;
    record.search()
}
