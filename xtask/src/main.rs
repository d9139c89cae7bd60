//! `cargo xtask …`: what needs more than plain cargo.
fn main() {}
