//! A journal in a file of JSON lines.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{Event, Journal, Severity, private_file, time::rfc3339};

/// Appends one JSON object per event to a file:
///
/// `{"at":"2026-11-23T15:36:27.123Z","connection":"acme","severity":"info","code":"token-refreshed","message":"…","fields":{"lifetime":"5400"}}`
///
/// The file is 0600 from its creation; a symbolic link is refused. It is opened anew for each event, so that it can be
/// renamed away at any time to rotate it. Several processes may share it: each line is one write.
///
/// An event that cannot be written goes to `tracing` as an error, and is counted.
#[derive(Debug)]
pub struct JsonLinesJournal {
    path: PathBuf,
    lost: AtomicU64,
    /// One line at a time: a write that the system cuts in two must not have another in between.
    writing: Mutex<()>,
}

impl JsonLinesJournal {
    /// Opens the file, and creates it where it is missing.
    ///
    /// Errors: where the path is a symbolic link or no file, or where it cannot be written.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        private_file::open_for_appending(&path)?;
        Ok(Self {
            path,
            lost: AtomicU64::new(0),
            writing: Mutex::default(),
        })
    }

    /// Returns where events go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many events could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn append(&self, line: &Line<'_>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        private_file::open_for_appending(&self.path)?.write_all(&bytes)
    }
}

impl Journal for JsonLinesJournal {
    fn record(&self, connection: &str, event: &Event) {
        let line = Line {
            at: rfc3339(event.at),
            connection,
            severity: event.severity,
            code: &event.code,
            message: &event.message,
            fields: Fields(&event.fields),
        };
        if let Err(error) = self.append(&line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                target: "procore_auth",
                path = %self.path.display(),
                code = ?event.code,
                %error,
                "an event could not be written to the journal"
            );
        }
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    at: String,
    connection: &'a str,
    severity: Severity,
    code: &'a str,
    message: &'a str,
    fields: Fields<'a>,
}

/// The fields as an object, in their order.
pub(crate) struct Fields<'a>(pub(crate) &'a [(String, String)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::JsonLinesJournal;
    use crate::{Event, Journal, Severity};

    fn event() -> Event {
        Event {
            at: 1_700_000_000_123,
            severity: Severity::Alert,
            code: "sign-in-required".to_owned(),
            message: "line\nbreak \"quote\"".to_owned(),
            fields: vec![
                ("z".to_owned(), "1".to_owned()),
                ("a".to_owned(), "\u{0}".to_owned()),
            ],
        }
    }

    #[test]
    fn writes_one_object_a_line() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let journal = JsonLinesJournal::open(&path).expect("opens");
        journal.record("acme", &event());
        fs::rename(&path, folder.path().join("events.1.jsonl")).expect("rotated");
        journal.record("acme", &event());
        journal.record("acme", &event());
        let text = fs::read_to_string(&path).expect("there");
        let line = r#"{"at":"2023-11-14T22:13:20.123Z","connection":"acme","severity":"alert","code":"sign-in-required","message":"line\nbreak \"quote\"","fields":{"z":"1","a":"\u0000"}}"#;
        assert_eq!(text, format!("{line}\n{line}\n"));
        assert_eq!(journal.lost(), 0);
    }

    #[test]
    fn counts_what_it_cannot_write() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        let journal = JsonLinesJournal::open(&path).expect("opens");
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("created");
        journal.record("acme", &event());
        journal.record("acme", &event());
        assert_eq!(journal.lost(), 2);
        fs::remove_dir(&path).expect("removed");
        journal.record("acme", &event());
        assert_eq!(journal.lost(), 2);
        assert_eq!(fs::read_to_string(&path).expect("there").lines().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn is_private_and_no_link() {
        use std::os::unix::fs::{MetadataExt, symlink};
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("events.jsonl");
        JsonLinesJournal::open(&path).expect("opens");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        let link = folder.path().join("link");
        symlink(&path, &link).expect("linked");
        assert!(JsonLinesJournal::open(&link).is_err());
        let dangling = folder.path().join("dangling");
        symlink("nowhere", &dangling).expect("linked");
        assert!(JsonLinesJournal::open(&dangling).is_err());
        assert!(!folder.path().join("nowhere").exists());
    }
}
