//! Components that are written by hand, in WebAssembly text: every export traps, but for those that are given a body.

use std::{fmt::Write as _, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{
    LiftLowerAbi, ManglingAndAbi, PackageId, Resolve, WasmExport, WasmExportKind, WasmImport,
    WorldId, WorldItem, abi::WasmType,
};

const ABI: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

/// Encodes a component whose exported functions have these bodies, by interface and name; all others trap.
pub fn component(bodies: &[(&str, &str)]) -> Vec<u8> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(contract).expect("the contract");
    encoded(&resolve, package, bodies)
}

/// Encodes the same for another contract, given as a package with one world.
pub fn encoded(resolve: &Resolve, package: PackageId, bodies: &[(&str, &str)]) -> Vec<u8> {
    let world = resolve.select_world(&[package], None).expect("a world");
    let mut module = wat::parse_str(text(resolve, world, bodies)).expect("a module");
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).expect("metadata");
    ComponentEncoder::default()
        .module(&module)
        .expect("a module with metadata")
        .encode()
        .expect("a component")
}

fn text(resolve: &Resolve, world: WorldId, bodies: &[(&str, &str)]) -> String {
    let mut wat = "(module\n".to_owned();
    let world = &resolve.worlds[world];
    for (key, item) in &world.imports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = &resolve.interfaces[*id];
        for func in interface.functions.values() {
            let import = WasmImport::Func {
                interface: Some(key),
                func,
            };
            let (module, name) = resolve.wasm_import_name(ABI, import);
            let signature = resolve.wasm_signature(ABI.import_variant(), func);
            let id = interface.name.as_deref().unwrap_or_default();
            let types = types(&signature.params, &signature.results);
            writeln!(
                wat,
                "(import {module:?} {name:?} (func ${id}.{} {types}))",
                func.name
            )
            .expect("a string");
        }
    }
    for (key, item) in &world.exports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = &resolve.interfaces[*id];
        for func in interface.functions.values() {
            let export = WasmExport::Func {
                interface: Some(key),
                func,
                kind: WasmExportKind::Normal,
            };
            let name = resolve.wasm_export_name(ABI, export);
            let signature = resolve.wasm_signature(ABI.export_variant(), func);
            let id = format!(
                "{}.{}",
                interface.name.as_deref().unwrap_or_default(),
                func.name
            );
            let body = bodies
                .iter()
                .find(|(wanted, _)| *wanted == id)
                .map_or("unreachable", |(_, body)| body);
            let types = types(&signature.params, &signature.results);
            writeln!(wat, "(func (export {name:?}) {types} {body})").expect("a string");
        }
    }
    wat + r#"(memory (export "memory") 4)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))"#
}

fn types(params: &[WasmType], results: &[WasmType]) -> String {
    let name = |ty: &WasmType| match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        _ => "i32",
    };
    let list = |kind: &str, types: &[WasmType]| -> String {
        let list: String = types.iter().map(|ty| format!(" {}", name(ty))).collect();
        format!("({kind}{list})")
    };
    list("param", params) + &list("result", results)
}
