//! How long a sign-in may still take: told each second on a terminal, and otherwise when it is worth telling again.
//!
//! On a terminal the time stands in the last row, and all else scrolls above it, as a package manager's progress bar does. So it
//! is never drawn where the person types, however long what they paste is. A process that is killed leaves the row behind;
//! `reset` clears it.

use std::env;
use std::time::Duration;

use crate::cli::terminal::{Terminal, is_attended};

/// A smaller terminal has no row to spare.
const FEWEST_ROWS: u16 = 8;

/// Tells how long is left. Dropped, it gives the row back.
pub(super) struct Countdown<'a> {
    terminal: &'a Terminal,
    /// How many rows the terminal has; `None` where there is no row to draw in.
    rows: Option<u16>,
}

impl<'a> Countdown<'a> {
    /// Takes the terminal's last row where somebody sits before it. Call it where a line begins.
    pub(super) fn begin(terminal: &'a Terminal) -> Self {
        let drawn = is_attended() && !terminal.is_json() && understands_escapes();
        let rows = rows().filter(|_| drawn);
        if let Some(rows) = rows {
            // The line feed makes room where the cursor is in the last row already.
            terminal.draw(format_args!("\n{}\x1b[1A", region(rows)));
        }
        Self { terminal, rows }
    }

    /// Returns how long to wait until it is to be told again.
    pub(super) fn until_next(&self, left: Duration) -> Duration {
        if self.rows.is_some() {
            Duration::from_secs(1).min(left)
        } else {
            to_next_mark(left)
        }
    }

    /// Tells how long is left.
    pub(super) fn tell(&mut self, left: Duration) {
        let Some(known) = self.rows else {
            let left = crate::cli::time::rough(left);
            return self.terminal.note(format_args!("\n{left} left."));
        };
        let rows = rows().unwrap_or(known);
        if rows != known {
            self.terminal.draw(region(rows));
            self.rows = Some(rows);
        }
        self.terminal.draw(in_row(
            rows,
            &format!("\x1b[2m{} left to sign in\x1b[0m", exact(left)),
        ));
    }
}

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        if let Some(rows) = self.rows {
            self.terminal
                .draw(format_args!("{}\x1b7\x1b[r\x1b8", in_row(rows, "")));
        }
    }
}

/// Scrolls all but the last row. The cursor stays: setting the region moves it, so it is saved before and restored after.
fn region(rows: u16) -> String {
    format!("\x1b7\x1b[1;{}r\x1b8", rows - 1)
}

/// Writes into a row, and puts the cursor back.
fn in_row(row: u16, text: &str) -> String {
    format!("\x1b7\x1b[{row};1H\x1b[2K{text}\x1b8")
}

fn rows() -> Option<u16> {
    let (_, rows) = crossterm::terminal::size().ok()?;
    (rows >= FEWEST_ROWS).then_some(rows)
}

fn understands_escapes() -> bool {
    cfg!(unix)
        && env::var_os("TERM").is_some_and(|terminal| !terminal.is_empty() && terminal != "dumb")
}

/// Returns how long until the time left is worth telling again: at 5 minutes, at 1, and at the end.
fn to_next_mark(left: Duration) -> Duration {
    [300, 60, 0]
        .map(Duration::from_secs)
        .into_iter()
        .find(|mark| *mark < left)
        .map_or(left, |mark| left - mark)
}

/// Writes a span to the second: `9 min 42 s`.
fn exact(span: Duration) -> String {
    match (span.as_secs() / 60, span.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds:02} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{exact, to_next_mark};

    #[test]
    fn the_time_left_is_told_at_five_minutes_and_at_one() {
        for (left, mark) in [(600, 300), (300, 240), (61, 1), (60, 60), (10, 10)] {
            assert_eq!(
                to_next_mark(Duration::from_secs(left)),
                Duration::from_secs(mark),
                "{left}"
            );
        }
    }

    #[test]
    fn the_time_left_is_written_to_the_second() {
        for (left, text) in [
            (582, "9 min 42 s"),
            (61, "1 min 01 s"),
            (60, "1 min 00 s"),
            (59, "59 s"),
        ] {
            assert_eq!(exact(Duration::from_secs(left)), text);
        }
    }
}
