//! `cargo xtask …`: what needs more than plain cargo.
//!
//! The plugin is built for another target, by whichever compiler can (see [`compiler`]), and encoded as a component (see
//! [`guest`]). The other verbs build it first and then run plain cargo. What a verb runs is printed, with the time it took.

// A command-line tool talks to a terminal.
#![allow(clippy::print_stderr)]

mod bench;
mod ci;
mod compiler;
mod crash;
mod debian;
mod demo;
mod deny;
mod fuzz;
mod guest;
mod idle;
mod inputs;
mod node;
mod python;
mod reproduce;
mod sbom;
mod screenshots;
mod secret_scan;
mod simulate;
mod step;
mod test;
mod wasi;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::compiler::Choice;

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "What needs more than plain cargo")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Builds the plugin: dist/procore-auth.wasm. Does nothing while its sources have not changed.
    Build {
        /// Builds nothing; the exit status is 0 if the component is there and up to date, and 1 if not.
        #[arg(long)]
        check: bool,
        /// Which compiler builds the plugin.
        #[arg(long, value_enum, default_value_t)]
        compiler: Choice,
    },
    /// Builds the plugin, then runs every test of the workspace.
    Test {
        /// For `cargo test`, such as a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugin and the tool, then runs `procore-auth demo`.
    Demo {
        /// For `procore-auth demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugin, then kills processes that share a store, and says what was lost.
    Crash {
        /// For the crash test: --kills N, --processes N, --seed S, --rotation strict|grace; --help lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugin and the tool, then measures what `procore-auth run` costs while nothing is due. Linux only.
    Idle {
        /// How many connections, one run each: `1 10 1000`; --help lists more.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugin, the tool as it is released and the benchmarks, then measures, and writes the table in docs/performance.md.
    Bench {
        /// For the benchmarks: --only ROW, --rounds N; --help lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugin and the simulation, then runs many connections under faults in virtual time: `--seeds 350 --days 30`.
    Simulate {
        /// For the simulation; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds dist/procore-auth.wasi.wasm, the plugin for runtimes that lend nothing but WASI 0.2, and tests it in wasmtime.
    Wasi {
        /// Builds it, and tests nothing.
        #[arg(long)]
        build: bool,
        /// For `cargo test`, such as a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugin twice, in two folders, and compares: the same sources must give the same bytes.
    Reproduce {
        /// Which compiler builds the plugin.
        #[arg(long, value_enum, default_value_t)]
        compiler: Choice,
    },
    /// Builds the plugin, then lists what is in it and in the tool, as a CycloneDX document.
    Sbom {
        /// The target that the tool is built for [default: this machine's].
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
        /// Where the document goes.
        #[arg(long, value_name = "FILE", default_value = sbom::FILE)]
        output: PathBuf,
    },
    /// Builds the plugin, then makes the pictures in docs/screenshots anew, with a real browser and a real Doorkeeper.
    Screenshots,
    /// Builds the targets in fuzz/, then throws bytes at them: at one, or at each in turn.
    Fuzz {
        /// The target: a file in fuzz/fuzz_targets.
        target: Option<String>,
        /// How long each is run.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Runs what continuous integration runs: formatting, rules for dependencies, lints, documentation, the plugin's reproduction, all tests and a little fuzzing.
    Ci,
}

fn main() -> ExitCode {
    match run(&workspace_root(), Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &Path, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Build { check: true, .. } => return guest::check(root),
        Verb::Build { compiler, .. } => guest::build(root, compiler)?,
        Verb::Test { arguments } => test::run(root, &arguments)?,
        Verb::Demo { arguments } => demo::run(root, &arguments)?,
        Verb::Crash { arguments } => crash::run(root, &arguments)?,
        Verb::Idle { arguments } => idle::run(root, &arguments)?,
        Verb::Bench { arguments } => bench::run(root, &arguments)?,
        Verb::Simulate { arguments } => simulate::run(root, &arguments)?,
        Verb::Wasi { build: true, .. } => wasi::build(root)?,
        Verb::Wasi { arguments, .. } => wasi::test(root, &arguments)?,
        Verb::Reproduce { compiler } => reproduce::run(root, compiler)?,
        Verb::Sbom { target, output } => sbom::run(root, target, &output)?,
        Verb::Screenshots => screenshots::run(root)?,
        Verb::Fuzz { target, seconds } => fuzz::run(root, target.as_deref(), seconds)?,
        Verb::Ci => ci::run(root)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
