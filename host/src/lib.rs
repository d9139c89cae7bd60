//! Embeds the procore-auth plugin: keeps unattended agents signed in to Procore.
//!
//! A [`Plugin`] is the token logic, a WebAssembly component without any authority of its own. A [`Connection`] lends it what one
//! environment, client id and account need: [`HttpClient`], [`Clock`], [`Random`], [`Store`] and [`Journal`], each a trait
//! that an embedder may implement. Every call runs in a fresh instance within [`Limits`]; a plugin that misbehaves costs its
//! caller one [`Error`].
//!
//! ```no_run
//! # async fn example(settings: procore_auth_host::Settings) -> Result<(), Box<dyn std::error::Error>> {
//! use std::{path::Path, sync::Arc};
//! use procore_auth_host::{ApiRequest, Connection, FileStore, HttpsClient, Plugin};
//!
//! let store = FileStore::open(Path::new("/var/lib/agent"), &settings.name)?;
//! let connection = Connection::builder(&Plugin::bundled()?, settings)
//!     .http(Arc::new(HttpsClient::builder().build()?))
//!     .store(Arc::new(store))
//!     .build()?;
//! let token = connection.access_token().await?;
//! let outcome = connection.send(ApiRequest::get("/rest/v1.0/me")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | to do this | use |
//! |---|---|
//! | sign a person in | [`Connection::begin_login`], [`Connection::finish_login`], [`Connection::verify`] |
//! | call Procore | [`Connection::send`] |
//! | upload and download what is large | [`Connection::stream`]: the same policy, in constant memory |
//! | call it through a `tower` service | a [`ProcoreLayer`] around the HTTP client: the same policy |
//! | call it with an HTTP client of one's own | [`Connection::access_token`], [`Connection::renew_rejected`], [`Connection::assess`] |
//! | keep a connection alive | [`Connection::upkeep`], again at [`Visit::come_back_at`] |
//! | keep many alive | a [`Keeper`] with a [`Visitor`] |
//! | know whether somebody keeps it alive | a [`Heartbeat`] |
//! | know how it is | [`Connection::status`], [`Connection::diagnose`] |
//! | encrypt what is stored | an [`EncryptedStore`] around another one |
//! | be told | a [`Journal`]: an event of [`Severity::Alert`] is for a person |
//! | carry what is told to a person | [`alerts`]: a durable outbox, a courier, webhooks and commands |
//!
//! The feature `cli`, on by default, is for the `procore-auth` binary alone; an embedder sets `default-features = false`. What is
//! bundled is `dist/procore-auth.wasm`, built by `cargo xtask build`, or the file that the environment variable
//! `PROCORE_AUTH_COMPONENT` names at build time.

mod advice;
pub mod alerts;
mod api;
mod bindings;
mod call;
mod capabilities;
mod clock;
mod compiled_cache;
mod component_digest;
mod conflict_notice;
mod connect_to;
mod connection;
mod connection_watch;
mod detached;
mod diagnosis;
mod encrypted_store;
mod encryption_key;
mod engine;
mod epoch;
mod error;
mod exports;
mod fallback;
mod file_lock;
mod file_store;
mod heartbeat;
mod holding_store;
mod http;
mod https_client;
mod installation;
mod journal;
mod json_lines;
mod keeper;
mod layer;
mod lent;
mod limits;
mod login;
mod memory_store;
mod news;
mod parked;
mod pause;
mod plain_store;
mod plugin;
mod plugin_loader;
mod private_file;
mod random;
mod recorder;
mod regular_file;
mod revision;
mod seal;
mod single_flight;
mod status;
mod stopped;
mod store;
mod stream;
mod time;
mod token;
mod token_cache;

#[doc(hidden)]
pub mod internals {
    //! What the `procore-auth` binary shares with this library. No part of its API: it may change with any version.

    pub use crate::{
        alerts::troubles::Troubles,
        file_lock::{Held, hold_briefly},
        private_file::{create_folder, create_new, lets_all_write, lets_others_in, sync_folder},
        regular_file::open_without_waiting,
        status::made,
        time::rfc3339,
    };
}

use procore_auth_lending::{egress, entry_file, hex, unfinished};

pub use advice::{
    Advice, Endpoint, EndpointSet, EndpointUrls, Observation, Redirect, RedirectKind,
};
pub use api::{ApiRequest, ApiResponse, Attempt, Decision, Outcome, Reply};
pub use clock::{Clock, SystemClock};
pub use component_digest::{ComponentDigest, InvalidComponentDigest};
pub use connect_to::{ConnectTo, InvalidConnectTo, Target};
pub use connection::{Connection, ConnectionBuilder, IncompleteConnection};
pub use diagnosis::Diagnosis;
pub use encrypted_store::EncryptedStore;
pub use encryption_key::{EncryptionKey, InvalidEncryptionKey, KeyId};
pub use error::{Error, ErrorKind};
pub use fallback::UnfitFallback;
pub use file_store::{FileStore, Rewritten};
pub use heartbeat::{Beat, Heartbeat, KeeperKind, Keeping};
pub use http::{HttpClient, HttpFailure, RequestLimits};
pub use https_client::{HttpsClient, HttpsClientBuilder, HttpsClientError};
pub use journal::{Event, Fanout, Journal, Severity, TracingJournal};
pub use json_lines::JsonLinesJournal;
pub use keeper::{Keeper, Visitor};
pub use layer::{CallOptions, Delivery, Procore, ProcoreLayer};
pub use limits::Limits;
pub use login::Login;
pub use memory_store::MemoryStore;
pub use parked::{ParkedRequest, ParkedState, ReplayReport, Replayed};
pub use plain_store::PlainStore;
pub use plugin::{CONTRACT_VERSION, LoadError, Plugin};
pub use plugin_loader::PluginLoader;
pub use procore_auth_lending::{
    ConnectionName, Entry, Environment, Grant, InvalidConnectionName, Key, Policy, Provenance,
    Secret, Settings, StoreFailure, Write,
};
pub use random::{Random, SystemRandom};
pub use status::{Health, Identity, Incident, Stage, Status, TokenTimes, Visit};
pub use store::{LockGuard, Store};
pub use stream::{
    IncomingBody, OutgoingBody, RequestBody, ResponseBody, StreamLimits, StreamRequest,
    StreamedResponse, StreamingClient,
};
pub use token::AccessToken;
