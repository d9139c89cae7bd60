//! The packages that one package is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};
use cargo_metadata::{
    DepKindInfo, DependencyKind, Metadata, MetadataCommand, Node, Package, PackageId,
};

use crate::step;

/// All packages that go into a package's binary, for one target.
pub(crate) struct Parts {
    root: PackageId,
    parts: BTreeMap<PackageId, Part>,
}

/// One package.
pub(crate) struct Part {
    /// What cargo knows of it.
    pub(crate) package: Package,
    /// Whether it is in the binary; otherwise it is used to build it: a build script's, or a macro's.
    pub(crate) linked: bool,
    /// What it needs there, in order.
    pub(crate) depends_on: Vec<PackageId>,
}

impl Parts {
    /// Asks cargo what a build of the package has: its own features, not those of the whole workspace.
    pub(crate) fn of(root: &Path, package: &str, target: &str) -> anyhow::Result<Self> {
        let mut command = MetadataCommand::new();
        command.manifest_path(root.join("Cargo.toml"));
        command.other_options(["--locked", "--filter-platform", target].map(str::to_owned));
        let metadata = command.exec().context("cargo does not list the packages")?;
        let tree = |edges| tree(root, package, target, edges);
        let built = tree("normal,build")?;
        let linked = tree("normal,no-proc-macro")?;
        Self::from(metadata, package, &built, &linked)
    }

    fn from(
        metadata: Metadata,
        package: &str,
        built: &Names,
        linked: &Names,
    ) -> anyhow::Result<Self> {
        let nodes = metadata.resolve.context("cargo resolves nothing")?.nodes;
        let nodes: BTreeMap<_, _> = nodes.into_iter().map(|it| (it.id.clone(), it)).collect();
        let packages = metadata.packages.into_iter().map(|it| (it.id.clone(), it));
        let packages: BTreeMap<_, _> = packages
            .filter(|(_, package)| built.contains(&name(package)))
            .collect();
        let root = packages.values().find(|found| found.name == package);
        let root = root.context("cargo does not list the package itself")?;
        let root = root.id.clone();
        let part = |package: Package| Part {
            linked: linked.contains(&name(&package)),
            depends_on: needs(&nodes[&package.id])
                .filter(|needed| packages.contains_key(needed))
                .collect(),
            package,
        };
        let parts = packages.values().cloned();
        let parts = parts.map(|it| (it.id.clone(), part(it))).collect();
        Ok(Self { root, parts })
    }

    /// The package that all others are there for.
    pub(crate) fn root(&self) -> &Part {
        self.get(&self.root)
    }

    /// All others, in order.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Part> {
        let others = self.parts.iter().filter(|(id, _)| **id != self.root);
        others.map(|(_, part)| part)
    }

    /// One of them.
    pub(crate) fn get(&self, id: &PackageId) -> &Part {
        &self.parts[id]
    }
}

/// Packages by name and version.
type Names = BTreeSet<(String, String)>;

fn name(package: &Package) -> (String, String) {
    (package.name.to_string(), package.version.to_string())
}

/// What `cargo tree` lists over these edges: with the features that are in use, which `cargo metadata` does not tell apart.
fn tree(root: &Path, package: &str, target: &str, edges: &str) -> anyhow::Result<Names> {
    let mut tree = step::cargo(root);
    tree.args(["tree", "--locked", "--package", package]);
    tree.args(["--target", target, "--edges", edges]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    let output = tree.output().context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let words = text.lines().map(str::split_whitespace);
    let names = words.filter_map(|mut words| {
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        Some((name.to_owned(), version.to_owned()))
    });
    Ok(names.collect())
}

/// What a package needs to be built.
fn needs(node: &Node) -> impl Iterator<Item = PackageId> {
    let in_build = |kind: &DepKindInfo| kind.kind != DependencyKind::Development;
    let needed = node.deps.iter();
    let needed = needed.filter(move |it| it.dep_kinds.iter().any(in_build));
    needed.map(|it| it.pkg.clone())
}
