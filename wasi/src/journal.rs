//! The journal: one JSON object a line, on standard error or in a file, as the native host writes it.

use jiff::Timestamp;
use procore_auth_lending::ConnectionName;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{folder::Folder, folder::parent, time};

/// How much an event matters.
#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Debug,
    Info,
    Warning,
    Alert,
}

/// The most bytes of a code and of a field's name, of a message and of a field's value, and the most fields.
const NAME: usize = 64;
const TEXT: usize = 2048;
const FIELDS: usize = 32;

/// Where events go.
pub(crate) struct Journal {
    connection: String,
    /// `None`: standard error.
    path: Option<String>,
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
struct Fields<'a>(&'a [(&'a str, &'a str)]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter().take(FIELDS) {
            map.serialize_entry(shortened(name, NAME), shortened(value, TEXT))?;
        }
        map.end()
    }
}

impl Journal {
    pub(crate) fn new(connection: &ConnectionName, path: Option<&str>) -> Self {
        Self {
            connection: connection.to_string(),
            path: path.map(str::to_owned),
        }
    }

    /// Records an event. What the file does not take goes to standard error.
    pub(crate) fn record(
        &self,
        severity: Severity,
        code: &str,
        message: &str,
        fields: &[(&str, &str)],
    ) {
        let at = i64::try_from(time::now()).ok();
        let at = at.and_then(|at| Timestamp::from_millisecond(at).ok());
        let line = Line {
            at: at.unwrap_or(Timestamp::MAX).to_string(),
            connection: &self.connection,
            severity,
            code: shortened(code, NAME),
            message: shortened(message, TEXT),
            fields: Fields(fields),
        };
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        if !self.path.as_deref().is_some_and(|path| append(path, &line)) {
            to_stderr(&line);
        }
    }

    /// Records an event that is for a person.
    pub(crate) fn tell(
        &self,
        severity: Severity,
        code: &str,
        message: &str,
        cause: &str,
        remedy: &str,
    ) {
        self.record(
            severity,
            code,
            message,
            &[("cause", cause), ("remedy", remedy)],
        );
    }
}

/// Writes to standard error. Where even that fails, nobody is there to tell.
pub(crate) fn to_stderr(bytes: &[u8]) {
    let stderr = wasi::cli::stderr::get_stderr();
    // What one call of the stream takes at most.
    for part in bytes.chunks(4096) {
        if stderr.blocking_write_and_flush(part).is_err() {
            return;
        }
    }
}

fn append(path: &str, line: &[u8]) -> bool {
    let (folder, name) = parent(path);
    let folder = Folder::open(Some(folder));
    let file = folder.and_then(|folder| folder.open_for_writing(name));
    file.and_then(|file| file.append(line)).is_ok()
}

fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
