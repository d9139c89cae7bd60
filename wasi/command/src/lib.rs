//! The command line of `procore-auth.wasi.wasm`: `wasmtime run … procore-auth.wasi.wasm token`.
//!
//! | words | what it does |
//! |---|---|
//! | `token` | prints an access token that is good now |
//! | `call METHOD PATH [BODY]` | calls the API and prints the reply's body; fails where the status is not 2xx |
//! | `login` | prints the link to sign in with |
//! | `finish-login ANSWER` | finishes the sign-in with the address that the browser ended on, or with the code |
//! | `upkeep` | one visit of the keeper; prints when to come back, in milliseconds since 1970 |
//! | `status` | prints how the connection is |
//!
//! Results go to standard output. What went wrong goes to standard error, with its cause and its cure, and the exit status is 1.

#[cfg(target_family = "wasm")]
mod component;
