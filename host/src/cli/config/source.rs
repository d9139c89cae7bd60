//! The text of the configuration, and how a mistake in it is shown.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::excerpt::{Position, Shown};
use super::message;
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::secret_reference::Unreadable;

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

    /// Explains what the TOML parser refused. Where one value ends and the next begins is not known then.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> Failure {
        self.explain(error, Shown::KeyAlone)
    }

    /// Explains what serde refused.
    pub(super) fn shape(&self, error: &toml::de::Error) -> Failure {
        self.explain(error, Shown::Harmless)
    }

    fn explain(&self, error: &toml::de::Error, shown: Shown) -> Failure {
        let explained = invalid(message::reword(error.message()));
        self.place(error.span().unwrap_or_default(), explained, shown)
            .into()
    }

    /// Explains a mistake at a place.
    pub(super) fn refuse(&self, span: Range<usize>, mistake: Mistake) -> Failure {
        self.locate(span, invalid(mistake)).into()
    }

    /// Puts the place in front of an explanation, and the line below it.
    pub(super) fn locate(&self, span: Range<usize>, explained: Explained) -> Explained {
        self.place(span, explained, Shown::Harmless)
    }

    fn place(&self, span: Range<usize>, mut explained: Explained, shown: Shown) -> Explained {
        let position = self.position(span);
        explained.summary = format!(
            "{}:{}:{}: {}",
            self.path.display(),
            position.number,
            position.column,
            explained.summary
        );
        explained.excerpt = Some(position.excerpt(shown));
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

fn invalid(mistake: Mistake) -> Explained {
    Explained::new(
        Exit::Configuration,
        "config-invalid",
        mistake.message,
        mistake.cure,
    )
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
