//! Tells the linker to write the component's calls and addresses as short as they can be.
//!
//! It pads each to five bytes otherwise. The linker does this only without debug information, so only for builds that are
//! made for size.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let for_wasm = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm");
    let for_size = env::var("OPT_LEVEL").is_ok_and(|level| level == "s" || level == "z");
    if for_wasm && for_size {
        println!("cargo::rustc-link-arg-cdylib=--compress-relocations");
        println!("cargo::rustc-link-arg-cdylib=--strip-debug");
    }
}
