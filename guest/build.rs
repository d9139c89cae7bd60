//! Tells the linker to write the component's calls and addresses as short as they can be, and how large the stack is.
//!
//! It pads each to five bytes otherwise. The linker does this only without debug information, so only for builds that are
//! made for size.
//!
//! The stack stands in front of everything else in the memory. No call needs the usual megabyte; a smaller one leaves all that
//! a call touches close together, where a host can keep it at hand for the next call.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let for_wasm = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm");
    let for_size = env::var("OPT_LEVEL").is_ok_and(|level| level == "s" || level == "z");
    if for_wasm {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=262144");
    }
    if for_wasm && for_size {
        println!("cargo::rustc-link-arg-cdylib=--compress-relocations");
        println!("cargo::rustc-link-arg-cdylib=--strip-debug");
    }
}
