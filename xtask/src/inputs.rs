//! What the component was built from.
//!
//! The record beside the component is in the format of `sha256sum`: a line for each input, and one for the component itself.
//! `sha256sum --check` reads it, and so can a test. Digests rather than times of change: a fresh checkout, a copied folder and a
//! restored cache keep the first and not the second.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The plugin's component, as the workspace's root sees it.
pub(crate) const COMPONENT: &str = "dist/procore-auth.wasm";

/// What is built for another target: a component, and what decides on its bytes.
pub(crate) struct Product {
    /// The component's file, as the workspace's root sees it.
    pub(crate) component: &'static str,
    /// Files and folders; `guest.rs` holds the compiler's flags.
    pub(crate) inputs: &'static [&'static str],
}

/// What decides on the plugin's bytes.
const SOURCES: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "guest/Cargo.toml",
    "guest/build.rs",
    "guest/src",
    "wit",
    "xtask/src/guest.rs",
];

/// The plugin.
pub(crate) const PLUGIN: Product = Product {
    component: COMPONENT,
    inputs: SOURCES,
};

/// The plugin's sources once more, with a panic on demand: for a test, and so not in `dist`.
pub(crate) const PANICKING: Product = Product {
    component: "target/guest/panicking.wasm",
    inputs: SOURCES,
};

/// Each file's digest, by its path from the workspace's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inputs {
    component: &'static str,
    digests: BTreeMap<String, String>,
}

impl Inputs {
    /// Reads a product's inputs as they are now.
    pub(crate) fn now(root: &Path, product: &Product) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for input in product.inputs {
            collect(&root.join(input), &mut files)
                .with_context(|| format!("cannot read {input}"))?;
        }
        let mut digests = BTreeMap::new();
        for file in files {
            let path = file.strip_prefix(root).unwrap_or(&file);
            // One spelling on every system.
            let path = path.to_string_lossy().replace('\\', "/");
            digests.insert(path, digest_of_file(&file)?);
        }
        Ok(Self {
            component: product.component,
            digests,
        })
    }

    /// Notes that the component was built from these inputs.
    pub(crate) fn record(mut self, root: &Path) -> anyhow::Result<()> {
        self.add_component(root)?;
        let lines = self.digests.iter();
        let lines = lines.map(|(path, digest)| format!("{digest}  {path}\n"));
        let record = record(self.component);
        fs::write(root.join(&record), lines.collect::<String>()).context(record)
    }

    /// The paths in which the component on disk and its record differ from these inputs; none if it is up to date.
    pub(crate) fn differences(mut self, root: &Path) -> anyhow::Result<Vec<String>> {
        if !root.join(self.component).is_file() {
            return Ok(vec![self.component.to_owned()]);
        }
        self.add_component(root)?;
        let recorded = recorded(&root.join(record(self.component)));
        let paths = self.digests.keys().chain(recorded.keys());
        let mut differing: Vec<_> = paths
            .filter(|path| self.digests.get(*path) != recorded.get(*path))
            .cloned()
            .collect();
        differing.sort();
        differing.dedup();
        Ok(differing)
    }

    fn add_component(&mut self, root: &Path) -> anyhow::Result<()> {
        let digest = digest_of_file(&root.join(self.component))?;
        self.digests.insert(self.component.to_owned(), digest);
        Ok(())
    }
}

/// The SHA-256 digest of `bytes`, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_of_file(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(digest(&bytes))
}

/// Where a component's inputs are noted.
fn record(component: &str) -> String {
    format!("{component}.inputs")
}

/// The record's digests by path; empty where there is none.
fn recorded(record: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(record).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn workspace() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["guest/src/nested", "wit", "xtask/src", "dist"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in [
            "Cargo.toml",
            "Cargo.lock",
            "guest/Cargo.toml",
            "guest/build.rs",
            "xtask/src/guest.rs",
            COMPONENT,
        ] {
            fs::write(root.path().join(file), file).unwrap();
        }
        fs::write(root.path().join("guest/src/nested/logic.rs"), "one").unwrap();
        root
    }

    fn now(root: &Path) -> Inputs {
        Inputs::now(root, &PLUGIN).unwrap()
    }

    fn differences(root: &Path) -> Vec<String> {
        now(root).differences(root).unwrap()
    }

    #[test]
    fn a_recorded_component_is_up_to_date_until_something_changes() {
        let root = workspace();
        let root = root.path();
        now(root).record(root).unwrap();
        assert_eq!(differences(root), [""; 0]);

        fs::write(root.join("guest/src/nested/logic.rs"), "two").unwrap();
        fs::write(root.join("wit/new.wit"), "").unwrap();
        assert_eq!(
            differences(root),
            ["guest/src/nested/logic.rs", "wit/new.wit"]
        );
    }

    #[test]
    fn a_torn_component_is_not_up_to_date() {
        let root = workspace();
        let root = root.path();
        now(root).record(root).unwrap();
        fs::write(root.join(COMPONENT), "torn").unwrap();
        assert_eq!(differences(root), [COMPONENT]);
        fs::remove_file(root.join(COMPONENT)).unwrap();
        assert_eq!(differences(root), [COMPONENT]);
    }

    #[test]
    fn a_component_without_a_record_is_not_up_to_date() {
        assert!(!differences(workspace().path()).is_empty());
    }
}
