//! `[encryption]`: where the keys of the store are.

use std::path::Path;
use std::sync::Arc;

use procore_auth_host::EncryptionKey;
use toml::Spanned;

use super::reference::{self, Inline};
use super::shape::EncryptionTable;
use super::source::Source;
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::secret_reference::SecretReference;

const INLINE_KEY: Inline = Inline {
    message: "an encryption key does not belong into this file: it gets copied, backed up and committed",
    cure: "run `procore-auth key generate --file PATH`, and write { file = \"PATH\" } here; or { keyring = \"NAME\" } or { env = \"NAME\" }",
};

/// Where the keys of a store are. They are not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Encryption {
    source: Arc<Source>,
    key: Spanned<SecretReference>,
    old_keys: Vec<Spanned<SecretReference>>,
}

/// The keys of a store.
pub(crate) struct Keys {
    /// Seals, and opens.
    pub(crate) key: EncryptionKey,
    /// Open.
    pub(crate) old: Vec<EncryptionKey>,
}

/// Checks the table.
pub(super) fn read(
    source: &Arc<Source>,
    folder: &Path,
    table: Option<EncryptionTable>,
) -> Result<Option<Encryption>, Failure> {
    let Some(table) = table else {
        return Ok(None);
    };
    let reference = |written| reference::read(source, folder, written, &INLINE_KEY);
    let old_keys = table.old_keys.into_iter().map(reference);
    Ok(Some(Encryption {
        key: reference(table.key)?,
        old_keys: old_keys.collect::<Result<_, _>>()?,
        source: Arc::clone(source),
    }))
}

impl Encryption {
    /// Reads the keys.
    pub(crate) fn keys(&self) -> Result<Keys, Failure> {
        let old = self.old_keys.iter().map(|key| self.read(key));
        Ok(Keys {
            key: self.read(&self.key)?,
            old: old.collect::<Result<_, _>>()?,
        })
    }

    /// Returns where the keys are.
    pub(super) fn references(&self) -> impl Iterator<Item = &SecretReference> {
        let all = self.old_keys.iter().chain([&self.key]);
        all.map(Spanned::get_ref)
    }

    fn read(&self, reference: &Spanned<SecretReference>) -> Result<EncryptionKey, Failure> {
        let text = reference.get_ref().read().map_err(|unreadable| {
            self.refuse(
                reference,
                "key-unavailable",
                format!("the encryption key cannot be read: {}", unreadable.message),
                unreadable.cure,
            )
        })?;
        EncryptionKey::parse(&text).map_err(|invalid| {
            let cure = "run `procore-auth key generate --file PATH`, and refer to that file; a passphrase can be guessed, and a \
                        key cannot";
            self.refuse(reference, "key-invalid", invalid.to_string(), cure.to_owned())
        })
    }

    fn refuse(
        &self,
        reference: &Spanned<SecretReference>,
        code: &str,
        message: String,
        cure: String,
    ) -> Failure {
        let explained = Explained::new(Exit::Configuration, code, message, cure);
        self.source.locate(reference.span(), explained).into()
    }
}
