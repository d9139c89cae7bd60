#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DepKindInfo, DependencyKind, MetadataCommand};
use serde_json::Value;

use super::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The document for this machine.
fn sbom() -> Value {
    document(root(), None).unwrap()
}

fn texts<'a>(values: &'a Value, name: &str) -> Vec<&'a str> {
    let values = values.as_array().unwrap().iter();
    values.map(|value| value[name].as_str().unwrap()).collect()
}

/// Name and version of each.
fn packages(components: &Value) -> BTreeSet<(String, String)> {
    let names = texts(components, "name").into_iter();
    let versions = texts(components, "version").into_iter();
    let both = names.zip(versions);
    both.map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

/// What cannot be left out of a package: what it needs without condition, and so on; `linked` leaves out what only builds it.
/// Found another way than the document is made.
fn indispensable(package: &str, target: &str, linked: bool) -> BTreeSet<(String, String)> {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    command.other_options(["--locked", "--filter-platform", target].map(str::to_owned));
    let metadata = command.exec().unwrap();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let mut members = metadata.workspace_packages().into_iter();
    let root = members.find(|member| member.name == package).unwrap();
    let (mut seen, mut queue) = (BTreeSet::new(), vec![&root.id]);
    while let Some(id) = queue.pop() {
        let package = &metadata[id];
        let is_macro = package
            .targets
            .iter()
            .any(cargo_metadata::Target::is_proc_macro);
        if (linked && is_macro) || !seen.insert(id) {
            continue;
        }
        let declared = package.dependencies.iter();
        let certain: BTreeSet<&str> = declared
            .filter(|it| !it.optional && it.kind != DependencyKind::Development)
            .filter(|it| !linked || it.kind == DependencyKind::Normal)
            .map(|it| &*it.name)
            .collect();
        let node = nodes.iter().find(|node| node.id == *id).unwrap();
        let in_build = |kind: &DepKindInfo| match kind.kind {
            DependencyKind::Normal => true,
            DependencyKind::Build => !linked,
            _ => false,
        };
        let needed = node.deps.iter();
        let needed = needed.filter(|it| it.dep_kinds.iter().any(in_build));
        let needed = needed.map(|it| &it.pkg);
        queue.extend(needed.filter(|id| certain.contains(metadata[id].name.as_str())));
    }
    seen.into_iter()
        .map(|id| {
            let package = &metadata[id];
            (package.name.to_string(), package.version.to_string())
        })
        .collect()
}

fn locked() -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = toml::from_str(&text).unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|it| {
            let text = |name: &str| it[name].as_str().unwrap().to_owned();
            (text("name"), text("version"))
        })
        .collect()
}

fn only_required(components: &Value) -> Value {
    let all = components.as_array().unwrap().iter();
    let required = all.filter(|component| component["scope"] == "required");
    required.cloned().collect()
}

#[test]
fn every_package_in_the_build_is_named_where_it_belongs() {
    let sbom = sbom();
    let host = compiler::host().unwrap();
    let plugin = &sbom["components"][0];
    assert_eq!(plugin["name"], PLUGIN);
    let tool = sbom["components"].as_array().unwrap()[1..].iter();
    let tool: Value = tool.cloned().collect();
    let locked = locked();
    for (package, target, listed, at_least) in [
        (TOOL, &*host, &tool, 50),
        (guest::PACKAGE, compiler::TARGET, &plugin["components"], 5),
    ] {
        let of_root: BTreeSet<_> = locked
            .iter()
            .filter(|it| it.0 == package)
            .cloned()
            .collect();
        for (linked, listed) in [(false, listed.clone()), (true, only_required(listed))] {
            let (needed, listed) = (indispensable(package, target, linked), packages(&listed));
            assert!(needed.len() > at_least, "{needed:?}");
            let listed: BTreeSet<_> = listed.union(&of_root).cloned().collect();
            let missing: Vec<_> = needed.difference(&listed).collect();
            assert!(missing.is_empty(), "{package}: {missing:?}");
            let unlocked: Vec<_> = listed.difference(&locked).collect();
            assert!(unlocked.is_empty(), "{package}: {unlocked:?}");
        }
    }
}

#[test]
fn the_plugin_is_small_and_apart() {
    let sbom = sbom();
    let plugin = &sbom["components"][0];
    let in_plugin = only_required(&plugin["components"]);
    let names = texts(&in_plugin, "name");
    assert!(names.contains(&"miniserde"), "{names:?}");
    for foreign in ["wasmtime", "reqwest", "tokio", "serde_json"] {
        assert!(!names.contains(&foreign), "{names:?}");
    }
    let component = fs::read(root().join(COMPONENT)).unwrap();
    assert_eq!(plugin["hashes"][0]["content"], inputs::digest(&component));
}

#[test]
fn what_only_tests_use_is_not_in_it() {
    let sbom = sbom();
    let names = texts(&sbom["components"], "name");
    for foreign in [
        "proptest",
        "fantoccini",
        "x509-parser",
        "procore-auth-tests",
        "xtask",
    ] {
        assert!(!names.contains(&foreign), "{foreign}");
    }
}

#[test]
fn it_is_the_same_each_time() {
    assert_eq!(sbom().to_string(), sbom().to_string());
}

/// The required fields, and the values that <https://cyclonedx.org/docs/1.6/json/> lists.
#[test]
fn it_has_the_shape_of_cyclonedx_1_6() {
    let sbom = sbom();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    assert_eq!(sbom["specVersion"], "1.6");
    assert_eq!(sbom["version"], 1);
    let serial = sbom["serialNumber"].as_str().unwrap();
    let groups: Vec<usize> = serial
        .strip_prefix("urn:uuid:")
        .unwrap()
        .split('-')
        .map(|group| {
            assert!(
                group
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            );
            group.len()
        })
        .collect();
    assert_eq!(groups, [8, 4, 4, 4, 12]);

    let mut references = BTreeMap::new();
    let root = &sbom["metadata"]["component"];
    let all = sbom["components"].as_array().unwrap().iter();
    let nested = sbom["components"][0]["components"].as_array().unwrap();
    for component in all.chain(nested).chain([root]) {
        for name in ["type", "name", "version", "bom-ref"] {
            assert!(component[name].is_string(), "{name}: {component}");
        }
        let kind = component["type"].as_str().unwrap();
        assert!(["application", "library"].contains(&kind), "{component}");
        let license = component["licenses"][0]["expression"].as_str().unwrap();
        assert!(
            !license.contains('/') && license != "NOASSERTION",
            "{component}"
        );
        if component["purl"].is_string() {
            let digest = component["hashes"][0]["content"].as_str().unwrap();
            assert_eq!(digest.len(), 64, "{component}");
        }
        let scope = &component["scope"];
        assert!(scope.is_null() || scope == "required" || scope == "excluded");
        let reference = component["bom-ref"].as_str().unwrap();
        assert!(
            references.insert(reference, component).is_none(),
            "{reference}"
        );
    }

    let dependencies = sbom["dependencies"].as_array().unwrap();
    let from: BTreeSet<&str> = texts(&sbom["dependencies"], "ref").into_iter().collect();
    assert_eq!(from.len(), dependencies.len(), "each once");
    assert_eq!(from, references.keys().copied().collect());
    for dependency in dependencies {
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(references.contains_key(on.as_str().unwrap()), "{on}");
        }
    }
}
