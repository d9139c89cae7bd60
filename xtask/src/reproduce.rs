//! `cargo xtask reproduce`: the same sources give the same component, wherever they lie.
//!
//! What is compared are two builds from nothing, in two folders: the sources as they are here, and a copy of them under another name,
//! each with a target folder of its own. Not covered: another version of the compiler, and another machine's. What a digest says of
//! the component is what the same toolchain makes of the same sources.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::compiler::{Choice, Compiler};
use crate::guest;
use crate::inputs::{self, COMPONENT};

/// What is no source: what was built, and what git keeps.
const NO_SOURCES: [&str; 3] = ["target", "dist", ".git"];

/// Builds the component twice and compares; also with the one that was built before, where there is one of these sources.
pub(crate) fn run(root: &Path, choice: Choice) -> anyhow::Result<()> {
    let compiler = Compiler::find(choice)?;
    eprintln!("Building the plugin twice with {compiler}");
    let folder = tempfile::Builder::new().prefix("reproduce").tempdir()?;
    let here = guest::component(
        root,
        &folder.path().join("here"),
        &compiler,
        guest::PACKAGE,
        &[],
    )?;

    let copy = folder.path().join("a copy/of the sources");
    copy_sources(root, &copy).context("cannot copy the sources")?;
    let there = guest::component(
        &copy,
        &folder.path().join("there"),
        &compiler,
        guest::PACKAGE,
        &[],
    )?;

    let digest = inputs::digest(&here);
    if let Some(at) = difference(&here, &there) {
        let kept = root.join(COMPONENT).with_extension("wasm.other");
        fs::write(&kept, &there).with_context(|| format!("cannot write {}", kept.display()))?;
        bail!(
            "two builds differ from byte {at} on: {digest} here, {} in a copy of the sources, which is kept as {}",
            inputs::digest(&there),
            kept.display()
        );
    }
    let current = inputs::Inputs::now(root, &inputs::PLUGIN)?
        .differences(root)?
        .is_empty();
    if current && matches!(choice, Choice::Auto) && fs::read(root.join(COMPONENT))? != here {
        bail!(
            "{COMPONENT} is of these sources and another build of them: {digest} is what they give now"
        );
    }
    eprintln!(
        "Both builds are the same: {} bytes, sha256 {digest}",
        here.len()
    );
    Ok(())
}

/// Returns where two components differ for the first time.
fn difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let shorter = a.len().min(b.len());
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    (same < shorter || a.len() != b.len()).then_some(same)
}

fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (name, path) = entry.map(|it| (it.file_name(), it.path()))?;
        if NO_SOURCES.iter().any(|no_source| name == *no_source) {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(difference(b"abc", b"abc"), None);
        assert_eq!(difference(b"abc", b"abd"), Some(2));
        assert_eq!(difference(b"abc", b"abcd"), Some(3));
        assert_eq!(difference(b"abc", b""), Some(0));
    }

    #[test]
    fn a_copy_has_the_sources_and_nothing_that_was_built() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for name in ["guest/src", "target/debug", "fuzz/target", "dist", ".git"] {
            fs::create_dir_all(from.join(name)).unwrap();
            fs::write(from.join(name).join("file"), name).unwrap();
        }
        copy_sources(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("guest/src/file")).unwrap(), b"guest/src");
        for name in ["target", "fuzz/target", "dist", ".git"] {
            assert!(!to.join(name).exists(), "{name}");
        }
    }
}
