//! Reads where a secret is, and refuses the secret itself.

use std::path::Path;

use toml::Spanned;

use super::locate;
use super::shape::Written;
use super::source::{Mistake, Source};
use crate::cli::failure::Failure;
use crate::cli::secret_reference::{
    KeyringEntry, SecretFile, SecretReference, Unreadable, VariableName,
};

/// What to say where a secret itself stands in the file.
pub(super) struct Inline {
    pub(super) message: &'static str,
    pub(super) cure: &'static str,
}

/// Reads a reference. Paths are relative to `folder`.
pub(super) fn read(
    source: &Source,
    folder: &Path,
    written: Spanned<Written>,
    inline: &Inline,
) -> Result<Spanned<SecretReference>, Failure> {
    let span = written.span();
    let reference = reference(folder, written.into_inner(), inline);
    match reference {
        Ok(reference) => Ok(Spanned::new(span, reference)),
        Err(unreadable) => Err(source.refuse(span, Mistake::from(unreadable))),
    }
}

fn reference(
    folder: &Path,
    written: Written,
    inline: &Inline,
) -> Result<SecretReference, Unreadable> {
    Ok(match written {
        Written::Inline(_) => {
            return Err(Unreadable {
                message: inline.message.to_owned(),
                cure: inline.cure.to_owned(),
            });
        }
        Written::Env(name) => SecretReference::Env(VariableName::parse(name)?),
        Written::File(written) => {
            let path = locate::resolve(folder, Path::new(&written));
            SecretReference::File(SecretFile::new(path, &written))
        }
        Written::Keyring(name, or) => {
            let or = or.map(|written| reference(folder, *written, inline));
            SecretReference::Keyring(KeyringEntry::parse(name)?, or.transpose()?.map(Box::new))
        }
    })
}
