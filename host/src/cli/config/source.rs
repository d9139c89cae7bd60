//! The text of the configuration, and how a mistake in it is shown.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::secret_reference::Unreadable;

/// Keys whose values may be shown. What stands behind any other key may be a secret in the wrong place.
const SHOWN_KEYS: [&str; 20] = [
    "state",
    "journal",
    "plugin",
    "default_connection",
    "extra_ca",
    "connect_to",
    "environment",
    "client_id",
    "grant",
    "redirect_uri",
    "company_id",
    "refresh_percent",
    "refresh_jitter",
    "token_timeout",
    "lock_wait",
    "call_timeout",
    "parked_count",
    "parked_bytes",
    "parked_age",
    "pkce",
];

/// The file as it was read.
pub(crate) struct Source {
    path: PathBuf,
    text: String,
}

/// What is wrong at one place of the file, and what to write instead.
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) cure: String,
}

/// One line of the text that is being shown, and where in it the mistake is. All counts start at 1.
struct Position<'a> {
    number: usize,
    column: usize,
    width: usize,
    line: &'a str,
}

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Explains what the TOML parser or serde refused.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> Failure {
        let message = error.message().trim().replace('\n', ", ");
        let cure = if message.starts_with("unknown field") {
            "correct the key, or remove it"
        } else if message.starts_with("missing field") {
            "add the key to this table"
        } else {
            "correct the value"
        };
        let mistake = Mistake {
            cure: cure.to_owned(),
            message,
        };
        self.refuse(error.span().unwrap_or_default(), mistake)
    }

    /// Explains a mistake at a place.
    pub(super) fn refuse(&self, span: Range<usize>, mistake: Mistake) -> Failure {
        let explained = Explained::new(
            Exit::Configuration,
            "config-invalid",
            mistake.message,
            mistake.cure,
        );
        self.locate(span, explained).into()
    }

    /// Puts the place in front of an explanation, and the line below it.
    pub(super) fn locate(&self, span: Range<usize>, mut explained: Explained) -> Explained {
        let position = self.position(span);
        explained.summary = format!(
            "{}:{}:{}: {}",
            self.path.display(),
            position.number,
            position.column,
            explained.summary
        );
        explained.excerpt = Some(position.excerpt());
        explained
    }

    fn position(&self, span: Range<usize>) -> Position<'_> {
        let start = self.text.floor_char_boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + line.len();
        let end = self
            .text
            .floor_char_boundary(span.end)
            .clamp(start, line_end.max(start));
        Position {
            number: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end].chars().count().max(1),
            line,
        }
    }
}

impl Position<'_> {
    /// Renders the line with a caret under the mistake.
    fn excerpt(&self) -> String {
        let Self {
            number,
            column,
            width,
            ..
        } = self;
        let (line, longest) = self.masked();
        let indent = " ".repeat(number.to_string().len());
        // Beyond a masked value there is nothing to point at: point at its beginning.
        let column = (*column).min(longest.max(1));
        let width = (*width).min((line.chars().count() + 1).saturating_sub(column).max(1));
        let before: String = line
            .chars()
            .take(column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!(
            "{indent} |\n{number} | {line}\n{indent} | {before}{}",
            "^".repeat(width)
        )
    }

    /// Returns the line as it may be shown, and the last column that a caret may point at.
    fn masked(&self) -> (String, usize) {
        let whole = (self.line.to_owned(), usize::MAX);
        let trimmed = self.line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with(['[', '#']) && !trimmed.contains('=') {
            return whole;
        }
        let Some((key, _)) = self.line.split_once('=') else {
            return ("****".to_owned(), 1);
        };
        if SHOWN_KEYS.contains(&key.trim()) {
            return whole;
        }
        (format!("{key}= ****"), key.chars().count() + 3)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

impl From<Unreadable> for Mistake {
    fn from(Unreadable { message, cure }: Unreadable) -> Self {
        Self { message, cure }
    }
}
