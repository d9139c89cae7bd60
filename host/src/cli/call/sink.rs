//! Where the body of an answer goes: to standard output, into a file, or into a JSON document.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use procore_auth_host::internals::sync_folder;
use tempfile::NamedTempFile;

use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;

/// Where the body of an answer goes, piece by piece.
pub(super) enum Sink<'a> {
    /// To standard output.
    Results(&'a Terminal),
    /// Into a file.
    File(Unfinished),
    /// Into memory, for a document.
    Memory(Vec<u8>),
}

impl<'a> Sink<'a> {
    /// Chooses the sink. A refusal is no content for a file: it goes where it is seen.
    pub(super) fn choose(
        terminal: &'a Terminal,
        output: Option<&Path>,
        status: u16,
    ) -> Result<Self, Failure> {
        match output {
            Some(path) if status < 400 => Unfinished::beside(path).map(Self::File),
            _ if terminal.is_json() => Ok(Self::Memory(Vec::new())),
            _ => Ok(Self::Results(terminal)),
        }
    }

    /// Takes the next piece.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Results(terminal) => terminal.bytes(piece),
            Self::File(file) => file.write(piece),
            Self::Memory(bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }
}

/// Returns the folder that a file is in.
fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// A file that gets its name when it is whole. Until then it lies beside under another one; a process that is killed leaves that
/// one behind, as `.NAME.….part`.
pub(super) struct Unfinished {
    file: NamedTempFile<File>,
    target: PathBuf,
}

impl Unfinished {
    fn beside(target: &Path) -> Result<Self, Failure> {
        let refused = |error| Failure::file("write", target, &error);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{name}.");
        builder.prefix(&prefix).suffix(".part");
        // As any file that the caller makes, and not a private one.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder_of(target));
        Ok(Self {
            file: file.map_err(refused)?,
            target: target.to_owned(),
        })
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(piece);
        written.map_err(|error| Failure::file("write", &self.target, &error))
    }

    /// Gives the file its name, in place of any that had it. File and name survive a loss of power once this returns.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let target = self.target;
        let named = self
            .file
            .as_file()
            .sync_all()
            .and_then(|()| Ok(self.file.persist(&target)?))
            .and_then(|_| sync_folder(folder_of(&target)));
        named.map_err(|error| Failure::file("write", &target, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::{Format, capture};

    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("drawing.pdf");
        std::fs::write(&path, "old").expect("written");
        let (terminal, results, _) = capture::terminal(Format::Text);
        let files = || std::fs::read_dir(folder.path()).expect("read").count();

        let mut broken = Sink::choose(&terminal, Some(&path), 200).expect("a sink");
        broken.write(b"half").expect("written");
        assert_eq!(files(), 2);
        drop(broken);
        assert_eq!(
            (files(), std::fs::read(&path).expect("read")),
            (1, b"old".to_vec())
        );

        let mut whole = Sink::choose(&terminal, Some(&path), 200).expect("a sink");
        whole.write(b"new").expect("written");
        let Sink::File(file) = whole else {
            panic!("no file")
        };
        file.finish().expect("named");
        assert_eq!(
            (files(), std::fs::read(&path).expect("read")),
            (1, b"new".to_vec())
        );
        assert_eq!(results.text(), "");
    }

    #[test]
    fn a_refusal_goes_where_it_is_seen() {
        let path = Path::new("/nonexistent/file");
        let (terminal, results, _) = capture::terminal(Format::Text);
        let mut sink = Sink::choose(&terminal, Some(path), 404).expect("a sink");
        sink.write(b"not found").expect("written");
        assert_eq!(results.text(), "not found");
    }
}
