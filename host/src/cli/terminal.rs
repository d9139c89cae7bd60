//! The one way out: results to standard output, words for people to standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::exit::Exit;
use super::failure::{Explained, Failure};

/// What standard output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For a person.
    Text,
    /// For a program: one JSON document a line.
    Json,
}

/// Where the tool writes.
pub(crate) struct Terminal {
    format: Format,
    results: Mutex<Box<dyn Write + Send>>,
    notes: Mutex<Box<dyn Write + Send>>,
}

impl Terminal {
    /// Writes to the process's standard output and standard error.
    pub(crate) fn standard(format: Format) -> Self {
        Self::new(format, io::stdout(), io::stderr())
    }

    /// Writes to the given sinks.
    pub(crate) fn new(
        format: Format,
        results: impl Write + Send + 'static,
        notes: impl Write + Send + 'static,
    ) -> Self {
        Self {
            format,
            results: Mutex::new(Box::new(results)),
            notes: Mutex::new(Box::new(notes)),
        }
    }

    /// Returns whether results are for a program.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints a line of the result.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Failure> {
        let text = harmless(&text);
        self.result(|out| writeln!(out, "{text}"))
    }

    /// Prints one JSON document on a line of its own.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.result(|out| {
            serde_json::to_writer(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.result(|out| out.write_all(bytes))
    }

    /// Tells the person something beside the result. Where standard error is gone, nobody can be told.
    pub(crate) fn note(&self, text: impl Display) {
        self.draw(format_args!("{}\n", harmless(&text)));
    }

    /// Asks the person for a line: a note that stays on its line.
    pub(crate) fn prompt(&self, text: impl Display) {
        self.draw(harmless(&text));
    }

    /// Writes a note with its colours and movements of the cursor: nothing in it may come from elsewhere.
    pub(crate) fn draw(&self, text: impl Display) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = write!(notes, "{text}").and_then(|()| notes.flush());
    }

    fn result(
        &self,
        write: impl FnOnce(&mut Box<dyn Write + Send>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut out = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| unwritable(&error))
    }
}

/// Replaces what would command a terminal rather than be shown by it: a server's words and people's names are in these texts.
pub(crate) fn harmless(text: &impl Display) -> String {
    let commands = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.to_string().replace(commands, "\u{fffd}")
}

/// Returns whether a person sits in front of this process: they can read what it says and type.
pub(crate) fn is_attended() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn unwritable(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::BrokenPipe;
    }
    Explained::new(
        Exit::Refused,
        "output",
        format!("Cannot write to standard output: {error}."),
        "Check where the output is redirected to.",
    )
    .into()
}

#[cfg(test)]
pub(crate) mod capture {
    //! A terminal that keeps what was written.

    use std::io::{self, Write};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::{Format, Terminal};

    /// What was written so far.
    #[derive(Clone, Default)]
    pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        /// Returns the text.
        pub(crate) fn text(&self) -> String {
            let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }

    impl Write for Captured {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(buf)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Makes a terminal, and the results and notes that it will have written.
    pub(crate) fn terminal(format: Format) -> (Terminal, Captured, Captured) {
        let (results, notes) = (Captured::default(), Captured::default());
        let terminal = Terminal::new(format, results.clone(), notes.clone());
        (terminal, results, notes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::{Exit, Failure, Format, Terminal, capture};

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let terminal = Terminal::new(Format::Text, Closed, Closed);
        let failure = terminal.line("x").expect_err("closed");
        assert!(matches!(failure, Failure::BrokenPipe));
        assert_eq!(failure.exit(), Exit::Done);
        let failure = terminal.json(&1).expect_err("closed");
        assert!(matches!(failure, Failure::BrokenPipe));
        terminal.note("nobody hears this");
    }

    #[test]
    fn a_name_commands_no_terminal() {
        let (terminal, results, notes) = capture::terminal(Format::Text);
        let name = "A\u{1b}]52;c;eA==\u{7}B\u{9b}2J\r\n\tC";
        let shown = "A\u{fffd}]52;c;eA==\u{fffd}B\u{fffd}2J\u{fffd}\n\tC";
        terminal.line(name).expect("written");
        terminal.note(name);
        terminal.prompt(name);
        assert_eq!(results.text(), format!("{shown}\n"));
        assert_eq!(notes.text(), format!("{shown}\n{shown}"));
        terminal.draw("\u{1b}[2K");
        assert!(notes.text().ends_with("\u{1b}[2K"));
    }

    #[test]
    fn results_and_notes_do_not_mix() {
        let (terminal, results, notes) = capture::terminal(Format::Json);
        terminal.json(&[1]).expect("written");
        terminal.note("hello");
        assert_eq!(
            (results.text().as_str(), notes.text().as_str()),
            ("[1]\n", "hello\n")
        );
    }
}
