//! Embeds the procore-auth plugin.

mod clock;
mod connect_to;
mod connection_watch;
mod egress;
mod entry_file;
mod file_lock;
mod file_store;
mod http;
mod https_client;
mod journal;
mod json_lines;
mod memory_store;
mod private_file;
mod random;
mod revision;
mod secret;
mod settings;
mod store;

pub use clock::{Clock, SystemClock};
pub use connect_to::{ConnectTo, InvalidConnectTo, Target};
pub use egress::{Destination, Egress, InvalidOrigin, Origin, Permit, Refusal};
pub use file_store::FileStore;
pub use http::{HttpClient, HttpFailure, RequestLimits};
pub use https_client::{HttpsClient, HttpsClientBuilder, HttpsClientError};
pub use journal::{Event, Fanout, Journal, Severity, TracingJournal};
pub use json_lines::JsonLinesJournal;
pub use memory_store::MemoryStore;
pub use random::{Random, SystemRandom};
pub use secret::Secret;
pub use settings::{ConnectionName, Environment, Grant, InvalidConnectionName, Policy, Settings};
pub use store::{Entry, Key, LockGuard, Store, StoreFailure, Write};
