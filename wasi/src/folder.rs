//! A preopened folder, or one below it. Links are not followed.

use std::time::Duration;

use procore_auth_lending::{StoreFailure, hex::hex};
use wasi::filesystem::{
    preopens,
    types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags},
};

use crate::{lease::Ground, time};

/// What is read or written at once.
const CHUNK: usize = 64 << 10;

/// How many files may go while a folder is listed.
const MOST_GONE: usize = 10_000;

/// A folder, with its name for messages.
pub(crate) struct Folder {
    descriptor: Descriptor,
    path: String,
}

impl Folder {
    /// Opens a folder by its absolute path; `None` means the one that is preopened.
    pub(crate) fn open(path: Option<&str>) -> Result<Self, StoreFailure> {
        let mut preopened = preopens::get_directories();
        let Some(path) = path else {
            let only = preopened.pop().filter(|_| preopened.is_empty());
            let (descriptor, path) = only.ok_or_else(|| {
                let message = "there is not exactly one preopened folder; set PROCORE_AUTH_STORE";
                StoreFailure::new("io", message)
            })?;
            return Ok(Self { descriptor, path });
        };
        let (descriptor, rest) = nearest(preopened, path)?;
        let mut folder = Self {
            descriptor,
            path: path.to_owned(),
        };
        if !rest.is_empty() {
            let opened = folder.open_folder(&rest);
            folder.descriptor = opened.map_err(|code| failure(code, path))?;
        }
        Ok(folder)
    }

    /// Opens the folder of this name in it, and creates it where it is missing.
    pub(crate) fn subfolder(&self, name: &str) -> Result<Self, StoreFailure> {
        let path = self.path_of(name);
        let at = |code| failure(code, &path);
        match self.descriptor.create_directory_at(name) {
            Ok(()) => self.sync()?,
            Err(ErrorCode::Exist) => {}
            Err(code) => return Err(at(code)),
        }
        Ok(Self {
            descriptor: self.open_folder(name).map_err(at)?,
            path,
        })
    }

    /// Names a file in it.
    pub(crate) fn path_of(&self, name: &str) -> String {
        format!("{}/{name}", self.path.trim_end_matches('/'))
    }

    /// Reads a file, up to one byte more than `limit`; `None` where there is none.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, StoreFailure> {
        let at = |code| failure(code, &self.path_of(name));
        let found = match self.descriptor.stat_at(PathFlags::empty(), name) {
            Err(ErrorCode::NoEntry) => return Ok(None),
            found => found.map_err(at)?,
        };
        if found.type_ != DescriptorType::RegularFile {
            let message = format!("{} is not a file", self.path_of(name));
            return Err(StoreFailure::new("insecure-permissions", message));
        }
        match self.open_at(name, OpenFlags::empty(), DescriptorFlags::READ) {
            Err(ErrorCode::NoEntry) => Ok(None),
            opened => read(&opened.map_err(at)?, limit).map(Some).map_err(at),
        }
    }

    /// When a file was changed last, in milliseconds since 1970; `None` where that is not known.
    pub(crate) fn changed(&self, name: &str) -> Option<u64> {
        let stat = self.descriptor.stat_at(PathFlags::empty(), name).ok()?;
        let at = stat.data_modification_timestamp?;
        Some(at.seconds * 1000 + u64::from(at.nanoseconds / 1_000_000))
    }

    /// Creates a file for writing; `None` where there is one.
    pub(crate) fn create_new(&self, name: &str) -> Result<Option<NewFile>, StoreFailure> {
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        match self.open_at(name, flags, DescriptorFlags::WRITE) {
            Ok(descriptor) => Ok(Some(NewFile {
                descriptor,
                path: self.path_of(name),
            })),
            Err(ErrorCode::Exist) => Ok(None),
            Err(code) => Err(failure(code, &self.path_of(name))),
        }
    }

    /// Opens a file for writing, and creates it where it is missing.
    pub(crate) fn open_for_writing(&self, name: &str) -> Result<NewFile, StoreFailure> {
        let path = self.path_of(name);
        let opened = self.open_at(name, OpenFlags::CREATE, DescriptorFlags::WRITE);
        match opened {
            Ok(descriptor) => Ok(NewFile { descriptor, path }),
            Err(code) => Err(failure(code, &path)),
        }
    }

    /// Gives a file another name, whatever has that name. Returns whether there was such a file.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<bool, StoreFailure> {
        match self.descriptor.rename_at(from, &self.descriptor, to) {
            Ok(()) => Ok(true),
            Err(ErrorCode::NoEntry) => Ok(false),
            Err(code) => Err(failure(code, &self.path_of(to))),
        }
    }

    /// Removes a file. Does nothing where there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<(), StoreFailure> {
        match self.descriptor.unlink_file_at(name) {
            Ok(()) | Err(ErrorCode::NoEntry) => Ok(()),
            Err(code) => Err(failure(code, &self.path_of(name))),
        }
    }

    /// Returns the names in it.
    pub(crate) fn names(&self) -> Result<Vec<String>, StoreFailure> {
        let at = |code| failure(code, &self.path);
        let entries = self.descriptor.read_directory().map_err(at)?;
        let (mut names, mut gone) = (Vec::new(), 0);
        loop {
            match entries.read_directory_entry() {
                Ok(Some(entry)) => names.push(entry.name),
                Ok(None) => return Ok(names),
                // Runtimes look at each file that they list: this one was removed meanwhile.
                Err(ErrorCode::NoEntry) if gone < MOST_GONE => gone += 1,
                Err(code) => return Err(at(code)),
            }
        }
    }

    /// Makes the names in it durable.
    pub(crate) fn sync(&self) -> Result<(), StoreFailure> {
        match self.descriptor.sync() {
            // Some file systems, and some runtimes, know no such thing for a folder.
            Ok(())
            | Err(ErrorCode::Invalid | ErrorCode::Unsupported | ErrorCode::BadDescriptor) => Ok(()),
            Err(code) => Err(failure(code, &self.path)),
        }
    }

    fn open_folder(&self, name: &str) -> Result<Descriptor, ErrorCode> {
        let changing = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        match self.open_at(name, OpenFlags::DIRECTORY, changing) {
            // Node's shim knows no such flag, and permits what the preopened folder does.
            Err(ErrorCode::Unsupported) => {
                self.open_at(name, OpenFlags::DIRECTORY, DescriptorFlags::READ)
            }
            opened => opened,
        }
    }

    fn open_at(
        &self,
        name: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Descriptor, ErrorCode> {
        self.descriptor
            .open_at(PathFlags::empty(), name, open, flags)
    }
}

impl Ground for Folder {
    type File = NewFile;

    fn names(&self) -> Result<Vec<String>, StoreFailure> {
        self.names()
    }

    fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, StoreFailure> {
        self.read(name, limit)
    }

    fn changed(&self, name: &str) -> Option<u64> {
        self.changed(name)
    }

    fn create_new(&self, name: &str) -> Result<Option<NewFile>, StoreFailure> {
        self.create_new(name)
    }

    fn write(&self, file: &NewFile, bytes: &[u8]) -> Result<(), StoreFailure> {
        file.write(bytes)
    }

    fn remove(&self, name: &str) -> Result<(), StoreFailure> {
        self.remove(name)
    }

    fn now(&self) -> u64 {
        time::now()
    }

    fn elapsed(&self) -> Duration {
        time::elapsed()
    }

    fn sleep(&self, span: Duration) {
        time::sleep(span);
    }

    fn nonce(&self) -> String {
        hex(&time::random(8))
    }
}

/// A file that is being written.
pub(crate) struct NewFile {
    descriptor: Descriptor,
    path: String,
}

impl NewFile {
    /// Writes from the beginning, durably.
    pub(crate) fn write(&self, mut bytes: &[u8]) -> Result<(), StoreFailure> {
        let at = |code| failure(code, &self.path);
        let mut offset = 0;
        while !bytes.is_empty() {
            let chunk = &bytes[..bytes.len().min(CHUNK)];
            let written = self.descriptor.write(chunk, offset).map_err(at)?;
            let count = usize::try_from(written)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            if count == 0 {
                return Err(at(ErrorCode::Io));
            }
            offset += written;
            bytes = &bytes[count..];
        }
        self.descriptor.sync().map_err(at)
    }

    /// Appends a line. Not synced: a journal, not a store.
    pub(crate) fn append(&self, line: &[u8]) -> Result<(), StoreFailure> {
        let stream = self.descriptor.append_via_stream();
        let stream = stream.map_err(|code| failure(code, &self.path))?;
        // What one call of the stream takes at most.
        for part in line.chunks(4096) {
            let written = stream.blocking_write_and_flush(part);
            written.map_err(|_| failure(ErrorCode::Io, &self.path))?;
        }
        Ok(())
    }
}

/// Reads a file by its absolute path.
pub(crate) fn read_file(path: &str, limit: usize) -> Result<Vec<u8>, StoreFailure> {
    let (descriptor, name) = nearest(preopens::get_directories(), path)?;
    // A secret is often mounted as a link.
    let at = |code| failure(code, path);
    let follow = PathFlags::SYMLINK_FOLLOW;
    let opened = descriptor.open_at(follow, &name, OpenFlags::empty(), DescriptorFlags::READ);
    read(&opened.map_err(at)?, limit).map_err(at)
}

/// Splits an absolute path into its folder and its name.
pub(crate) fn parent(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(split) => split,
        None => (".", path),
    }
}

/// Finds the preopened folder that the path is in, the innermost of several, and the rest of the path.
fn nearest(
    preopened: Vec<(Descriptor, String)>,
    path: &str,
) -> Result<(Descriptor, String), StoreFailure> {
    let within = preopened.into_iter().filter_map(|(descriptor, name)| {
        let rest = path.strip_prefix(name.trim_end_matches('/'))?;
        let is_within = rest.is_empty() || rest.starts_with('/');
        is_within.then(|| (name.len(), descriptor, rest.trim_matches('/').to_owned()))
    });
    let innermost = within.max_by_key(|(length, ..)| *length);
    let (_, descriptor, rest) = innermost.ok_or_else(|| {
        StoreFailure::new(
            "permission-denied",
            format!("{path} is in no preopened folder"),
        )
    })?;
    Ok((descriptor, rest))
}

fn read(file: &Descriptor, limit: usize) -> Result<Vec<u8>, ErrorCode> {
    let mut bytes = Vec::new();
    while bytes.len() <= limit {
        let most = CHUNK.min(limit + 1 - bytes.len());
        let (chunk, is_end) = file.read(most as u64, bytes.len() as u64)?;
        bytes.extend_from_slice(&chunk);
        if is_end || chunk.is_empty() {
            break;
        }
    }
    Ok(bytes)
}

fn failure(code: ErrorCode, path: &str) -> StoreFailure {
    let kind = match code {
        ErrorCode::InsufficientSpace | ErrorCode::Quota => "full",
        ErrorCode::ReadOnly => "read-only",
        ErrorCode::Access | ErrorCode::NotPermitted => "permission-denied",
        ErrorCode::Loop | ErrorCode::NotDirectory => "insecure-permissions",
        _ => "io",
    };
    StoreFailure::new(kind, format!("{path}: {}", code.message()))
}
