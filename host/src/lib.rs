//! Embeds the procore-auth plugin: keeps unattended agents signed in to Procore.
//!
//! A [`Plugin`] is the token logic, a WebAssembly component without any authority of its own. A [`Connection`] lends it what one
//! environment, client id and account need: [`HttpClient`], [`Clock`], [`Random`], [`Store`] and [`Journal`], each a trait
//! that an embedder may implement. Every call runs in a fresh instance within [`Limits`]; a plugin that misbehaves costs its
//! caller one [`Error`].

mod advice;
mod api;
mod bindings;
mod call;
mod capabilities;
mod clock;
mod connection;
mod diagnosis;
mod egress;
mod epoch;
mod error;
mod flight;
mod http;
mod journal;
mod lent;
mod limits;
mod login;
mod parked;
mod plugin;
mod random;
mod secret;
mod settings;
mod status;
mod stopped;
mod store;
mod time;
mod token;
mod token_cache;

pub use advice::{
    Advice, Endpoint, EndpointSet, EndpointUrls, Observation, Redirect, RedirectKind,
};
pub use api::{ApiRequest, ApiResponse, Attempt, Decision, Outcome, Reply};
pub use clock::{Clock, SystemClock};
pub use connection::{Connection, ConnectionBuilder, IncompleteConnection};
pub use diagnosis::Diagnosis;
pub use error::{Error, ErrorKind};
pub use http::{HttpClient, HttpFailure, RequestLimits};
pub use journal::{Event, Journal, Severity};
pub use limits::Limits;
pub use login::Login;
pub use parked::{ParkedRequest, ParkedState, ReplayReport, Replayed};
pub use plugin::{CONTRACT_VERSION, LoadError, Plugin};
pub use random::{Random, SystemRandom};
pub use secret::Secret;
pub use settings::{ConnectionName, Environment, Grant, InvalidConnectionName, Policy, Settings};
pub use status::{Health, Identity, Incident, Status, TokenTimes, Visit};
pub use store::{Entry, Key, LockGuard, Store, StoreFailure, Write};
pub use token::AccessToken;
