//! The shape of the file, as serde reads it. Unknown keys are refused everywhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use procore_auth_host::{Environment, Secret, alerts::Format};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) state: Option<Spanned<PathBuf>>,
    pub(super) journal: Option<PathBuf>,
    pub(super) plugin: Option<PluginWritten>,
    pub(super) default_connection: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) network: NetworkTable,
    pub(super) encryption: Option<EncryptionTable>,
    pub(super) metrics: Option<Spanned<MetricsTable>>,
    #[serde(default)]
    pub(super) alerts: BTreeMap<Spanned<String>, AlertTable>,
    #[serde(default)]
    pub(super) connections: BTreeMap<Spanned<String>, ConnectionTable>,
}

/// `plugin`: the path of a component, or a table.
pub(super) enum PluginWritten {
    Path(PathBuf),
    Table(PluginTable),
}

/// `plugin = { path = "PATH", sha256 = "DIGEST" }`, with one of the two at least.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PluginTable {
    pub(super) path: Option<PathBuf>,
    pub(super) sha256: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for PluginWritten {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PluginVisitor)
    }
}

struct PluginVisitor;

impl<'de> Visitor<'de> for PluginVisitor {
    type Value = PluginWritten;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path in quotes, or { path = \"PATH\", sha256 = \"64 hexadecimal digits\" },")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<PluginWritten, E> {
        Ok(PluginWritten::Path(path.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PluginWritten, A::Error> {
        let table = PluginTable::deserialize(MapAccessDeserializer::new(map))?;
        if table.path.is_none() && table.sha256.is_none() {
            return Err(A::Error::custom(
                "`path`, `sha256` or both are expected here",
            ));
        }
        Ok(PluginWritten::Table(table))
    }
}

/// `[alerts.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertTable {
    pub(super) webhook: Option<Spanned<Written>>,
    pub(super) command: Option<Spanned<Vec<String>>>,
    pub(super) format: Option<Spanned<Format>>,
    pub(super) connections: Option<Vec<Spanned<String>>>,
    pub(super) retry: Option<Spanned<Span>>,
}

/// `[metrics]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsTable {
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) listen: Option<Spanned<String>>,
}

/// `[network]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkTable {
    pub(super) extra_ca: Option<PathBuf>,
    #[serde(default)]
    pub(super) connect_to: Vec<Spanned<String>>,
}

/// `[encryption]` and `[connections.NAME.encryption]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EncryptionTable {
    pub(super) key: Spanned<Written>,
    #[serde(default)]
    pub(super) old_keys: Vec<Spanned<Written>>,
}

/// `[connections.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionTable {
    pub(super) environment: Environment,
    pub(super) client_id: Spanned<Written>,
    pub(super) client_secret: Spanned<Written>,
    pub(super) grant: Spanned<GrantName>,
    pub(super) redirect_uri: Option<Spanned<String>>,
    pub(super) company_id: Option<u64>,
    pub(super) export: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) policy: PolicyTable,
    pub(super) encryption: Option<EncryptionTable>,
    pub(super) fallback: Option<Spanned<FallbackTable>>,
}

/// `[connections.NAME.fallback]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FallbackTable {
    pub(super) allow: bool,
    pub(super) client_id: Option<Spanned<Written>>,
    pub(super) client_secret: Option<Spanned<Written>>,
}

/// `grant`.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum GrantName {
    AuthorizationCode,
    ClientCredentials,
}

/// `[connections.NAME.policy]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyTable {
    pub(super) refresh_percent: Option<Spanned<u8>>,
    pub(super) refresh_jitter: Option<Span>,
    pub(super) token_timeout: Option<Spanned<Span>>,
    pub(super) lock_wait: Option<Spanned<Span>>,
    pub(super) call_timeout: Option<Spanned<Span>>,
    pub(super) parked_count: Option<Spanned<u32>>,
    pub(super) parked_bytes: Option<Spanned<u64>>,
    pub(super) parked_age: Option<Spanned<Span>>,
    pub(super) pkce: Option<bool>,
}

/// A span of time, written as `"30s"`, `"60m"` or `"7d"`.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::cli::time::parse_span(&text)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// A value that may stand elsewhere: `"text"`, `{ env = "NAME" }`, `{ file = "PATH" }`, or `{ keyring = "NAME" }`, which may
/// add what to use where there is no keyring: `or = { file = "PATH" }`.
///
/// Reads whatever stands there without repeating it in an error: it may be a secret in the wrong place.
pub(super) enum Written {
    Inline(Secret),
    Env(String),
    File(String),
    Keyring(String, Option<Box<Written>>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor)
    }
}

struct WrittenVisitor;

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ env = \"NAME\" }, { file = \"PATH\" } or { keyring = \"NAME\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Written, E> {
        Ok(Written::Inline(Secret::new(text)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Written, E> {
        Ok(Written::Inline(Secret::new(number.to_string())))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Written, E> {
        Err(E::custom("a string or a reference is expected here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let (mut found, mut or) = (None, None);
        while let Some(place) = map.next_key::<Place>()? {
            let written = match place {
                Place::Or if or.is_none() => {
                    or = Some(Box::new(map.next_value()?));
                    continue;
                }
                Place::Env => Written::Env(map.next_value()?),
                Place::File => Written::File(map.next_value()?),
                Place::Keyring => Written::Keyring(map.next_value()?, None),
                Place::Or => return Err(A::Error::custom(ONE_OF)),
            };
            if found.replace(written).is_some() {
                return Err(A::Error::custom(ONE_OF));
            }
        }
        match (found, or) {
            (Some(Written::Keyring(name, _)), or) => Ok(Written::Keyring(name, or)),
            (Some(written), None) => Ok(written),
            _ => Err(A::Error::custom(ONE_OF)),
        }
    }
}

const ONE_OF: &str =
    "exactly one of `env`, `file` and `keyring` is expected here, and `or` beside `keyring` only";

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Place {
    Env,
    File,
    Keyring,
    Or,
}
