//! Which plugin is loaded: the bundled one or a file, and the digest that it must have.

use std::path::{Path, PathBuf};

use procore_auth_host::{ComponentDigest, LoadError, Plugin};
use toml::Spanned;

use super::locate;
use super::shape::{PluginTable, PluginWritten};
use super::source::{Mistake, Source};
use crate::cli::failure::Failure;

/// Which plugin is used.
#[derive(Debug, Default)]
pub(crate) struct PluginConfig {
    /// The file of the component; `None` for the bundled one.
    pub(crate) path: Option<PathBuf>,
    /// The digest that it must have; `None` for any.
    pub(crate) pin: Option<ComponentDigest>,
}

impl PluginConfig {
    /// Loads it, as the machine code that an earlier process left in the cache where there is some. What is pinned is not taken from
    /// there: any other than the pinned component is refused before it is compiled.
    pub(crate) fn load(&self) -> Result<Plugin, LoadError> {
        match (&self.path, self.pin, locate::cache()) {
            (Some(path), Some(pin), _) => Plugin::from_pinned_file(path, pin),
            (None, Some(pin), _) => Plugin::bundled_pinned(pin),
            (Some(path), None, Some(cache)) => Plugin::from_file_cached(path, cache),
            (None, None, Some(cache)) => Plugin::bundled_cached(cache),
            (Some(path), None, None) => Plugin::from_file(path),
            (None, None, None) => Plugin::bundled(),
        }
    }
}

/// Reads the key `plugin`. A path is relative to `folder`.
pub(super) fn read(
    source: &Source,
    folder: &Path,
    written: Option<PluginWritten>,
) -> Result<PluginConfig, Failure> {
    let (path, sha256) = match written {
        None => (None, None),
        Some(PluginWritten::Path(path)) => (Some(path), None),
        Some(PluginWritten::Table(PluginTable { path, sha256 })) => (path, sha256),
    };
    Ok(PluginConfig {
        path: path.map(|path| locate::resolve(folder, &path)),
        pin: sha256.map(|digits| pin(source, &digits)).transpose()?,
    })
}

fn pin(source: &Source, digits: &Spanned<String>) -> Result<ComponentDigest, Failure> {
    digits.get_ref().parse().map_err(|error| {
        let mistake = Mistake {
            message: format!("{error}"),
            cure: "copy the digest whole: `sha256sum FILE` prints that of a file, `procore-auth --version` that of the bundled plugin"
                .to_owned(),
        };
        source.refuse(digits.span(), mistake)
    })
}
