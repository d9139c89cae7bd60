//! The token logic of procore-auth.
//!
//! Pure modules hold the rules; they take the time and data and return data. [`flow`] drives them through one trait,
//! [`capabilities::Capabilities`]. The module `component`, which exists on wasm only, implements that trait over the contract in
//! `wit/` and exports the flows; no other file sees the bindings. So everything but that file is compiled and tested natively.
//!
//! Where to begin: [`session`] is all that is known of a connection, [`decision`] says what to do next about it, [`refresh`] holds the
//! steps of a rotation, and [`flow::access_token`] takes them, each saved before the next. `docs/design.md` shows them side by side with what
//! a crash leaves.
#![cfg_attr(test, allow(clippy::unwrap_used))]
pub mod backoff;
pub mod capabilities;
#[cfg(target_family = "wasm")]
mod component;
pub mod decision;
pub mod diagnosis;
pub mod environment;
pub mod event;
pub mod explain;
pub mod flow;
pub mod grant;
#[cfg(target_family = "wasm")]
mod heap;
pub mod http;
pub mod incident;
pub mod json;
pub mod lifetime;
pub mod login;
pub mod moment;
pub mod pace;
#[cfg(all(target_family = "wasm", feature = "panics"))]
mod panics;
pub mod parking;
pub mod redirect;
pub mod refresh;
pub mod retry;
pub mod search;
pub mod secret;
pub mod session;
pub mod settings;
pub mod spent;
pub mod status;
