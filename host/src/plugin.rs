//! The loaded plugin.

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use semver::Version;
use tokio::sync::Semaphore;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, HasSelf, InstancePre, Linker},
};

use crate::{
    Advice, ComponentDigest, bindings, capabilities::CallState, compiled_cache::CompiledCache,
    epoch::EpochTicker, exports::Exports, regular_file,
};

/// The contract's version that this host speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// The component that was built with this library.
const BUNDLED: &[u8] = include_bytes!(env!("PROCORE_AUTH_BUNDLED"));

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

/// The longest file that is read as a component, in bytes: some fifty times as long as the one that is bundled.
const LONGEST_FILE: u64 = 16 << 20;

/// How many calls may run at once; further ones wait for their turn.
pub(crate) const CONCURRENT_CALLS: u32 = 256;

/// How many bytes of a finished call's memory are kept and zeroed for the next one, instead of being given back to the system.
/// A call rarely touches more; each page that is given back costs a fault in the next call.
const RESIDENT: usize = 1 << 20;
/// The same for its stack.
const RESIDENT_STACK: usize = 32 << 10;
/// The address space that is reserved for a call's memory in the pool: with all that 32 bits can name, no access needs a check.
const RESERVED: u64 = 4 << 30;
/// What one call may use of the pool, at most; without a pool, what is reserved for it.
const POOLED_MEMORY: usize = 256 << 20;
const CORE_INSTANCES: u32 = 8;
const TABLES: u32 = 8;

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
    /// The component does not give what the contract asks for, or gives it in another shape.
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
    /// Loads the component that was built with this library.
    pub fn bundled() -> Result<Self, LoadError> {
        Self::from_bytes(BUNDLED)
    }

    /// Loads the component that was built with this library, if it is the one that is pinned: for who wants an update of this
    /// library to stop here until its plugin was looked at.
    pub fn bundled_pinned(pinned: ComponentDigest) -> Result<Self, LoadError> {
        Self::from_pinned_bytes(BUNDLED, pinned)
    }

    /// Returns the digest of the component that was built with this library.
    pub fn bundled_digest() -> ComponentDigest {
        ComponentDigest::of(BUNDLED)
    }

    /// Loads a component from a file: a regular one, of 16 MiB at most.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::from_bytes(&read(path.as_ref())?)
    }

    /// Loads a component from a file, if it is the one that is pinned. The file is read once: what is compared is what runs.
    pub fn from_pinned_file(
        path: impl AsRef<Path>,
        pinned: ComponentDigest,
    ) -> Result<Self, LoadError> {
        Self::from_pinned_bytes(&read(path.as_ref())?, pinned)
    }

    /// Loads a component from its binary form, if it is the one that is pinned. Any other fails with [`LoadError::Pin`] before
    /// anything of it is parsed or compiled.
    pub fn from_pinned_bytes(bytes: &[u8], pinned: ComponentDigest) -> Result<Self, LoadError> {
        let found = ComponentDigest::of(bytes);
        if found != pinned {
            return Err(LoadError::Pin { pinned, found });
        }
        Self::from_bytes(bytes)
    }

    /// Loads a component from its binary form. It is checked and contained: it need not be trusted with more than the
    /// connections that it is given.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        let engine = engine()?;
        let component = Component::new(&engine, bytes).map_err(|error| invalid(&error))?;
        Self::checked(engine, &component)
    }

    /// Loads a component as [`Plugin::from_bytes`] does, and keeps what the compiler made of it in a folder for the next time, which is
    /// many times quicker: for programs that start often.
    ///
    /// What is kept is machine code, and this runs it. It does so only where the folder is 0700 and its file 0600, both belong to this
    /// account, and the file is whole; else it compiles, and where the folder can be written, keeps that. Whoever can write as this
    /// account can change what runs.
    pub fn from_bytes_cached(bytes: &[u8], folder: impl AsRef<Path>) -> Result<Self, LoadError> {
        let engine = engine()?;
        let cache = CompiledCache::in_folder(folder.as_ref());
        let component = cache
            .component(&engine, bytes)
            .map_err(|error| invalid(&error))?;
        Self::checked(engine, &component)
    }

    /// Loads the component that was built with this library as [`Plugin::from_bytes_cached`] does.
    pub fn bundled_cached(folder: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::from_bytes_cached(BUNDLED, folder)
    }

    /// Loads a component from a file as [`Plugin::from_bytes_cached`] does.
    pub fn from_file_cached(
        path: impl AsRef<Path>,
        folder: impl AsRef<Path>,
    ) -> Result<Self, LoadError> {
        Self::from_bytes_cached(&read(path.as_ref())?, folder)
    }

    /// Compiles the bundled component to machine code for [`Plugin::from_precompiled`], which skips what takes longest in loading:
    /// for programs that start often.
    pub fn precompile() -> Result<Vec<u8>, LoadError> {
        engine()?
            .precompile_component(BUNDLED)
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
        let engine = engine()?;
        // SAFETY: the caller promises that the file is what this library's compiler made, and stays as it is.
        let component = unsafe { Component::deserialize_file(&engine, path) }
            .map_err(|error| invalid(&error))?;
        Self::checked(engine, &component)
    }

    fn checked(engine: Engine, component: &Component) -> Result<Self, LoadError> {
        check_names(&engine, component)?;
        let (component, exports) =
            link(&engine, component).map_err(|error| LoadError::Contract {
                reason: format!("{error:#}"),
            })?;
        let ticker = EpochTicker::start(&engine).map_err(|error| engine_error(&error))?;
        Ok(Self(Arc::new(Loaded {
            engine,
            component,
            exports,
            ticker,
            admission: Semaphore::new(CONCURRENT_CALLS as usize),
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

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    regular_file::read(path, LONGEST_FILE).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Makes an engine with a pool of instances; where the system does not grant the pool's address space, without.
fn engine() -> Result<Engine, LoadError> {
    Engine::new(config(RESERVED).allocation_strategy(pool()))
        .or_else(|error| {
            tracing::debug!("no pool of instances: {error:#}");
            Engine::new(&config(POOLED_MEMORY as u64))
        })
        .map_err(|error| engine_error(&error))
}

fn invalid(reason: &impl fmt::Display) -> LoadError {
    LoadError::Invalid {
        reason: format!("{reason:#}"),
    }
}

fn engine_error(reason: &impl fmt::Display) -> LoadError {
    LoadError::Engine {
        reason: reason.to_string(),
    }
}

fn config(reserved: u64) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        // The contract has no `async func`: without their bookkeeping an instance is cheaper.
        .concurrency_support(false)
        .wasm_simd(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .memory_reservation(reserved);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(POOLED_MEMORY)
        .total_component_instances(CONCURRENT_CALLS)
        .total_stacks(CONCURRENT_CALLS)
        .total_memories(CONCURRENT_CALLS)
        .max_memories_per_component(1)
        .total_core_instances(CONCURRENT_CALLS * CORE_INSTANCES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_tables(CONCURRENT_CALLS * TABLES)
        .max_tables_per_component(TABLES)
        .linear_memory_keep_resident(RESIDENT)
        .async_stack_keep_resident(RESIDENT_STACK)
        .decommit_batch_size(16)
        .table_keep_resident(RESIDENT)
        // Where the kernel tells which pages a call has written to (Linux 6.7), only those are zeroed.
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
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
    fn a_pool_is_had_where_address_space_is() {
        Engine::new(config(RESERVED).allocation_strategy(pool())).expect("a pool");
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
        for foreign in [BUNDLED, b"", b"\x7fELF"] {
            assert!(matches!(load(foreign), Err(LoadError::Invalid { .. })));
        }
    }

    #[test]
    fn a_pin_decides_before_anything_is_parsed() {
        let pinned = Plugin::bundled_digest();
        assert!(Plugin::bundled_pinned(pinned).is_ok());
        // No component at all: were it parsed first, that would be told.
        let found = ComponentDigest::of(b"no component");
        match Plugin::from_pinned_bytes(b"no component", pinned) {
            Err(LoadError::Pin {
                pinned: p,
                found: f,
            }) => assert_eq!((p, f), (pinned, found)),
            other => panic!("{other:?}"),
        }
        let pinned = Plugin::from_pinned_bytes(b"no component", found);
        assert!(matches!(pinned, Err(LoadError::Invalid { .. })));
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
