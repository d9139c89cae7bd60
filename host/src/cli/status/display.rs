//! What standard output can show.

use std::io::{self, IsTerminal as _};

use anstream::{AutoStream, ColorChoice};

/// What standard output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Display {
    /// Columns and rows; `None` where nothing limits a line: a file, a pipe.
    pub(super) size: Option<(u16, u16)>,
    /// Whether it shows more than ASCII.
    pub(super) unicode: bool,
    /// Whether colours are wanted: on a terminal, unless `NO_COLOR` and its kin say otherwise.
    pub(super) colours: bool,
}

impl Display {
    /// A file: ASCII, lines of any length, no colours.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self {
        size: None,
        unicode: false,
        colours: false,
    };

    /// Asks the system. A window may have another size the next time.
    pub(super) fn of_stdout() -> Self {
        let size = is_terminal().then(crossterm::terminal::size);
        Self {
            size: size
                .and_then(Result::ok)
                .filter(|(columns, rows)| *columns > 0 && *rows > 0),
            unicode: supports_unicode::supports_unicode(),
            colours: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        }
    }

    /// Returns the columns of a line.
    pub(super) fn width(self) -> Option<u16> {
        self.size.map(|(columns, _)| columns)
    }
}

/// Returns whether a person looks at standard output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
