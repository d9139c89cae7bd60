//! What the compiler made of plugins, kept in a folder, so that a program that starts often compiles once.

use std::{
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use wasmtime::{Engine, component::Component};

use crate::{ComponentDigest, StoreFailure, private_file};

const DIGEST: usize = 32;

/// How many files are kept: as many components and versions as may be in use by turns.
const KEPT: usize = 4;

/// A private folder of machine code, one file for each component.
///
/// A file is named by the component's digest and by what the compiler's output depends on (its version, its settings, the kind of
/// machine), and begins with the digest of the rest. It is read once, compared, and only then taken for machine code: a file that was
/// torn, swapped or made by another version is compiled anew. The folder must be 0700 and the file 0600, and both this account's:
/// whoever can write there could as well change this account's programs. The digest is no signature.
///
/// Nothing that goes wrong here is more than slow.
pub(crate) struct CompiledCache<'a> {
    folder: &'a Path,
}

impl<'a> CompiledCache<'a> {
    /// Uses a folder, which is created when something is kept in it.
    pub(crate) fn in_folder(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// Returns the component as machine code, compiled now or kept from an earlier time.
    pub(crate) fn component(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let file = self.file(engine, bytes);
        match self.kept(engine, &file) {
            Ok(Some(component)) => return Ok(component),
            Ok(None) => {}
            Err(failure) => tracing::warn!("what was compiled earlier is not used: {failure}"),
        }
        let compiled = Component::new(engine, bytes)?;
        let code = compiled.serialize()?;
        if let Err(error) = self.keep(&file, &code) {
            tracing::debug!("what was compiled is not kept: {error}");
        }
        Ok(compiled)
    }

    fn file(&self, engine: &Engine, bytes: &[u8]) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compiler = hasher.finish();
        let component = ComponentDigest::of(bytes);
        self.folder.join(format!("{component}-{compiler:016x}"))
    }

    fn kept(&self, engine: &Engine, file: &Path) -> Result<Option<Component>, StoreFailure> {
        if !self.folder.exists() {
            return Ok(None);
        }
        private_file::check_folder(self.folder)?;
        let Some(mut opened) = private_file::open(file)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        let read = opened.read_to_end(&mut content);
        read.map_err(|error| private_file::failure(&error, file))?;
        let Some(code) = whole(&content) else {
            return Ok(None);
        };
        // SAFETY: this is what `keep` wrote, whole, and nobody but this account could write in its place; the compiler's mark in it is
        // checked besides.
        let component = unsafe { Component::deserialize(engine, code) };
        Ok(component.ok())
    }

    /// Puts it in place of whatever was compiled before.
    fn keep(&self, file: &Path, code: &[u8]) -> io::Result<()> {
        private_file::create_folder(self.folder)?;
        private_file::check_folder(self.folder).map_err(io::Error::other)?;
        let mut temporary = NamedTempFile::new_in(self.folder)?;
        temporary.write_all(&Sha256::digest(code))?;
        temporary.write_all(code)?;
        temporary.persist(file)?;
        self.remove_oldest()
    }

    /// Removes what older components and older versions of the compiler left here, and nothing that anybody else put here.
    fn remove_oldest(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.folder)? {
            let file = entry?;
            if is_name(&file.file_name()) {
                files.push((file.metadata()?.modified()?, file.path()));
            }
        }
        files.sort();
        for (_, file) in files.iter().rev().skip(KEPT) {
            // Another process may have been quicker.
            let _ = fs::remove_file(file);
        }
        Ok(())
    }
}

/// Whether a file of the cache has such a name: a digest, and what the compiler's output depends on.
fn is_name(name: &OsStr) -> bool {
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    name.to_str()
        .and_then(|name| name.split_once('-'))
        .is_some_and(|(component, compiler)| is_hex(component, 64) && is_hex(compiler, 16))
}

/// Returns what stands after its own digest.
fn whole(content: &[u8]) -> Option<&[u8]> {
    let (digest, code) = content.split_at_checked(DIGEST)?;
    (Sha256::digest(code)[..] == *digest).then_some(code)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// A component that does nothing.
    const NOTHING: &[u8] = b"\0asm\x0d\0\x01\0";

    /// Keeps what the component was compiled to in a folder, and returns the file.
    fn kept_in(folder: &Path, engine: &Engine) -> PathBuf {
        let cache = CompiledCache::in_folder(folder);
        assert!(cache.component(engine, NOTHING).is_ok());
        let mut files = fs::read_dir(folder).expect("a folder");
        let file = files.next().expect("a file").expect("readable").path();
        assert!(files.next().is_none());
        file
    }

    #[test]
    fn what_is_kept_serves_until_a_byte_of_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("compiled");
        let engine = Engine::default();
        let file = kept_in(&folder, &engine);
        let cache = CompiledCache::in_folder(&folder);
        let kept = || cache.kept(&engine, &file).expect("private").is_some();
        assert!(kept());
        let mut bytes = fs::read(&file).expect("there");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&file, &bytes).expect("written");
        assert!(!kept());
        assert!(cache.component(&engine, NOTHING).is_ok());
        assert!(kept(), "compiled anew");
    }

    #[test]
    fn only_what_is_its_own_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("compiled");
        private_file::create_folder(&folder).expect("a folder");
        let foreign = folder.join("notes.txt");
        fs::write(&foreign, "text").expect("written");
        let older: Vec<_> = (1..=KEPT as u64)
            .map(|age| {
                let path = folder.join(format!("{}-{age:016x}", "a".repeat(64)));
                let file = fs::File::create(&path).expect("created");
                let then = SystemTime::now() - Duration::from_secs(60 * age);
                file.set_modified(then).expect("set");
                path
            })
            .collect();
        let cache = CompiledCache::in_folder(&folder);
        assert!(cache.component(&Engine::default(), NOTHING).is_ok());
        let (oldest, others) = older.split_last().expect("some");
        assert!(!oldest.exists() && foreign.exists());
        assert!(others.iter().all(|file| file.exists()));
    }

    #[cfg(unix)]
    #[test]
    fn what_others_could_have_written_is_not_run() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("compiled");
        let engine = Engine::default();
        let file = kept_in(&folder, &engine);
        let cache = CompiledCache::in_folder(&folder);
        for (path, open, closed) in [(&file, 0o666, 0o600), (&folder, 0o777, 0o700)] {
            let set = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
            set(open).expect("set");
            let Err(refused) = cache.kept(&engine, &file) else {
                panic!("read, though {}", path.display());
            };
            assert_eq!(refused.code, "insecure-permissions");
            set(closed).expect("set");
        }
        assert!(cache.kept(&engine, &file).expect("private").is_some());
    }
}
