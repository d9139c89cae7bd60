//! Alerts that reach a person, also where nothing works at the moment.
//!
//! ```text
//! plugin, host ── Journal ──> Outbox ──> a file per alert and sink ──> Courier ──> Sink: webhook, command
//! ```
//!
//! | promise | how |
//! |---|---|
//! | what was recorded is delivered, also after a crash | [`Outbox`] writes it durably before `record` returns; [`Courier`] deletes it after the sink took it |
//! | once per sink | one process at a time delivers to a sink, under a kernel lock. Where it dies between the sink's answer and the deletion the alert comes again, with the same [`Alert::id`]: at least once, and an id to know it by |
//! | in order per sink | the oldest first. An alert that the sink refuses while it takes the next one steps aside for an hour |
//! | never silent | what cannot be stored is held in memory and delivered from there; what is dropped, too old, damaged or not readable is an alert in the journal; the others go on |
//! | no storm | a failed try is followed by a pause that doubles up to 15 minutes, with jitter, across processes; `Retry-After` is honoured up to 6 hours |
//! | no secret | events hold none, and the address of a sink appears in no error, file or event |
//!
//! Not promised: delivery while no process runs. `procore-auth run` or `tick` is what comes back to it.
//!
//! ```no_run
//! # async fn example(journal: std::sync::Arc<dyn procore_auth_host::Journal>) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use procore_auth_host::{Fanout, HttpsClient, Secret};
//! use procore_auth_host::alerts::{Courier, Format, Outbox, Route, Sink, Webhook};
//!
//! let http = Arc::new(HttpsClient::new()?);
//! let url = || std::env::var("OPS_WEBHOOK").map(Secret::new).map_err(|e| e.to_string());
//! let sink: Arc<dyn Sink> = Arc::new(Webhook::new("ops".parse()?, url, Format::Slack, http));
//! let outbox = Outbox::builder("/var/lib/agent/.alerts")
//!     .route(Route::to(sink.name().clone()))
//!     .journal(Arc::clone(&journal))
//!     .build();
//! let courier = Courier::new(Arc::clone(&outbox), [sink]);
//! let for_connections = Fanout(vec![journal, outbox]);
//! courier.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

mod alert;
mod attempts;
mod command;
mod courier;
mod fate;
mod format;
mod outbox;
mod pending;
mod route;
mod sink;
pub(crate) mod troubles;
mod webhook;
pub(crate) mod whole_file;

pub use alert::{Alert, Kind};
pub use command::Command;
pub use courier::Courier;
pub use format::Format;
pub use outbox::{Outbox, OutboxBuilder, SinkReport, Unusable, Waiting};
pub use route::Route;
pub use sink::{InvalidSinkName, Reason, Sink, SinkName, Undelivered};
pub use webhook::Webhook;
