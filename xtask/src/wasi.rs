//! The plugin for runtimes that lend nothing but WASI 0.2: composed with an adapter that lends the rest, and with a command line.
//!
//! ```text
//!          wasi:http, wasi:filesystem, wasi:clocks, …
//!                │                          │
//!             adapter ──connection, http,─▶ plugin ──auth, api──▶ command
//!                       clock, store, …       │                      │
//!                                     auth, api, advice         wasi:cli/run
//! ```

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use crate::compiler::{Choice, Compiler};
use crate::inputs::{self, COMPONENT, Inputs, Product};
use crate::{guest, node, step};

/// The composed component.
const COMPOSED: Product = Product {
    component: "dist/procore-auth.wasi.wasm",
    inputs: &[
        "Cargo.toml",
        "Cargo.lock",
        COMPONENT,
        "lending/Cargo.toml",
        "lending/src",
        "wasi",
        "wit",
        "xtask/src/guest.rs",
        "xtask/src/wasi.rs",
    ],
};
/// The adapter alone: for another composition, and for the tests that misuse it.
const ADAPTED: &str = "dist/procore-auth.wasi-adapter.wasm";

/// The adapter's package.
pub(crate) const ADAPTER: &str = "procore-auth-wasi";
/// The command line's package.
pub(crate) const COMMAND: &str = "procore-auth-wasi-command";

/// Builds the composed component, and prints its size and digest.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let inputs = Inputs::now(root, &COMPOSED)?;
    if inputs.clone().differences(root)?.is_empty() && root.join(ADAPTED).is_file() {
        return report(root, "up to date");
    }
    let compiler = Compiler::find(Choice::Auto)?;
    let target = Path::new(guest::TARGET_FOLDER);
    let adapter = guest::component(root, target, &compiler, ADAPTER, &[])?;
    let command = guest::component(root, target, &compiler, COMMAND, &[])?;
    guest::replace(&root.join(ADAPTED), &adapter)?;
    let plugin = fs::read(root.join(COMPONENT)).context(COMPONENT)?;
    let types = types(root).context("cannot make a component of the contract's types")?;
    let composed =
        compose(types, adapter, plugin, command).context("cannot compose the plugin with WASI")?;
    guest::replace(&root.join(COMPOSED.component), &composed)?;
    inputs.record(root)?;
    report(root, "built")
}

fn report(root: &Path, state: &str) -> anyhow::Result<()> {
    let file = COMPOSED.component;
    let composed = fs::read(root.join(file)).context(file)?;
    let (size, digest) = (composed.len(), inputs::digest(&composed));
    eprintln!("{file} ({state}): {size} bytes, sha256 {digest}");
    Ok(())
}

/// Builds the composed component, then tests it in stock wasmtime, and in Node where that is to be had.
pub(crate) fn test(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    build(root)?;
    if let Err(reason) = node::prepare(root) {
        // The test that needs it says so and skips.
        eprintln!("Without Node: {reason:#}");
    }
    let mut command = step::cargo(root);
    command.args(["test", "--workspace", "--locked", "--test", "wasi"]);
    step::run("test wasi", command.args(arguments))
}

fn compose(
    types: Vec<u8>,
    adapter: Vec<u8>,
    plugin: Vec<u8>,
    command: Vec<u8>,
) -> anyhow::Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut made: Vec<(PackageId, NodeId)> = Vec::new();
    for (name, bytes) in [
        ("types", types),
        ("adapter", adapter),
        ("plugin", plugin),
        ("command", command),
    ] {
        let package = register(&mut graph, name, bytes)?;
        let part = (package, graph.instantiate(package));
        for earlier in &made {
            connect(&mut graph, *earlier, part)?;
        }
        made.push(part);
    }
    for (package, instance) in made {
        for name in exports(&graph, package)
            .into_iter()
            .filter(|name| is_given(name))
        {
            let alias = graph.alias_instance_export(instance, &name)?;
            graph.export(alias, &name)?;
        }
    }
    let composed = graph.encode(EncodeOptions::default())?;
    guest::without_names(&composed)
}

/// Whether the composed component exports it: what the adapter lends stays inside.
fn is_given(name: &str) -> bool {
    let interface = name.split('@').next().unwrap_or(name);
    [
        "procore:auth/types",
        "procore:auth/auth",
        "procore:auth/api",
        "procore:auth/advice",
        "wasi:cli/run",
    ]
    .contains(&interface)
}

/// Makes a component that exports the types that all the others share. They would be an import of the whole otherwise.
fn types(root: &Path) -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::new();
    resolve.push_dir(root.join("wit"))?;
    let world = "package procore-auth:types; world types { export procore:auth/types@0.1.0; }";
    let package = resolve.push_str("types.wit", world)?;
    let world = resolve.select_world(&[package], Some("types"))?;
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    guest::encode(&module)
}

fn register(graph: &mut CompositionGraph, name: &str, bytes: Vec<u8>) -> anyhow::Result<PackageId> {
    let name = format!("procore-auth:{name}");
    let package = Package::from_bytes(&name, None, bytes, graph.types_mut())?;
    Ok(graph.register_package(package)?)
}

/// Gives one component what the other one exports, as far as it asks for it.
fn connect(
    graph: &mut CompositionGraph,
    (giving, from): (PackageId, NodeId),
    (asking, to): (PackageId, NodeId),
) -> anyhow::Result<()> {
    let offered = exports(graph, giving);
    let wanted = graph.types()[graph[asking].ty()].imports.keys();
    let both: Vec<String> = wanted
        .filter(|name| offered.contains(name))
        .cloned()
        .collect();
    for name in both {
        let alias = graph.alias_instance_export(from, &name)?;
        graph.set_instantiation_argument(to, &name, alias)?;
    }
    Ok(())
}

fn exports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    let exports = &graph.types()[graph[package].ty()].exports;
    exports.keys().cloned().collect()
}
