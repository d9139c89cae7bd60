//! The rules for dependencies, in `deny.toml`, checked by cargo-deny.

use std::path::Path;
use std::process::Stdio;

use crate::step;

/// Checks licenses, duplicates and sources where cargo-deny is installed; says so where it is not.
///
/// Known vulnerabilities are not looked for here: their database is on the network, and a verdict on one commit must not change
/// from day to day.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut version = step::cargo(root);
    version.args(["deny", "--version"]);
    let version = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: dependencies, for want of cargo-deny (cargo install --locked cargo-deny)"
        );
        return Ok(());
    }
    let mut deny = step::cargo(root);
    deny.args(["deny", "--locked", "--workspace", "check"]);
    step::run("dependencies", deny.args(["licenses", "bans", "sources"]))
}
