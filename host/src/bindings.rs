//! What wasmtime generates from the contract in `wit/`. Nothing of it is public: the concepts' own files translate.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated code"
)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: {
        "procore:auth/http": async | trappable,
        "procore:auth/store": async | trappable,
        "procore:auth/clock.sleep": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
