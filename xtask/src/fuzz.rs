//! `cargo xtask fuzz`: foreign bytes against everything that parses them.
//!
//! The targets and their seeds lie in `fuzz/`, a workspace of its own: they are built with other flags. cargo-fuzz and libFuzzer do
//! the work, on a stable compiler; a sanitizer would need another one, and what is fuzzed has no unsafe code of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, bail};

use crate::compiler::Choice;
use crate::{guest, step};

/// The folder of the targets, as the workspace's root sees it.
const FOLDER: &str = "fuzz";
/// The version that is installed where there is none.
const VERSION: &str = "0.13.2";
/// Where to, as the workspace's root sees it.
const TOOLS: &str = "target/tools";
/// No input is longer: what is parsed is read whole, and a longer one only takes longer.
const LONGEST: &str = "-max_len=8192";

/// Runs one target for so many seconds, or each of them, one after the other. Fails with the input that a target fails on.
pub(crate) fn run(root: &Path, target: Option<&str>, seconds: u64) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let tool = CargoFuzz::find(root)?;
    let known = targets(root)?;
    let chosen: Vec<&str> = match target {
        None => known.iter().map(String::as_str).collect(),
        Some(name) if known.iter().any(|it| it == name) => vec![name],
        Some(name) => bail!("there is no target {name}; there are: {}", known.join(", ")),
    };
    let mut build = tool.command("build");
    build.args(target);
    step::run("build targets", &mut build)?;
    for name in chosen {
        tool.fuzz(root, name, seconds)?;
    }
    Ok(())
}

/// For continuous integration: a short run of each, where cargo-fuzz is to be had.
pub(crate) fn run_briefly(root: &Path, seconds: u64) -> anyhow::Result<()> {
    if let Err(reason) = CargoFuzz::find(root) {
        eprintln!("skipped: fuzzing, for want of cargo-fuzz: {reason:#}");
        return Ok(());
    }
    run(root, None, seconds)
}

/// The names of the targets, in order.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join(FOLDER).join("fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let mut names = Vec::new();
    for file in files {
        let path = file?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

/// cargo-fuzz, where it is.
struct CargoFuzz {
    program: PathBuf,
    folder: PathBuf,
}

impl CargoFuzz {
    /// Finds it, or installs it into the target folder.
    fn find(root: &Path) -> anyhow::Result<Self> {
        let own = root.join(TOOLS).join("bin").join("cargo-fuzz");
        let here = |program: PathBuf| Self {
            program,
            folder: root.join(FOLDER),
        };
        for program in [own.clone(), "cargo-fuzz".into()] {
            let tool = here(program);
            let mut version = Command::new(&tool.program);
            version.args(["fuzz", "--version"]);
            let version = version.stdout(Stdio::null()).stderr(Stdio::null()).status();
            if version.is_ok_and(|status| status.success()) {
                return Ok(tool);
            }
        }
        let mut install = step::cargo(root);
        install.args(["install", "cargo-fuzz", "--locked", "--version", VERSION]);
        install.arg("--root").arg(root.join(TOOLS));
        step::run("cargo-fuzz", &mut install)?;
        Ok(here(own))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder);
        command.args(["fuzz", verb, "--fuzz-dir", ".", "--sanitizer", "none"]);
        // The cargo that runs this program stands for one toolchain; its flags are not for these targets.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(name);
        }
        command
    }

    fn fuzz(&self, root: &Path, name: &str, seconds: u64) -> anyhow::Result<()> {
        // What is found on the way goes to a folder of its own; the corpus holds what is worth keeping.
        let found = root.join(FOLDER).join("found").join(name);
        fs::create_dir_all(&found).with_context(|| format!("{}", found.display()))?;
        let mut run = self.command("run");
        run.arg(name).arg(format!("found/{name}"));
        run.arg(format!("corpus/{name}"));
        run.args(["--", LONGEST, "-print_final_stats=1"]);
        run.arg(format!("-max_total_time={seconds}"));
        if env::var_os("RUST_BACKTRACE").is_none() {
            run.env("RUST_BACKTRACE", "0");
        }
        step::run(name, &mut run)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn every_target_is_declared_and_has_seeds() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        let mut declared: Vec<&str> = manifest["bin"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bin| bin["name"].as_str().unwrap())
            .collect();
        declared.sort_unstable();
        let targets = targets(root()).unwrap();
        assert_eq!(declared, targets);
        for target in targets {
            let corpus = root().join("fuzz/corpus").join(&target);
            let seeds = fs::read_dir(corpus).unwrap().count();
            assert!(seeds >= 4, "{target}: {seeds} seeds");
        }
    }
}
