//! `cargo xtask bench`.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::compiler::Choice;
use crate::{guest, python, step};

/// Where the table stands.
const PAGE: &str = "docs/performance.md";

/// As the tool is released.
const PROFILE: &str = "release";

/// Builds the plugin, the tool and the benchmarks; then measures, and writes the table into its page.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let baseline = &python::BENCH;
    baseline
        .prepare(root)
        .context("cannot prepare the Python baseline")?;
    // The whole workspace is selected for the same reason as for the demo.
    let mut build = step::cargo(root);
    build.args(["build", "--workspace", "--locked", "--profile", PROFILE]);
    build.args(["--bin", "procore-auth", "--bin", "bench"]);
    step::run("build", &mut build)?;

    let mut bench = Command::new(step::built_with(PROFILE, "bench")?);
    bench.args(["table", "--page", PAGE, "--program"]);
    bench.arg(step::built_with(PROFILE, "procore-auth")?);
    bench.arg("--python").arg(baseline.interpreter(root));
    step::run("bench", bench.current_dir(root).args(arguments))
}
