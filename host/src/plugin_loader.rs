//! Loads plugins otherwise than [`Plugin::bundled`] and [`Plugin::from_file`] do.

use std::path::{Path, PathBuf};

use wasmtime::component::Component;

use crate::{
    ComponentDigest, LoadError, Plugin, compiled_cache::CompiledCache, engine, plugin::invalid,
    regular_file,
};

/// The longest file that is read as a component, in bytes: some fifty times as long as the one that is bundled.
const LONGEST_FILE: u64 = 16 << 20;

/// Loads a plugin: made by [`Plugin::loader`].
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
            concurrent_calls: engine::CONCURRENT_CALLS,
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
    /// start often. What is pinned is neither kept nor taken from there.
    ///
    /// What is kept is machine code, and this runs it. It does so only where the folder is 0700 and its file 0600, both belong to this
    /// account, and the file is whole; else it compiles, and where the folder can be written, keeps that. Whoever can write as this
    /// account can change what runs.
    pub fn cached_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Sets how many calls of the plugin may run at once, at least one; further ones wait for their turn. The default is 256. Room for
    /// each is prepared while loading, which takes some microseconds: for programs that start often, and make few calls at once.
    pub fn concurrent_calls(mut self, calls: u32) -> Self {
        self.concurrent_calls = calls.max(1);
        self
    }

    /// Loads the component that was built with this library.
    pub fn bundled(&self) -> Result<Plugin, LoadError> {
        self.bytes(Plugin::BUNDLED)
    }

    /// Loads a component from a file: a regular one, of 16 MiB at most.
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Plugin, LoadError> {
        let path = path.as_ref();
        let bytes = regular_file::read(path, LONGEST_FILE).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.bytes(&bytes)
    }

    /// Loads a component from its binary form. It is checked and contained: it need not be trusted with more than the connections that
    /// it is given.
    pub fn bytes(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
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
    use crate::Environment;

    #[test]
    fn a_pin_decides_before_anything_is_parsed() {
        let pinned = Plugin::bundled_digest();
        assert!(Plugin::loader().pinned(pinned).bundled().is_ok());
        // No component at all: were it parsed first, that would be told.
        let found = ComponentDigest::of(b"no component");
        match Plugin::loader().pinned(pinned).bytes(b"no component") {
            Err(LoadError::Pin {
                pinned: p,
                found: f,
            }) => assert_eq!((p, f), (pinned, found)),
            other => panic!("{other:?}"),
        }
        let pinned = Plugin::loader().pinned(found).bytes(b"no component");
        assert!(matches!(pinned, Err(LoadError::Invalid { .. })));
    }

    #[tokio::test]
    async fn calls_that_have_no_room_wait_for_their_turn() {
        let plugin = Plugin::loader().concurrent_calls(0).bundled();
        let advice = plugin.expect("a plugin").advice();
        let asked = (0..8).map(|_| {
            let advice = advice.clone();
            tokio::spawn(async move { advice.endpoints(Environment::Sandbox).await })
        });
        for answer in asked.collect::<Vec<_>>() {
            answer.await.expect("no panic").expect("an answer");
        }
    }
}
