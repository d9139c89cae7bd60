//! The Python environments: one in which the host in `examples/python` is tested, and one for the benchmarks' baseline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::step;

/// What the host in `examples/python` is tested in.
pub(crate) const EXAMPLE: Environment = Environment {
    folder: "target/python",
    requirements: "examples/python/requirements.lock",
};

/// What the benchmarks compare `procore-auth token` with.
pub(crate) const BENCH: Environment = Environment {
    folder: "target/python-bench",
    requirements: "bench/python/requirements.lock",
};

/// A virtual environment.
pub(crate) struct Environment {
    folder: &'static str,
    /// What is installed, to the byte: every file has its digest.
    requirements: &'static str,
}

impl Environment {
    /// Makes the environment with the packages that are required. Does nothing while those have not changed.
    ///
    /// Fails where there is no Python with `venv`, or where the packages cannot be had.
    pub(crate) fn prepare(&self, root: &Path) -> anyhow::Result<()> {
        let environment = root.join(self.folder);
        let wanted = fs::read(root.join(self.requirements))?;
        let record = environment.join("requirements.lock");
        if fs::read(&record).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        create(&environment)?;
        let mut install = Command::new(self.interpreter(root));
        install.args(["-m", "pip", "install", "--quiet", "--require-hashes"]);
        install.args(["--disable-pip-version-check", "--no-input"]);
        install.args(["--requirement", self.requirements]);
        // Whoever reads standard output wants the tests' own.
        install.current_dir(root).stdout(std::io::stderr());
        step::run("python packages", &mut install)?;
        fs::write(&record, wanted).context("the record of what was installed")
    }

    /// Returns the path of its interpreter.
    pub(crate) fn interpreter(&self, root: &Path) -> PathBuf {
        root.join(self.folder).join("bin/python")
    }
}

/// Makes it anew: what was left by another Python, or half done, is replaced.
fn create(environment: &Path) -> anyhow::Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(environment);
    step::run("python environment", venv.stdout(std::io::stderr()))
}
