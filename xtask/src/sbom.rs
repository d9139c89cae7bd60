//! `cargo xtask sbom`: what is in the tool and in the plugin, as a CycloneDX document.
//!
//! Two things are shipped in one: the tool, and inside it the plugin, which runs with far less. Their packages are kept apart: the
//! plugin is one component of the tool, with its digest, and its packages are nested in it. A package that is in both stands there
//! twice, each time with the features and the authority of that place.
//!
//! The document is for one target, and the same for the same sources: it holds no time, and its serial number is made of its content.

mod parts;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use cargo_metadata::Package;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::compiler::{self, Choice};
use crate::guest;
use crate::inputs::{self, COMPONENT};
use parts::{Part, Parts};

/// The package of the tool.
const TOOL: &str = "procore-auth-host";
/// Where the document goes, unless told otherwise.
pub(crate) const FILE: &str = "dist/procore-auth.cdx.json";
/// The plugin's name in the document, and what the references of its packages begin with.
const PLUGIN: &str = "procore-auth.wasm";

/// Builds the plugin, then writes the document; `target` is the tool's, by default this machine's.
pub(crate) fn run(root: &Path, target: Option<String>, output: &Path) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let document = document(root, target)?;
    let path = root.join(output);
    let text = format!("{document:#}\n");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("{} is written", output.display());
    Ok(())
}

fn document(root: &Path, target: Option<String>) -> anyhow::Result<Value> {
    let target = match target {
        Some(target) => target,
        None => compiler::host().context("rustc does not say what machine this is")?,
    };
    let tool = Parts::of(root, TOOL, &target)?;
    let plugin = Parts::of(root, guest::PACKAGE, compiler::TARGET)?;
    let checksums = Checksums::read(root)?;
    let component = fs::read(root.join(COMPONENT)).context(COMPONENT)?;

    let in_tool = Listing::new("", &tool, &checksums);
    let in_plugin = Listing::new("procore-auth.wasm#", &plugin, &checksums);
    let mut components = vec![json!({
        "type": "library",
        "bom-ref": PLUGIN,
        "name": PLUGIN,
        "version": plugin.root().package.version.to_string(),
        "description": "The plugin, embedded in the tool: WebAssembly with six imports and no other authority",
        "hashes": [sha256(&inputs::digest(&component))],
        "licenses": licenses(&plugin.root().package),
        "properties": [property("target", compiler::TARGET)],
        "components": in_plugin.components(),
    })];
    components.extend(in_tool.components());

    let mut dependencies = in_tool.dependencies(&[PLUGIN.to_owned()]);
    dependencies.push(json!({
        "ref": PLUGIN,
        "dependsOn": in_plugin.references(&plugin.root().depends_on),
    }));
    dependencies.extend(in_plugin.dependencies(&[]));

    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "tools": { "components": [{
                "type": "application",
                "name": "cargo xtask sbom",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": in_tool.root(),
            "properties": [property("target", &target)],
        },
        "components": components,
        "dependencies": dependencies,
    });
    document["serialNumber"] = serial_number(&document.to_string()).into();
    Ok(document)
}

/// The packages of one binary, as the document lists them.
struct Listing<'a> {
    /// What tells the references of this binary's packages from those of another.
    prefix: &'static str,
    parts: &'a Parts,
    checksums: &'a Checksums,
}

impl<'a> Listing<'a> {
    fn new(prefix: &'static str, parts: &'a Parts, checksums: &'a Checksums) -> Self {
        Self {
            prefix,
            parts,
            checksums,
        }
    }

    /// The package that all others are there for.
    fn root(&self) -> Value {
        let mut root = self.component(self.parts.root());
        root["type"] = "application".into();
        root["name"] = "procore-auth".into();
        root
    }

    /// All others.
    fn components(&self) -> Vec<Value> {
        let others = self.parts.others();
        others.map(|part| self.component(part)).collect()
    }

    fn component(&self, part: &Part) -> Value {
        let package = &part.package;
        let mut component = json!({
            "type": "library",
            "bom-ref": self.reference(package),
            "name": package.name.as_str(),
            "version": package.version.to_string(),
            "licenses": licenses(package),
            // What is used to build it, and is not in it.
            "scope": if part.linked { "required" } else { "excluded" },
        });
        if package.source.is_some() {
            component["purl"] = purl(package).into();
        }
        if let Some(checksum) = self.checksums.of(package) {
            component["hashes"] = json!([sha256(checksum)]);
        }
        if let Some(repository) = &package.repository {
            component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
        }
        component
    }

    /// Who depends on whom; the root on `also` too.
    fn dependencies(&self, also: &[String]) -> Vec<Value> {
        let root = self.parts.root();
        let mut of_root = self.references(&root.depends_on);
        of_root.extend_from_slice(also);
        let mut all = Vec::new();
        // The plugin's root is the plugin: it is listed by its own name.
        if !also.is_empty() {
            all.push(json!({ "ref": self.reference(&root.package), "dependsOn": of_root }));
        }
        all.extend(self.parts.others().map(|part| {
            json!({
                "ref": self.reference(&part.package),
                "dependsOn": self.references(&part.depends_on),
            })
        }));
        all
    }

    fn references(&self, ids: &[cargo_metadata::PackageId]) -> Vec<String> {
        let packages = ids.iter().map(|id| &self.parts.get(id).package);
        packages.map(|package| self.reference(package)).collect()
    }

    fn reference(&self, package: &Package) -> String {
        format!("{}{}", self.prefix, purl(package))
    }
}

/// The package's URL (<https://github.com/package-url/purl-spec>): where crates.io has it.
fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn licenses(package: &Package) -> Value {
    let license = package.license.as_deref().unwrap_or("NOASSERTION");
    // An older spelling of cargo's, which is no SPDX expression.
    let alternatives: Vec<&str> = license.split('/').map(str::trim).collect();
    json!([{ "expression": alternatives.join(" OR ") }])
}

fn sha256(digest: &str) -> Value {
    json!({ "alg": "SHA-256", "content": digest })
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": format!("procore-auth:{name}"), "value": value })
}

/// A UUID of version 8 (RFC 9562, section 5.8), made of the document's digest.
fn serial_number(document: &str) -> String {
    let mut digits: Vec<char> = inputs::digest(document.as_bytes())
        .chars()
        .take(32)
        .collect();
    digits[12] = '8';
    digits[16] = 'a';
    let digits: String = digits.into_iter().collect();
    let (a, b, c, d, e) = (
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    );
    format!("urn:uuid:{a}-{b}-{c}-{d}-{e}")
}

/// The digests of the packages' archives, as Cargo.lock has them.
struct Checksums(BTreeMap<(String, String), String>);

impl Checksums {
    fn read(root: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Lock {
            package: Vec<Locked>,
        }
        #[derive(Deserialize)]
        struct Locked {
            name: String,
            version: String,
            checksum: Option<String>,
        }
        let text = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
        let lock: Lock = toml::from_str(&text).context("Cargo.lock")?;
        let known = lock.package.into_iter();
        let known = known.filter_map(|it| Some(((it.name, it.version), it.checksum?)));
        Ok(Self(known.collect()))
    }

    fn of(&self, package: &Package) -> Option<&str> {
        let key = (package.name.to_string(), package.version.to_string());
        self.0.get(&key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
