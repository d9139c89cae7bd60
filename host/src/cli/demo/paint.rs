//! Colour, where it is wanted.

use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// For titles.
pub(super) const BOLD: Style = Style::new().bold();
/// For what helps to read, and is not read itself.
pub(super) const DIM: Style = Style::new().dimmed();
/// For what holds.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// For what does not hold.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint(bool);

impl Paint {
    /// Colours nothing.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self(false);

    /// Colours where standard output is a terminal, unless `NO_COLOR` and its kin say otherwise.
    pub(super) fn for_stdout() -> Self {
        Self(AutoStream::choice(&io::stdout()) != ColorChoice::Never)
    }

    /// Returns the text in a style. Pad it before: the codes would count as letters.
    pub(super) fn apply(self, style: Style, text: &str) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BOLD, Paint};

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::PLAIN.apply(BOLD, "a"), "a");
        assert_eq!(Paint(true).apply(BOLD, "a"), "\u{1b}[1ma\u{1b}[0m");
    }
}
