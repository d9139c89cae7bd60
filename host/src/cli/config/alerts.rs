//! `[alerts.NAME]`: the sinks that alerts go to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use procore_auth_host::ConnectionName;
use procore_auth_host::alerts::{Format, SinkName};
use toml::Spanned;

use super::ConnectionConfig;
use super::reference::{self, Inline};
use super::shape::{AlertTable, Span, Written};
use super::source::{Mistake, Source};
use crate::cli::failure::Failure;
use crate::cli::secret_reference::SecretReference;

/// The pause doubles with each failure; it has to begin with something.
const LEAST_RETRY: Duration = Duration::from_millis(10);

const INLINE_URL: Inline = Inline {
    message: "a webhook's URL does not belong into this file: whoever has it can write to the channel",
    cure: "write { env = \"OPS_WEBHOOK\" } or { file = \"/path/to/url\" } here, and put the URL there",
};

/// One sink of the file.
#[derive(Debug)]
pub(crate) struct SinkConfig {
    /// Its name.
    pub(crate) name: SinkName,
    /// What it is.
    pub(crate) kind: SinkKind,
    /// Whose alerts go there; `None`: those of all connections.
    pub(crate) connections: Option<Vec<ConnectionName>>,
    /// The pause after the first failed try.
    pub(crate) retry: Option<Duration>,
}

/// What a sink is.
#[derive(Debug)]
pub(crate) enum SinkKind {
    /// A webhook, whose URL is a secret.
    Webhook {
        url: SecretReference,
        format: Format,
    },
    /// A program and its arguments.
    Command {
        program: String,
        arguments: Vec<String>,
    },
}

impl SinkConfig {
    /// Returns the secret that it refers to.
    pub(crate) fn reference(&self) -> Option<&SecretReference> {
        match &self.kind {
            SinkKind::Webhook { url, .. } => Some(url),
            SinkKind::Command { .. } => None,
        }
    }
}

/// Reads the tables.
pub(super) fn read(
    source: &Source,
    folder: &Path,
    tables: BTreeMap<Spanned<String>, AlertTable>,
    connections: &BTreeMap<ConnectionName, ConnectionConfig>,
) -> Result<Vec<SinkConfig>, Failure> {
    tables
        .into_iter()
        .map(|(name, table)| sink(source, folder, &name, table, connections))
        .collect()
}

fn sink(
    source: &Source,
    folder: &Path,
    name: &Spanned<String>,
    table: AlertTable,
    connections: &BTreeMap<ConnectionName, ConnectionConfig>,
) -> Result<SinkConfig, Failure> {
    let parsed = name.get_ref().parse().map_err(|error| {
        let mistake = Mistake {
            message: format!("{error}"),
            cure: "rename the sink, for example [alerts.ops]".to_owned(),
        };
        source.refuse(name.span(), mistake)
    })?;
    let named = table
        .connections
        .map(|names| {
            names
                .iter()
                .map(|name| connection(source, name, connections))
                .collect()
        })
        .transpose()?;
    Ok(SinkConfig {
        name: parsed,
        connections: named,
        retry: table
            .retry
            .map(|retry| check_retry(source, &retry))
            .transpose()?,
        kind: match (table.webhook, table.command, table.format) {
            (Some(url), None, format) => webhook(source, folder, url, format)?,
            (None, Some(command), None) => self::command(source, command)?,
            (None, Some(_), Some(format)) => {
                let mistake = Mistake {
                    message: "a command has no format: it reads the alert as JSON".to_owned(),
                    cure: "remove this line".to_owned(),
                };
                return Err(source.refuse(format.span(), mistake));
            }
            _ => return Err(source.refuse(name.span(), one_of())),
        },
    })
}

fn one_of() -> Mistake {
    Mistake {
        message: "a sink has exactly one of `webhook` and `command`".to_owned(),
        cure: "write webhook = { env = \"OPS_WEBHOOK\" } or command = [\"/path/to/program\"]"
            .to_owned(),
    }
}

fn webhook(
    source: &Source,
    folder: &Path,
    url: Spanned<Written>,
    format: Option<Spanned<Format>>,
) -> Result<SinkKind, Failure> {
    Ok(SinkKind::Webhook {
        url: reference::read(source, folder, url, &INLINE_URL)?.into_inner(),
        format: format.map(Spanned::into_inner).unwrap_or_default(),
    })
}

fn command(source: &Source, command: Spanned<Vec<String>>) -> Result<SinkKind, Failure> {
    let span = command.span();
    let mut words = command.into_inner().into_iter();
    match words.next().filter(|program| !program.trim().is_empty()) {
        Some(program) => Ok(SinkKind::Command {
            program,
            arguments: words.collect(),
        }),
        None => {
            let mistake = Mistake {
                message: "a command begins with the program".to_owned(),
                cure: "write command = [\"/path/to/program\", \"argument\"]; no shell reads it"
                    .to_owned(),
            };
            Err(source.refuse(span, mistake))
        }
    }
}

fn connection(
    source: &Source,
    name: &Spanned<String>,
    connections: &BTreeMap<ConnectionName, ConnectionConfig>,
) -> Result<ConnectionName, Failure> {
    let parsed = super::connection_name(source, name)?;
    if connections.contains_key(&parsed) {
        return Ok(parsed);
    }
    let names: Vec<&str> = connections.keys().map(ConnectionName::as_str).collect();
    let mistake = Mistake {
        message: format!("there is no connection {parsed}"),
        cure: format!("name some of: {}; or none, for all", names.join(", ")),
    };
    Err(source.refuse(name.span(), mistake))
}

fn check_retry(source: &Source, retry: &Spanned<Span>) -> Result<Duration, Failure> {
    let span = retry.get_ref().0;
    if span >= LEAST_RETRY {
        return Ok(span);
    }
    let mistake = Mistake {
        message: "retry is at least 10ms".to_owned(),
        cure: "set retry = \"5s\", or remove the line for that default".to_owned(),
    };
    Err(source.refuse(retry.span(), mistake))
}
