//! The loaded plugin.

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use semver::Version;
use tokio::sync::Semaphore;
use wasmtime::{
    Engine,
    component::{Component, HasSelf, InstancePre, Linker},
};

use crate::{
    Advice, ComponentDigest, PluginLoader, bindings, capabilities::CallState, engine,
    epoch::EpochTicker, exports::Exports,
};

/// The contract's version that this host speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// What every name of the contract begins with.
const PACKAGE: &str = "procore:auth/";
/// What a plugin may import.
const IMPORTS: [&str; 7] = [
    "types",
    "connection",
    "http",
    "clock",
    "random",
    "store",
    "journal",
];
/// What a plugin must export.
const EXPORTS: [&str; 3] = ["auth", "api", "advice"];

/// The plugin, compiled and checked: it imports nothing but what the contract lends. Clones share it.
///
/// Loading compiles the component, which takes some 100 ms of one core: load once, and give it to every [`crate::Connection`].
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) component: InstancePre<CallState>,
    pub(crate) exports: Exports,
    pub(crate) ticker: EpochTicker,
    /// One permit for each call that the pool has room for.
    pub(crate) admission: Semaphore,
}

/// Why a component is not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The component is not the one that was pinned. It was not compiled.
    #[error("the component has the SHA-256 {found}, and {pinned} is pinned")]
    Pin {
        /// The digest that was asked for.
        pinned: ComponentDigest,
        /// The component's own.
        found: ComponentDigest,
    },
    /// The bytes are no component that this host can run.
    #[error("not a WebAssembly component that this host can run: {reason}")]
    Invalid {
        /// What the compiler said.
        reason: String,
    },
    /// The component was made for another version of the contract.
    #[error(
        "the component speaks version {component} of the contract procore:auth, and this host version {host}: use a matching pair"
    )]
    ContractVersion {
        /// The component's version.
        component: String,
        /// This host's version.
        host: &'static str,
    },
    /// The component asks for something that is not in the contract.
    #[error("the component imports {name}, which this host does not lend")]
    ForeignImport {
        /// The import's name.
        name: String,
    },
    /// The component lacks an export of the contract. That a function has another type is found by the call that needs it.
    #[error("the component does not keep the contract procore:auth@{CONTRACT_VERSION}: {reason}")]
    Contract {
        /// The first deviation.
        reason: String,
    },
    /// The system refused what the engine needs.
    #[error("cannot start the WebAssembly engine: {reason}")]
    Engine {
        /// What the system said.
        reason: String,
    },
}

impl Plugin {
    /// The component that was built with this library.
    pub(crate) const BUNDLED: &[u8] = include_bytes!(env!("PROCORE_AUTH_BUNDLED"));

    /// Loads the component that was built with this library.
    pub fn bundled() -> Result<Self, LoadError> {
        Self::loader().load_bundled()
    }

    /// Returns the digest of the component that was built with this library.
    pub fn bundled_digest() -> ComponentDigest {
        ComponentDigest::of(Self::BUNDLED)
    }

    /// Loads a component from a file: a regular one, of 16 MiB at most. It is checked and contained: it need not be trusted with more
    /// than the connections that it is given.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::loader().load_file(path)
    }

    /// Loads a component from its binary form, as [`Plugin::from_file`] does.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        Self::loader().load_bytes(bytes)
    }

    /// Begins to load a plugin that is pinned, kept compiled, or made for few calls at once.
    pub fn loader() -> PluginLoader {
        PluginLoader::new()
    }

    /// Compiles the bundled component to machine code for [`Plugin::from_precompiled`], which skips what takes longest in loading:
    /// for programs that start often.
    pub fn precompile() -> Result<Vec<u8>, LoadError> {
        engine::with_room_for(engine::DEFAULT_CONCURRENT_CALLS)?
            .precompile_component(Self::BUNDLED)
            .map_err(|error| invalid(&error))
    }

    /// Loads what [`Plugin::precompile`] made, from a file. It must have come from the same build of this library, on a machine of
    /// the same kind; what shows that it did not is [`LoadError::Invalid`].
    ///
    /// # Safety
    ///
    /// The file is machine code that this process will run, and it is mapped, not copied. It must be the unchanged output of
    /// [`Plugin::precompile`], and nobody may be able to change it from its writing until the plugin is dropped: keep it 0600 in a
    /// folder of mode 0700, for as long as the programs run that wrote it, and never take it from elsewhere. What it holds is not
    /// checked: whoever can change the file can do in this process whatever they like.
    pub unsafe fn from_precompiled(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        let engine = engine::with_room_for(engine::DEFAULT_CONCURRENT_CALLS)?;
        // SAFETY: the caller promises that the file is what this library's compiler made, and stays as it is.
        let component = unsafe { Component::deserialize_file(&engine, path) }
            .map_err(|error| invalid(&error))?;
        Self::checked(engine, &component, engine::DEFAULT_CONCURRENT_CALLS)
    }

    /// Checks a component, and prepares for so many calls at once.
    pub(crate) fn checked(
        engine: Engine,
        component: &Component,
        concurrent_calls: u32,
    ) -> Result<Self, LoadError> {
        check_names(&engine, component)?;
        let (component, exports) =
            link(&engine, component).map_err(|error| LoadError::Contract {
                reason: format!("{error:#}"),
            })?;
        let ticker = EpochTicker::start(&engine).map_err(|error| engine::refused(&error))?;
        Ok(Self(Arc::new(Loaded {
            engine,
            component,
            exports,
            ticker,
            admission: Semaphore::new((concurrent_calls as usize).min(Semaphore::MAX_PERMITS)),
        })))
    }

    /// Returns the advice that needs no connection.
    pub fn advice(&self) -> Advice {
        Advice::new(self.clone())
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.0
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").finish_non_exhaustive()
    }
}

pub(crate) fn invalid(reason: &impl fmt::Display) -> LoadError {
    LoadError::Invalid {
        reason: format!("{reason:#}"),
    }
}

fn link(
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<(InstancePre<CallState>, Exports)> {
    let mut linker = Linker::new(engine);
    bindings::Plugin::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    let component = linker.instantiate_pre(component)?;
    let exports = Exports::of(&component)?;
    Ok((component, exports))
}

/// Checks the names of imports and exports, so that a wrong component gets a better answer than a linking error.
fn check_names(engine: &Engine, component: &Component) -> Result<(), LoadError> {
    let ty = component.component_type();
    for (name, _) in ty.exports(engine) {
        if let Some((_, version)) = contract_name(name) {
            check_version(version)?;
        }
    }
    for (name, _) in ty.imports(engine) {
        match contract_name(name) {
            Some((interface, version)) => {
                check_version(version)?;
                if !IMPORTS.contains(&interface) {
                    return Err(foreign_import(name));
                }
            }
            None => return Err(foreign_import(name)),
        }
    }
    for wanted in EXPORTS {
        if !ty
            .exports(engine)
            .any(|(name, _)| contract_name(name).is_some_and(|(it, _)| it == wanted))
        {
            return Err(LoadError::Contract {
                reason: format!("{PACKAGE}{wanted} is not exported"),
            });
        }
    }
    Ok(())
}

/// Splits `procore:auth/http@0.1.0` into interface and version; `None` for a name of another package.
fn contract_name(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix(PACKAGE)?;
    Some(name.split_once('@').unwrap_or((name, "none")))
}

/// Accepts every version that is compatible by `wit/VERSIONING.md`.
fn check_version(version: &str) -> Result<(), LoadError> {
    let compatible = match (Version::parse(version), Version::parse(CONTRACT_VERSION)) {
        (Ok(theirs), Ok(ours)) => line(&theirs) == line(&ours),
        _ => false,
    };
    if compatible {
        Ok(())
    } else {
        Err(LoadError::ContractVersion {
            component: version.to_owned(),
            host: CONTRACT_VERSION,
        })
    }
}

/// What two compatible versions have in common: the major version, and while that is 0, the minor one too.
fn line(version: &Version) -> (u64, Option<u64>) {
    let minor = (version.major == 0).then_some(version.minor);
    (version.major, minor)
}

fn foreign_import(name: &str) -> LoadError {
    LoadError::ForeignImport {
        name: name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_version_is_the_contracts() {
        let world = include_str!("../../wit/world.wit");
        assert!(world.contains(&format!("package procore:auth@{CONTRACT_VERSION};")));
    }

    #[test]
    fn what_was_precompiled_loads_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plugin");
        let load = |bytes: &[u8]| {
            fs::write(&file, bytes).expect("written");
            // SAFETY: the file is this library's own, or so wrong that the compiler's mark is missing.
            unsafe { Plugin::from_precompiled(&file) }
        };
        assert!(load(&Plugin::precompile().expect("compiles")).is_ok());
        for foreign in [Plugin::BUNDLED, b"", b"\x7fELF"] {
            assert!(matches!(load(foreign), Err(LoadError::Invalid { .. })));
        }
    }

    #[test]
    fn patch_versions_are_compatible() {
        assert!(check_version("0.1.9").is_ok());
        for other in ["0.2.0", "1.1.0", "none", ""] {
            assert!(check_version(other).is_err(), "{other}");
        }
    }

    #[test]
    fn names_are_split() {
        assert_eq!(
            contract_name("procore:auth/http@0.1.0"),
            Some(("http", "0.1.0"))
        );
        assert_eq!(contract_name("wasi:io/poll@0.2.0"), None);
    }
}
