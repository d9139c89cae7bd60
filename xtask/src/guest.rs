//! The plugin: built as a wasm module, encoded as a component.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use wasm_encoder::RawSection;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use crate::compiler::{Choice, Compiler, TARGET};
use crate::inputs::{self, COMPONENT, Inputs, PANICKING, PLUGIN};
use crate::step;

/// The plugin's package.
pub(crate) const PACKAGE: &str = "procore-auth-guest";
/// Its feature that adds a panic on demand, for a test.
const PANICS: &str = "panics";
/// What the component may weigh, in bytes. Compilers differ: more is a warning here, and a failed test with the one in use there.
const BUDGET: usize = 300_000;
/// Apart from the host's folder: another compiler may serve here, and neither waits for the other's lock.
pub(crate) const TARGET_FOLDER: &str = "target/guest";

/// Builds the component, unless it is up to date, and prints its size and digest.
pub(crate) fn build(root: &Path, choice: Choice) -> anyhow::Result<()> {
    let inputs = Inputs::now(root, &PLUGIN)?;
    // A compiler that is asked for by name is also to be used.
    if matches!(choice, Choice::Auto) && inputs.clone().differences(root)?.is_empty() {
        return report(root, "up to date");
    }
    let compiler = Compiler::find(choice)?;
    eprintln!("Building the plugin with {compiler}");
    let component = component(root, Path::new(TARGET_FOLDER), &compiler, PACKAGE, &[])?;
    replace(&root.join(COMPONENT), &component)?;
    inputs.record(root)?;
    report(root, "built")
}

/// Builds the component that can be made to panic, unless it is up to date.
pub(crate) fn build_panicking(root: &Path) -> anyhow::Result<()> {
    let inputs = Inputs::now(root, &PANICKING)?;
    if inputs.clone().differences(root)?.is_empty() {
        return Ok(());
    }
    let compiler = Compiler::find(Choice::Auto)?;
    let target = Path::new(TARGET_FOLDER);
    let component = component(root, target, &compiler, PACKAGE, &[PANICS])?;
    replace(&root.join(PANICKING.component), &component)?;
    inputs.record(root)
}

/// Says whether the component is up to date, and if not, why.
pub(crate) fn check(root: &Path) -> anyhow::Result<ExitCode> {
    let differences = Inputs::now(root, &PLUGIN)?.differences(root)?;
    if differences.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "{COMPONENT} is missing or older than: {}",
        differences.join(", ")
    );
    eprintln!("Run `cargo xtask build`.");
    Ok(ExitCode::FAILURE)
}

/// Builds a package of the sources below `root`, in `target`, with these features, as a component that names no folder of this
/// machine; returns its bytes.
pub(crate) fn component(
    root: &Path,
    target: &Path,
    compiler: &Compiler,
    package: &str,
    features: &[&str],
) -> anyhow::Result<Vec<u8>> {
    let module = build_module(root, target, compiler, package, features)?;
    let component = encode(&module).with_context(|| format!("cannot encode {package}"))?;
    inspect(&component, &private_folders(root))?;
    Ok(component)
}

fn build_module(
    root: &Path,
    target: &Path,
    compiler: &Compiler,
    package: &str,
    features: &[&str],
) -> anyhow::Result<Vec<u8>> {
    let mut command = compiler.cargo_rustc();
    command.current_dir(root);
    command.args(["--package", package, "--lib", "--locked"]);
    for feature in features {
        command.args(["--features", feature]);
    }
    // Alone: cargo leaves out link-time optimisation where a library for Rust is built along.
    command.args(["--crate-type", "cdylib"]);
    command.args(["--profile", "plugin", "--target-dir"]);
    command.arg(target);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(root, compiler));
    step::run(package, &mut command)?;
    let folder = root.join(target).join(TARGET).join("plugin");
    let module = folder.join(format!("{}.wasm", package.replace('-', "_")));
    fs::read(&module).with_context(|| format!("cannot read {}", module.display()))
}

/// The compiler's flags: the names of folders are replaced, so that the same sources give the same bytes anywhere.
fn flags(root: &Path, compiler: &Compiler) -> OsString {
    // Of several prefixes that match, the compiler takes the last: the particular after the general.
    let mut names = vec![(root.to_owned(), "/procore-auth".to_owned())];
    names.extend(cargo_home().map(|home| (home, "/cargo".to_owned())));
    names.extend(registries().map(|folder| (folder, "/cargo/registry".to_owned())));
    names.extend(compiler.library_names());
    let mut flags = OsString::new();
    for (folder, name) in names {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    flags
}

/// The folders of unpacked crates. Their names depend on where the crates came from.
fn registries() -> impl Iterator<Item = PathBuf> {
    let folder = cargo_home().map(|home| home.join("registry/src"));
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
    let folders = entries.into_iter().flatten();
    folders.filter_map(|entry| Some(entry.ok()?.path()))
}

fn cargo_home() -> Option<PathBuf> {
    let by_default = || Some(std::env::home_dir()?.join(".cargo"));
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(by_default)
}

pub(crate) fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(ComponentEncoder::encode)
        .and_then(|component| without_names(&component))
}

/// Leaves out the names of the component's items: nobody reads them, and they take their share of the budget.
pub(crate) fn without_names(component: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut kept = wasm_encoder::Component::new();
    // What stands in a nested module or component is kept with it.
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        let section = payload.as_section().filter(|_| depth == 0);
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(_) => continue,
            _ => {}
        }
        if let Some((id, range)) = section {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            let data = &component[range];
            kept.section(&RawSection { id, data });
        }
    }
    Ok(kept.finish())
}

/// Refuses a component in which the name of a private folder stands.
fn inspect(component: &[u8], folders: &[PathBuf]) -> anyhow::Result<()> {
    for folder in folders {
        let name = folder.as_os_str().as_encoded_bytes();
        if component.windows(name.len()).any(|window| window == name) {
            bail!("the component names the folder {}", folder.display());
        }
    }
    Ok(())
}

fn private_folders(root: &Path) -> Vec<PathBuf> {
    let folders = [Some(root.to_owned()), cargo_home()];
    folders.into_iter().flatten().collect()
}

/// Writes the file so that a reader sees the old one or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("wasm.new");
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&temporary, bytes))
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn report(root: &Path, state: &str) -> anyhow::Result<()> {
    let component = fs::read(root.join(COMPONENT)).context(COMPONENT)?;
    let size = component.len();
    let digest = inputs::digest(&component);
    eprintln!("{COMPONENT} ({state}): {size} bytes of at most {BUDGET}, sha256 {digest}");
    if size > BUDGET {
        eprintln!("warning: the component is over its budget");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_component_that_names_a_private_folder_is_refused() {
        let folders = [PathBuf::from("/home/someone")];
        assert!(inspect(b"panicked at /cargo/registry/url", &folders).is_ok());
        assert!(inspect(b"panicked at /home/someone/x.rs", &folders).is_err());
    }
}
