//! Section I, as far as it concerns the bundled component: what it imports and what it exports.

use std::{fs, path::Path};

use procore_auth_tests::plugin;
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

/// Returns the component as it was built from the present sources.
fn component() -> Vec<u8> {
    plugin();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/procore-auth.wasm");
    fs::read(file).expect("the component was built")
}

fn decoded() -> DecodedWasm {
    wit_component::decode(&component()).expect("a component")
}

#[test]
fn the_component_keeps_within_its_budget() {
    assert!(component().len() <= 300_000, "{} bytes", component().len());
}

fn names<'a>(
    resolve: &Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<String> {
    let name = |(key, _)| resolve.name_world_key(key);
    let mut names: Vec<_> = items.into_iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn s66_the_import_list_is_exactly_the_contracts() {
    let DecodedWasm::Component(resolve, world) = decoded() else {
        panic!("a package, not a component")
    };
    let world = &resolve.worlds[world];
    assert_eq!(
        names(&resolve, &world.imports),
        [
            "procore:auth/clock@0.1.0",
            "procore:auth/connection@0.1.0",
            "procore:auth/http@0.1.0",
            "procore:auth/journal@0.1.0",
            "procore:auth/random@0.1.0",
            "procore:auth/store@0.1.0",
            "procore:auth/types@0.1.0",
        ]
    );
    assert_eq!(
        names(&resolve, &world.exports),
        [
            "procore:auth/advice@0.1.0",
            "procore:auth/api@0.1.0",
            "procore:auth/auth@0.1.0",
        ]
    );
}

#[test]
fn s66_each_import_has_exactly_the_contracts_functions() {
    let DecodedWasm::Component(resolve, world) = decoded() else {
        panic!("a package, not a component")
    };
    let mut functions = vec![];
    for item in resolve.worlds[world].imports.values() {
        let WorldItem::Interface { id, .. } = item else {
            panic!("neither a function nor a type stands alone: {item:?}")
        };
        let interface = &resolve.interfaces[*id];
        let name = interface.name.as_deref().expect("named");
        functions.extend(interface.functions.keys().map(|f| format!("{name}.{f}")));
    }
    functions.sort();
    assert_eq!(
        functions,
        [
            "clock.elapsed",
            "clock.now",
            "clock.sleep",
            "connection.settings",
            "http.send",
            "journal.record",
            "random.bytes",
            "store.delete",
            "store.get",
            "store.hold",
            "store.list",
            "store.lock",
            "store.put",
            "store.unlock",
        ]
    );
}
