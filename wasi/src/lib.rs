//! Lends to the plugin what a WASI 0.2 runtime lends: an adapter component, composed with the plugin into
//! `dist/procore-auth.wasi.wasm`, which imports nothing but WASI.
//!
//! | the contract's | becomes |
//! |---|---|
//! | `connection` | the environment's variables, see [`settings`] |
//! | `http` | `wasi:http/outgoing-handler`, behind the same egress policy as the native host's |
//! | `clock`, `random` | `wasi:clocks`, `wasi:random` |
//! | `store` | a preopened folder, in the format of the native host's `FileStore` |
//! | `journal` | JSON lines on standard error, or in a file of a preopened folder |
//!
//! # What is weaker than in the native host
//!
//! - **The lock.** WASI 0.2 has no locks of the kernel. Programs in WASI exclude each other by leases (`lease.rs`): a holder that
//!   died is waited for, a minute at most. They exclude no native host, whose locks cannot be seen from here: while a native
//!   *keeper* shows signs of life, the lock is refused with `busy`, and the tokens that the keeper refreshes are read. Any other
//!   native program is noticed after the fact, as `write-without-lock`.
//! - **Access.** WASI 0.2 knows no modes and no owners: the runtime is to run with `umask 077`, and nothing here can tell whether
//!   it does.
//! - **Copies.** A copied folder is noticed only once a native host has opened it.
//! - **What cannot be saved** lives as long as the instance. The save is tried for some seconds when the call ends.
//! - **Diagnosis.** The other environments are never asked about a token: the adapter cannot tell which call it serves.
//! - **TLS roots, proxies, redirects** are the runtime's. `wasi:http` has none to follow; a runtime on top of `fetch` would.

pub mod settings;

#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
mod entries;
#[cfg(target_family = "wasm")]
mod folder;
#[cfg(target_family = "wasm")]
mod journal;
#[cfg(target_family = "wasm")]
mod keeper;
#[cfg(any(test, target_family = "wasm"))]
mod lease;
#[cfg(target_family = "wasm")]
mod outgoing;
#[cfg(target_family = "wasm")]
mod storage;
#[cfg(target_family = "wasm")]
mod time;
