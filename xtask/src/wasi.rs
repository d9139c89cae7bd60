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

use crate::compiler::{Choice, Compiler};
use crate::guest;
use crate::inputs::{self, COMPONENT};
use crate::step;

/// The composed component, as the workspace's root sees it.
const COMPOSED: &str = "dist/procore-auth.wasi.wasm";
/// The adapter alone: for another composition, and for the tests that misuse it.
const ADAPTED: &str = "dist/procore-auth.wasi-adapter.wasm";

const ADAPTER: &str = "procore-auth-wasi";
const COMMAND: &str = "procore-auth-wasi-command";

/// What its tests are built in: the folder of everything else, so that what both need is built once.
const TARGET_FOLDER: &str = "../../target";

/// Builds the composed component, and prints its size and digest.
pub(crate) fn build(root: &Path) -> anyhow::Result<()> {
    guest::build(root, Choice::Auto)?;
    let compiler = Compiler::find(Choice::Auto)?;
    let adapter = guest::build_component(root, &compiler, ADAPTER)?;
    let command = guest::build_component(root, &compiler, COMMAND)?;
    guest::replace(&root.join(ADAPTED), &adapter)?;
    let plugin = fs::read(root.join(COMPONENT)).context(COMPONENT)?;
    let composed = compose(adapter, plugin, command).context("cannot compose the plugin with WASI")?;
    guest::replace(&root.join(COMPOSED), &composed)?;
    let digest = inputs::digest(&composed);
    eprintln!("{COMPOSED}: {} bytes, sha256 {digest}", composed.len());
    Ok(())
}

/// Builds the composed component, then tests it in stock wasmtime. Its dependencies take minutes, the first time.
pub(crate) fn test(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    build(root)?;
    let mut command = step::cargo(&root.join("tests/wasi"));
    command.args(["test", "--locked", "--target-dir", TARGET_FOLDER]);
    step::run("test wasi", command.args(arguments))
}

fn compose(adapter: Vec<u8>, plugin: Vec<u8>, command: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let adapter = register(&mut graph, "adapter", adapter)?;
    let plugin = register(&mut graph, "plugin", plugin)?;
    let command = register(&mut graph, "command", command)?;
    let lent = graph.instantiate(adapter);
    let given = graph.instantiate(plugin);
    let run = graph.instantiate(command);
    connect(&mut graph, (adapter, lent), (plugin, given))?;
    connect(&mut graph, (plugin, given), (command, run))?;
    for (package, instance) in [(plugin, given), (command, run)] {
        for name in exports(&graph, package) {
            let alias = graph.alias_instance_export(instance, &name)?;
            graph.export(alias, &name)?;
        }
    }
    let composed = graph.encode(EncodeOptions::default())?;
    guest::without_names(&composed)
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
    let both: Vec<String> = wanted.filter(|name| offered.contains(name)).cloned().collect();
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
