//! Components that misbehave: what they have in common.

use procore_auth_host::Plugin;
pub(crate) use procore_auth_tests::hand_written::HandWritten as Hostile;

/// Returns a healthy status, all zeros.
pub(crate) const OK: &str = "(i32.const 1024)";

/// Returns a token that is good for ever.
pub(crate) const TOKEN: &str = "(i64.store (i32.const 1040) (i64.const 0x7fffffffffff))
    (i64.store (i32.const 1048) (i64.const 0x7fffffffffff))
    (i32.const 1024)";

/// Forgets what the host handed over.
pub(crate) const FORGET: &str = "(global.set $heap (i32.const 65536))";

/// Loads a component whose exported functions have these bodies; all others trap.
pub(crate) fn plugin(bodies: &[(&str, &str)]) -> Plugin {
    load(&Hostile::new(bodies))
}

/// Loads a component that keeps the contract's shape.
pub(crate) fn load(hostile: &Hostile<'_>) -> Plugin {
    Plugin::from_bytes(&hostile.encoded()).expect("keeps the contract")
}
