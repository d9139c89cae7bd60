//! Which plugin is loaded: the bundled one or a file, and the digest that it must have.

use std::path::{Path, PathBuf};

use procore_auth_host::{ComponentDigest, LoadError, Plugin};
use toml::Spanned;

use super::locate;
use super::shape::{PluginTable, PluginWritten};
use super::source::{Mistake, Source};
use crate::cli::failure::Failure;

/// How many calls of the plugin may run at once: one for each of the 32 connections that are visited at once, and 8 for what is asked
/// beside.
const CONCURRENT_CALLS: u32 = 32 + 8;

/// Which plugin is used.
#[derive(Debug, Default)]
pub(crate) struct PluginConfig {
    /// The file of the component; `None` for the bundled one.
    pub(crate) path: Option<PathBuf>,
    /// The digest that it must have; `None` for any.
    pub(crate) pin: Option<ComponentDigest>,
}

impl PluginConfig {
    /// Loads it, as the machine code that an earlier process left in the cache where there is some and none is pinned.
    pub(crate) fn load(&self) -> Result<Plugin, LoadError> {
        let mut loader = Plugin::loader().concurrent_calls(CONCURRENT_CALLS);
        if let Some(pin) = self.pin {
            loader = loader.pinned(pin);
        }
        if let Some(cache) = locate::cache() {
            loader = loader.cached_in(cache);
        }
        match &self.path {
            Some(path) => loader.load_file(path),
            None => loader.load_bundled(),
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
