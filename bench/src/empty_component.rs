//! A component whose `access-token` computes nothing: what the runtime costs, whatever a plugin computes.

use procore_auth_tests::hand_written::HandWritten;

/// How long the stand-in's access tokens are, and Procore's.
const TOKEN_BYTES: usize = 1100;

/// Encodes a component that keeps the contract and whose `access-token` returns a token as long as a real one, good for ever. It asks the
/// host for nothing. All else traps.
pub(crate) fn encoded() -> Vec<u8> {
    let access_token = format!(
        "(i32.store (i32.const 1032) (i32.const 2048))
        (i32.store (i32.const 1036) (i32.const {TOKEN_BYTES}))
        (i64.store (i32.const 1040) (i64.const 0x7fffffffffff))
        (i64.store (i32.const 1048) (i64.const 0x7fffffffffff))
        (i32.const 1024)"
    );
    HandWritten::new(&[("auth.access-token", &access_token)]).encoded()
}
