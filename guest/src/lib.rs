//! The token logic of procore-auth.
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
pub mod http;
pub mod incident;
pub mod json;
pub mod lifetime;
pub mod login;
pub mod moment;
pub mod parking;
pub mod redirect;
pub mod refresh;
pub mod retry;
pub mod secret;
pub mod session;
pub mod settings;
pub mod status;
