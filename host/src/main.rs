//! The `procore-auth` tool.
fn main() {}
