//! A compiler that can build for wasm.
//!
//! In this order:
//!
//! 1. the active toolchain, where it has the target's standard library;
//! 2. the same after `rustup target add`;
//! 3. Debian's `rustc-web`, which brings the standard library as source, built along with the plugin. The linker is the active
//!    toolchain's, or Debian's.
//!
//! The plugin needs no feature of a newer compiler: Debian's serves where a rustup target cannot be downloaded.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::debian;

/// The target without a system: its standard library imports nothing.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const DEBIAN_LINKER: &str = "wasm-ld-22";
const DEBIAN_LINKER_PACKAGE: &str = "lld-22";

/// Which compiler builds the plugin.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Choice {
    /// The first that works.
    #[default]
    Auto,
    /// The active toolchain.
    Active,
    /// Debian's rustc-web.
    Debian,
}

/// A compiler that can build for [`TARGET`].
#[derive(Debug)]
pub(crate) enum Compiler {
    /// The active toolchain, with the target's standard library.
    Active,
    /// Debian's, with the standard library built from source.
    Debian {
        /// `rust-lld` or `wasm-ld`.
        linker: PathBuf,
    },
}

impl Compiler {
    /// Finds a compiler, or gets one where it may. The error names what was tried, and what to do.
    pub(crate) fn find(choice: Choice) -> anyhow::Result<Self> {
        match choice {
            Choice::Active => active(),
            Choice::Debian => debian(),
            Choice::Auto => active().or_else(|active_error| {
                debian().map_err(|debian_error| {
                    anyhow::anyhow!(
                        "no compiler here can build the plugin.\n\
                         - The active toolchain: {active_error:#}.\n\
                         - Debian's compiler: {debian_error:#}.\n\
                         Do one of these, then run the command again:\n\
                         - rustup target add {TARGET}\n\
                         - apt-get install --no-install-recommends {}",
                        DEBIAN_PACKAGES.join(" ")
                    )
                })
            }),
        }
    }

    /// `cargo rustc` for the target, in an environment without the traces of the cargo that runs this program.
    pub(crate) fn cargo_rustc(&self) -> Command {
        let mut command = match self {
            Self::Active => Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())),
            Self::Debian { .. } => Command::new(DEBIAN_CARGO),
        };
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| self.forgets(name)) {
                command.env_remove(name);
            }
        }
        command.args(["rustc", "--target", TARGET]);
        if let Self::Debian { linker } = self {
            command.arg("-Zbuild-std=std,panic_abort");
            command.arg("-Zbuild-std-features=optimize_for_size");
            // The option is unstable, and so is much that the standard library's source uses.
            command.env("RUSTC_BOOTSTRAP", "1");
            command.env("RUSTC", DEBIAN_RUSTC);
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }

    /// Whether the variable `name` must not reach the build: it would change the bytes, or bring in another toolchain.
    fn forgets(&self, name: &str) -> bool {
        let changes_bytes = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"].contains(&name)
            || ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "RUSTC"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
        let other_toolchain = ["CARGO", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"].contains(&name);
        changes_bytes || (other_toolchain && matches!(self, Self::Debian { .. }))
    }

    /// The folders of the standard library's source, each with the name under which it stands in published toolchains.
    pub(crate) fn library_names(&self) -> Vec<(PathBuf, String)> {
        let (rustc, folder) = match self {
            Self::Active => (
                "rustc",
                sysroot().map(|root| root.join("lib/rustlib/src/rust")).ok(),
            ),
            Self::Debian { .. } => (DEBIAN_RUSTC, Some(PathBuf::from(DEBIAN_LIBRARY))),
        };
        let commit = commit(rustc).unwrap_or_else(|| "unknown".to_owned());
        let Some(folder) = folder else {
            return Vec::new();
        };
        let linked = folder.canonicalize().ok();
        [Some(folder), linked]
            .into_iter()
            .flatten()
            .map(|folder| (folder, format!("/rustc/{commit}")))
            .collect()
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => formatter.write_str("the active toolchain"),
            Self::Debian { .. } => formatter.write_str(
                "Debian's rustc-web, and the standard library from its source (the first time takes a minute or two)",
            ),
        }
    }
}

/// Whether the active toolchain has the target's standard library.
pub(crate) fn target_installed() -> bool {
    sysroot().is_ok_and(|root| root.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

fn active() -> anyhow::Result<Compiler> {
    if !target_installed() {
        add_target()?;
    }
    if !target_installed() {
        bail!("rustup added the target {TARGET} to another toolchain");
    }
    Ok(Compiler::Active)
}

fn add_target() -> anyhow::Result<()> {
    eprintln!("Running rustup target add {TARGET}");
    let output = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .output()
        .context("it lacks the wasm target, and there is no rustup to add it")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.lines().find(|line| line.starts_with("error:"));
    bail!(
        "`rustup target add` failed: {}",
        reason.unwrap_or("it does not say why")
    )
}

fn debian() -> anyhow::Result<Compiler> {
    debian::install(&DEBIAN_PACKAGES)?;
    if let Some(linker) = toolchain_linker().or_else(|| in_path(DEBIAN_LINKER)) {
        return Ok(Compiler::Debian { linker });
    }
    debian::install(&[DEBIAN_LINKER_PACKAGE])?;
    let linker = in_path(DEBIAN_LINKER).context("no linker for wasm")?;
    Ok(Compiler::Debian { linker })
}

/// The linker in the active toolchain, if that is rustup's. The `wasm-ld` beside it is a wrapper that adds what the compiler
/// adds too.
fn toolchain_linker() -> Option<PathBuf> {
    let host = host()?;
    let linker = sysroot()
        .ok()?
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    linker.is_file().then_some(linker)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn sysroot() -> anyhow::Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc")?;
    let path = String::from_utf8(output.stdout).context("rustc's folder is not UTF-8")?;
    Ok(Path::new(path.trim_end()).to_owned())
}

fn commit(rustc: &str) -> Option<String> {
    version_field(rustc, "commit-hash")
}

/// The target of this machine's own programs.
pub(crate) fn host() -> Option<String> {
    version_field("rustc", "host")
}

/// A field of `rustc --version --verbose`.
fn version_field(rustc: &str, field: &str) -> Option<String> {
    let output = Command::new(rustc)
        .args(["--version", "--verbose"])
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value.to_owned())
}
