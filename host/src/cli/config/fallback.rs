//! `[connections.NAME.fallback]`: the service account that may stand in while the user grant is dead.

use std::path::Path;

use procore_auth_host::{Grant, Secret, Settings};
use toml::Spanned;

use super::shape::FallbackTable;
use super::source::{Mistake, Source};
use super::{INLINE_SECRET, Text, client_id, reference};
use crate::cli::failure::Failure;
use crate::cli::secret_reference::SecretReference;

/// The credentials of a fallback that is allowed; those of the connection where they name none.
#[derive(Debug)]
pub(super) struct FallbackConfig(Option<(Spanned<Text>, Spanned<SecretReference>)>);

/// Reads the table; `None` where there is none, or it allows nothing.
pub(super) fn read(
    source: &Source,
    folder: &Path,
    grant: &Grant,
    table: Option<Spanned<FallbackTable>>,
) -> Result<Option<FallbackConfig>, Failure> {
    let Some(table) = table else {
        return Ok(None);
    };
    let span = table.span();
    let refuse = |message: &str, cure: &str| {
        let mistake = Mistake {
            message: message.to_owned(),
            cure: cure.to_owned(),
        };
        Err(source.refuse(span.clone(), mistake))
    };
    if *grant == Grant::ClientCredentials {
        return refuse(
            "a service account has no user grant that a fallback could stand in for",
            "remove this table, or set grant = \"authorization-code\"",
        );
    }
    let table = table.into_inner();
    let pair = match (table.client_id, table.client_secret) {
        (None, None) => None,
        (Some(id), Some(secret)) => Some((
            client_id(source, id)?,
            reference::read(source, folder, secret, &INLINE_SECRET)?,
        )),
        _ => {
            return refuse(
                "a client id and its secret belong together",
                "name both, or neither for those of the connection",
            );
        }
    };
    Ok(table.allow.then_some(FallbackConfig(pair)))
}

impl FallbackConfig {
    /// Returns the secret that it refers to.
    pub(super) fn reference(&self) -> Option<&SecretReference> {
        self.0.as_ref().map(|(_, secret)| secret.get_ref())
    }

    /// Reads what it refers to, and returns the settings of the service account, next to those of the connection.
    pub(super) fn settings(&self, source: &Source, of: &Settings) -> Result<Settings, Failure> {
        let mut settings = of.clone();
        settings.grant = Grant::ClientCredentials;
        if let Some((id, secret)) = &self.0 {
            settings.client_id = id.get_ref().read(source, id.span())?;
            settings.client_secret = self::secret(source, secret)?;
        }
        Ok(settings)
    }
}

fn secret(source: &Source, secret: &Spanned<SecretReference>) -> Result<Secret, Failure> {
    let read = secret.get_ref().read();
    read.map_err(|error| source.refuse(secret.span(), Mistake::from(error)))
}
