//! `cargo xtask test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use crate::secret_scan::Record;
use crate::{guest, node, python, step, wasi};

/// Builds the plugin, alone and composed with WASI, and prepares the example hosts, then runs every test of the workspace, doc tests
/// included, and searches what they wrote for secrets.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    wasi::build(root)?;
    guest::build_panicking(root)?;
    for (host, prepared) in [
        ("Python", python::EXAMPLE.prepare(root)),
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
    let passed = step::run_noting("test", &mut command, &record.output());
    tell_what_was_skipped(&record.output())?;
    // Where a test failed, too: a secret that is told is the worse news.
    let silent = record.search();
    passed.and(silent)
}

/// Says at the end, where it is seen, which tests could not do their work on this machine, and for want of what.
fn tell_what_was_skipped(output: &Path) -> anyhow::Result<()> {
    let output = fs::read(output).with_context(|| output.display().to_string())?;
    let output = String::from_utf8_lossy(&output);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for line in output.lines() {
        if let Some(reason) = line.strip_prefix("skipped: ") {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    for (reason, count) in reasons {
        eprintln!("Skipped {count} times: {reason}");
    }
    Ok(())
}
