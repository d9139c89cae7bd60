//! `procore-auth.wasi.wasm` as a runtime that lends nothing but WASI 0.2 runs it.

mod command;
mod contract;
mod egress;
mod lease;
mod node;
mod sharing;
mod spine;
