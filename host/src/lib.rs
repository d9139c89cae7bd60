//! Embeds the procore-auth plugin.

mod clock;
mod http;
mod journal;
mod secret;
mod settings;
mod store;

pub use clock::{Clock, SystemClock};
pub use http::{HttpClient, HttpFailure, RequestLimits};
pub use journal::{Event, Journal, Severity};
pub use secret::Secret;
pub use settings::{ConnectionName, Environment, Grant, InvalidConnectionName, Policy, Settings};
pub use store::{Entry, Key, LockGuard, Store, StoreFailure, Write};
