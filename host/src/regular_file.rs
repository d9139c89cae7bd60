//! Files that somebody else names, and that are read whole.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

/// Opens what the path or a link there names. Does not wait for the other end of a pipe.
#[cfg(unix)]
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt as _;

    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Opens what the path or a link there names.
#[cfg(not(unix))]
pub fn open_without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Reads a file of `most` bytes at most. A pipe, a device, a folder and a longer file are refused.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_without_waiting(path)?;
    let refused = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
    if !file.metadata()?.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read <= most) {
        Ok(bytes)
    } else {
        refused(format!("it is longer than {most} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn a_longer_file_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"abc").expect("written");
        assert_eq!(read(file.path(), 3).expect("read"), b"abc");
        assert!(read(file.path(), 2).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_never_ends_or_never_begins_is_refused() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        for path in [&*pipe, "/dev/zero".as_ref(), folder.path()] {
            assert!(read(path, 10).is_err(), "{}", path.display());
        }
    }
}
