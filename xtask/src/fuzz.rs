//! `cargo xtask fuzz`: foreign bytes against everything that parses them.
//!
//! The targets and their seeds lie in `fuzz/`, a workspace of its own: they are built with other flags. cargo-fuzz and libFuzzer do
//! the work, on a stable compiler; a sanitizer would need another one, and what is fuzzed has no unsafe code of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, bail};
use cargo_metadata::MetadataCommand;

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
    let is_chosen = |it: &&Target| target.is_none_or(|name| it.name == name);
    let chosen: Vec<&Target> = known.iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = known.iter().map(|it| &*it.name).collect();
        bail!("there is no such target; there are: {}", names.join(", "));
    }
    tool.fuzz_each(root, &chosen, seconds)
}

/// For continuous integration, where cargo-fuzz is to be had: a short run of each target that does without the host, and a check that the
/// others still compile.
pub(crate) fn run_briefly(root: &Path, seconds: u64) -> anyhow::Result<()> {
    let tool = match CargoFuzz::find(root) {
        Ok(tool) => tool,
        Err(reason) => {
            eprintln!("skipped: fuzzing, for want of cargo-fuzz: {reason:#}");
            return Ok(());
        }
    };
    let known = targets(root)?;
    let (with_host, without_host): (Vec<_>, Vec<_>) = known.iter().partition(|it| it.needs_host);
    for target in with_host {
        step::run("check target", tool.command("check").arg(&target.name))?;
    }
    tool.fuzz_each(root, &without_host, seconds)
}

/// What bytes are thrown at.
#[derive(Debug)]
struct Target {
    name: String,
    /// Whether the host is built for it, with the runtime: that takes minutes.
    needs_host: bool,
}

impl Target {
    /// Leaves the host out where it is not needed.
    fn select(&self, command: &mut Command) {
        if !self.needs_host {
            command.arg("--no-default-features");
        }
    }
}

/// The targets that are declared, in order.
fn targets(root: &Path) -> anyhow::Result<Vec<Target>> {
    let manifest = root.join(FOLDER).join("Cargo.toml");
    let mut command = MetadataCommand::new();
    let metadata = command.manifest_path(manifest).no_deps().exec()?;
    let package = metadata.packages.into_iter().next();
    let declared = package.context("a package of targets")?.targets;
    let mut targets: Vec<_> = declared
        .into_iter()
        .filter(cargo_metadata::Target::is_bin)
        .map(|bin| Target {
            needs_host: !bin.required_features.is_empty(),
            name: bin.name,
        })
        .collect();
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
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
        // Without debug assertions: `idna_adapter` has one that a host with `%80` in it fails. The profile checks for overflows.
        command.arg("--release");
        // The cargo that runs this program stands for one toolchain; its flags are not for these targets.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(name);
        }
        command
    }

    fn fuzz_each(&self, root: &Path, targets: &[&Target], seconds: u64) -> anyhow::Result<()> {
        for target in targets {
            let mut build = self.command("build");
            target.select(&mut build);
            step::run("build target", build.arg(&target.name))?;
        }
        for target in targets {
            self.fuzz(root, target, seconds)?;
        }
        Ok(())
    }

    fn fuzz(&self, root: &Path, target: &Target, seconds: u64) -> anyhow::Result<()> {
        let name = &target.name;
        // What is found on the way goes to a folder of its own; the corpus holds what is worth keeping.
        let found = root.join(FOLDER).join("found").join(name);
        fs::create_dir_all(&found).with_context(|| format!("{}", found.display()))?;
        let mut run = self.command("run");
        target.select(&mut run);
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
        let targets = targets(root()).unwrap();
        let sources = fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap();
        assert_eq!(sources.count(), targets.len());
        for target in targets {
            let corpus = root().join("fuzz/corpus").join(&target.name);
            let seeds = fs::read_dir(corpus).unwrap().count();
            assert!(seeds >= 4, "{target:?}: {seeds} seeds");
        }
    }
}
