//! Components that are written by hand, in WebAssembly text: every export traps, but for those that are given a body.
//!
//! Where things are in their memory: results from 1024 on, what a host's call gives from 2048 on, counters at 4096, one's own
//! data from 8192 on, and what the host hands over from 65536 on.

use std::{fmt::Write as _, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{
    LiftLowerAbi, ManglingAndAbi, PackageId, Resolve, WasmExport, WasmExportKind, WasmImport,
    WorldId, WorldItem, abi::WasmType,
};

const ABI: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

/// What the host hands over is put at the end of what was handed over before; the memory grows with it.
const REALLOC: &str = r#"(global $heap (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
        (global.set $heap (i32.add (local.get $at) (local.get 3)))
        (loop
            (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
                (then
                    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
                    (br 1))))
        (local.get $at))"#;

/// What a component has of its own.
pub struct HandWritten<'a> {
    /// The bodies of exported functions, by interface and name.
    pub bodies: Vec<(&'a str, &'a str)>,
    /// What else the module has: data, tables, functions.
    pub fields: &'a str,
    /// Its memory, in pages.
    pub pages: u32,
}

impl<'a> HandWritten<'a> {
    /// Gives these exported functions bodies, by interface and name.
    pub fn new(bodies: &[(&'a str, &'a str)]) -> Self {
        Self {
            bodies: bodies.to_vec(),
            fields: "",
            pages: 4,
        }
    }

    /// Encodes the component.
    pub fn encoded(&self) -> Vec<u8> {
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(contract).expect("the contract");
        self.encoded_for(&resolve, package)
    }

    /// Encodes the component for another contract, given as a package with one world.
    pub fn encoded_for(&self, resolve: &Resolve, package: PackageId) -> Vec<u8> {
        let world = resolve.select_world(&[package], None).expect("a world");
        let mut module = wat::parse_str(text(resolve, world, self)).expect("a module");
        embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
            .expect("metadata");
        ComponentEncoder::default()
            .module(&module)
            .expect("a module with metadata")
            .encode()
            .expect("a component")
    }
}

fn text(resolve: &Resolve, world: WorldId, written: &HandWritten<'_>) -> String {
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
            let body = written
                .bodies
                .iter()
                .find(|(wanted, _)| *wanted == id)
                .map_or("unreachable", |(_, body)| body);
            let types = types(&signature.params, &signature.results);
            writeln!(wat, "(func (export {name:?}) {types} {body})").expect("a string");
        }
    }
    let (pages, fields) = (written.pages, written.fields);
    write!(
        wat,
        "(memory (export \"memory\") {pages})\n{REALLOC}\n{fields})"
    )
    .expect("a string");
    wat
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
