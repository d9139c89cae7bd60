//! The Python environment in which the host in `examples/python` is tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::step;

/// What is installed, to the byte: every file has its digest.
const REQUIREMENTS: &str = "examples/python/requirements.lock";

/// Makes the virtual environment `target/python` with the packages that the example requires. Does nothing while those have not
/// changed.
///
/// Fails where there is no Python with `venv`, or where the packages cannot be had.
pub(crate) fn prepare(root: &Path) -> anyhow::Result<()> {
    let environment = root.join("target/python");
    let wanted = fs::read(root.join(REQUIREMENTS))?;
    let record = environment.join("requirements.lock");
    if fs::read(&record).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    create(&environment)?;
    let mut install = Command::new(interpreter(&environment));
    install.args(["-m", "pip", "install", "--quiet", "--require-hashes"]);
    install.args(["--disable-pip-version-check", "--no-input"]);
    install.args(["--requirement", REQUIREMENTS]);
    // Whoever reads standard output wants the tests' own.
    install.current_dir(root).stdout(std::io::stderr());
    step::run("python packages", &mut install)?;
    fs::write(&record, wanted).context("the record of what was installed")
}

/// Makes it anew: what was left by another Python, or half done, is replaced.
fn create(environment: &Path) -> anyhow::Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(environment);
    step::run("python environment", venv.stdout(std::io::stderr()))
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}
