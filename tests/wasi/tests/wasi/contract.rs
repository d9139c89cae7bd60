//! What the composed component imports and exports: the security statement of a runtime that loads it.

use procore_auth_wasi_tests::built;
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

fn names<'a>(
    resolve: &Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<String> {
    let mut names: Vec<_> = items
        .into_iter()
        .map(|(key, _)| resolve.name_world_key(key))
        .collect();
    names.sort();
    names
}

#[test]
fn it_imports_wasi_and_nothing_else() {
    let decoded = wit_component::decode(&built("procore-auth.wasi.wasm")).expect("a component");
    let DecodedWasm::Component(resolve, world) = decoded else {
        panic!("a package, not a component")
    };
    let world = &resolve.worlds[world];
    assert_eq!(
        names(&resolve, &world.imports),
        [
            "wasi:cli/environment@0.2.12",
            "wasi:cli/stderr@0.2.12",
            "wasi:cli/stdout@0.2.12",
            "wasi:clocks/monotonic-clock@0.2.12",
            "wasi:clocks/wall-clock@0.2.12",
            "wasi:filesystem/preopens@0.2.12",
            "wasi:filesystem/types@0.2.12",
            "wasi:http/outgoing-handler@0.2.12",
            "wasi:http/types@0.2.12",
            "wasi:io/error@0.2.12",
            "wasi:io/poll@0.2.12",
            "wasi:io/streams@0.2.12",
            "wasi:random/random@0.2.12",
        ]
    );
    assert_eq!(
        names(&resolve, &world.exports),
        [
            "procore:auth/advice@0.1.0",
            "procore:auth/api@0.1.0",
            "procore:auth/auth@0.1.0",
            "procore:auth/types@0.1.0",
            "wasi:cli/run@0.2.12",
        ]
    );
}
