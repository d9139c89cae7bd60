//! The sinks of the configuration, and the outbox before them.

use std::sync::Arc;

use procore_auth_host::alerts::{Command, Courier, Outbox, Route, Sink, Webhook};
use procore_auth_host::{HttpsClient, Journal, StreamingClient, internals::Troubles};

use super::config::{Config, SinkConfig, SinkKind};

/// The folder of the outbox in `state`. It cannot be the name of a connection.
const FOLDER: &str = ".alerts";

/// The folder, also in `state`, of what people were told of visits that fail.
const TROUBLES: &str = ".troubles";

/// Returns what people know of visits that fail.
pub(crate) fn troubles(config: &Config) -> Troubles {
    Troubles::in_folder(config.state.join(TROUBLES))
}

/// Puts the sinks and the outbox together. Their own troubles go to `journal`.
pub(crate) fn courier(config: &Config, http: &HttpsClient, journal: Arc<dyn Journal>) -> Courier {
    let mut outbox = Outbox::builder(config.state.join(FOLDER)).journal(journal);
    for (name, environment) in config.environments() {
        outbox = outbox.environment(name, environment);
    }
    for sink in &config.alerts {
        let route = Route::to(sink.name.clone());
        outbox = outbox.route(match &sink.connections {
            Some(connections) => route.only(connections.iter().cloned()),
            None => route,
        });
    }
    // What is lent to the plugin does not speak plain HTTP; a webhook on this machine may.
    let http: Arc<dyn StreamingClient> = Arc::new(http.with_plain_loopback());
    let sinks = config.alerts.iter().map(|s| sink(config, s, &http));
    Courier::new(outbox.build(), sinks)
}

fn sink(config: &Config, sink: &SinkConfig, http: &Arc<dyn StreamingClient>) -> Arc<dyn Sink> {
    let name = sink.name.clone();
    match &sink.kind {
        SinkKind::Webhook { url, format } => {
            let url = url.clone();
            let read = move || url.read().map_err(|unreadable| unreadable.message);
            let webhook = Webhook::new(name, read, *format, Arc::clone(http));
            Arc::new(match sink.retry {
                Some(pause) => webhook.with_first_pause(pause),
                None => webhook,
            })
        }
        SinkKind::Command { program, arguments } => {
            let command = Command::new(name, program, arguments.iter().cloned())
                .hide(config.secret_variables());
            Arc::new(match sink.retry {
                Some(pause) => command.with_first_pause(pause),
                None => command,
            })
        }
    }
}
