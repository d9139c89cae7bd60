//! `cargo xtask screenshots`.

use std::fs;
use std::path::Path;

use crate::compiler::Choice;
use crate::{guest, step};

/// Builds the plugin, then runs the tests in a browser, which keep pictures of what they see in `docs/screenshots`.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let folder = root.join("docs/screenshots");
    fs::create_dir_all(&folder)?;
    let mut command = step::cargo(root);
    command.args(["test", "--package", "procore-auth-host", "--locked"]);
    // Where something is missing, the tests say what.
    command.args(["--test", "tool", "browser::", "--", "--nocapture"]);
    step::run(
        "screenshots",
        command.env("PROCORE_AUTH_SCREENSHOTS", folder),
    )
}
