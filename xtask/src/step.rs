//! One step: a command that is printed, timed, and named when it fails.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail};

/// Runs `command` in the foreground as the step `name`.
///
/// Says on standard error what it runs and how long it took; standard output stays the command's own. Fails with the step's
/// name unless the command succeeds.
pub(crate) fn run(name: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("==> {name}: {}", line(command));
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("step `{name}`: cannot run {}", line(command)))?;
    let seconds = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("step `{name}` failed after {seconds:.1} s ({status})");
    }
    eprintln!("<== {name}: {seconds:.1} s");
    Ok(())
}

/// Runs `command` as [`run`] does, with its standard output written to `note` as well as shown.
pub(crate) fn run_noting(name: &str, command: &mut Command, note: &Path) -> anyhow::Result<()> {
    let noted = File::create(note).with_context(|| note.display().to_string())?;
    let (output, input) = io::pipe().context("a pipe")?;
    command.stdout(input);
    let showing = thread::spawn(move || show(output, noted));
    let ran = run(name, command);
    // The other end of the pipe, without which there is no end to read.
    command.stdout(Stdio::null());
    match showing.join() {
        Ok(shown) => ran.and(shown.context("cannot note what the tests say")),
        Err(_) => bail!("cannot note what the tests say"),
    }
}

fn show(mut output: impl Read, mut noted: File) -> io::Result<()> {
    let mut bytes = [0; 8192];
    loop {
        let count = output.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        io::stdout().write_all(&bytes[..count])?;
        noted.write_all(&bytes[..count])?;
    }
}

/// The cargo that runs this program, in the workspace's root.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    // What cargo told this program about itself: build scripts that look at it would run anew after plain `cargo test`.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command
}

/// The path of one of the workspace's programs: cargo puts it beside this one, wherever its target folder is.
pub(crate) fn built(program: &str) -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(this.with_file_name(format!("{program}{}", std::env::consts::EXE_SUFFIX)))
}

/// The path of one of the workspace's programs that was built with another profile: cargo puts it into the profile's folder, beside
/// that of this program.
pub(crate) fn built_with(profile: &str, program: &str) -> anyhow::Result<PathBuf> {
    let beside = built(program)?;
    let (folder, name) = (beside.ancestors().nth(2), beside.file_name());
    let (folder, name) = folder.zip(name).context("no target folder")?;
    Ok(folder.join(profile).join(name))
}

/// The command as one would type it, with the program's bare name.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words = program.file_name().into_iter().chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
