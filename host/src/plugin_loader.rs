//! How a plugin is loaded: pinned or not, kept compiled or not, and for how many calls at once.

use std::path::{Path, PathBuf};

use wasmtime::component::Component;

use crate::{
    ComponentDigest, LoadError, Plugin, compiled_cache::CompiledCache, engine, plugin::invalid,
    regular_file,
};

/// The longest file that is read as a component, in bytes: some fifty times as long as the one that is bundled.
const LONGEST_FILE: u64 = 16 << 20;

/// Configures how a [`Plugin`] is loaded: made by [`Plugin::loader`]. By default any component is accepted, nothing is kept on disk, and
/// 256 calls may run at once.
#[derive(Debug, Clone)]
#[must_use]
pub struct PluginLoader {
    pinned: Option<ComponentDigest>,
    cache: Option<PathBuf>,
    concurrent_calls: u32,
}

impl PluginLoader {
    pub(crate) fn new() -> Self {
        Self {
            pinned: None,
            cache: None,
            concurrent_calls: engine::DEFAULT_CONCURRENT_CALLS,
        }
    }

    /// Accepts the component with this digest alone. Any other fails with [`LoadError::Pin`] before anything of it is parsed or
    /// compiled; a file is read once, so that what is compared is what runs. For who wants an update to stop here until its plugin was
    /// looked at.
    pub fn pinned(mut self, digest: ComponentDigest) -> Self {
        self.pinned = Some(digest);
        self
    }

    /// Keeps what the compiler made of the component in a folder for the next time, which is many times quicker: for programs that
    /// start often. What is pinned is neither kept nor taken from there: a pin is of the component, and machine code cannot be
    /// compared with it.
    ///
    /// What is kept is machine code, and this runs it. It does so only where the folder is 0700 and its file 0600, both belong to this
    /// account, and the file is whole; else it compiles, and where the folder can be written, keeps that. Whoever can write as this
    /// account can change what runs.
    pub fn cached_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Sets how many calls of the plugin may run at once; further ones wait for their turn, and fail with
    /// [`crate::ErrorKind::Busy`] after 30 s. A call that waits for a server, for the rate limit or for the lock counts. The default is 256, and 0 counts as 1. Room
    /// for each is prepared while loading: some microseconds and 4 GiB of address space, no memory. Where the system does not grant
    /// that, each call gets its memory from the system, and is slower.
    pub fn concurrent_calls(mut self, calls: u32) -> Self {
        self.concurrent_calls = calls.max(1);
        self
    }

    /// Loads the component that was built with this library.
    pub fn load_bundled(&self) -> Result<Plugin, LoadError> {
        self.load_bytes(Plugin::BUNDLED)
    }

    /// Loads a component from a file: a regular one, of 16 MiB at most.
    pub fn load_file(&self, path: impl AsRef<Path>) -> Result<Plugin, LoadError> {
        let path = path.as_ref();
        let bytes = regular_file::read(path, LONGEST_FILE).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.load_bytes(&bytes)
    }

    /// Loads a component from its binary form. It is checked and contained: it need not be trusted with more than the connections that
    /// it is given.
    pub fn load_bytes(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        if let Some(pinned) = self.pinned {
            let found = ComponentDigest::of(bytes);
            if found != pinned {
                return Err(LoadError::Pin { pinned, found });
            }
        }
        let engine = engine::with_room_for(self.concurrent_calls)?;
        let component = match &self.cache {
            Some(folder) if self.pinned.is_none() => {
                CompiledCache::in_folder(folder).component(&engine, bytes)
            }
            _ => Component::new(&engine, bytes),
        };
        let component = component.map_err(|error| invalid(&error))?;
        Plugin::checked(engine, &component, self.concurrent_calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_decides_before_anything_is_parsed() {
        let pinned = Plugin::bundled_digest();
        assert!(Plugin::loader().pinned(pinned).load_bundled().is_ok());
        // No component at all: were it parsed first, that would be told.
        let found = ComponentDigest::of(b"no component");
        match Plugin::loader().pinned(pinned).load_bytes(b"no component") {
            Err(LoadError::Pin {
                pinned: p,
                found: f,
            }) => assert_eq!((p, f), (pinned, found)),
            other => panic!("{other:?}"),
        }
        let pinned = Plugin::loader().pinned(found).load_bytes(b"no component");
        assert!(matches!(pinned, Err(LoadError::Invalid { .. })));
    }
}
