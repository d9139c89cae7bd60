//! `procore-auth status --watch`: the status again and again. On a terminal it is drawn in place, as JSON it is a document a line.
//!
//! The connections are opened once. A look reads the store and sends nothing; it takes no lock, so that nobody waits for it.

use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};

use super::display::{self, Display};
use super::{Connections, Known, Undelivered, print, text};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::terminal::Terminal;
use crate::cli::time;

/// Tells the status every so often, until told to stop.
pub(super) async fn run(context: &Context<'_>, every: Duration) -> Result<Exit, Failure> {
    if !context.terminal.is_json() && !display::is_terminal() {
        return Err(no_terminal());
    }
    let connections = Connections::open(context).await?;
    let shown = async {
        if context.terminal.is_json() {
            loop {
                print(context, &connections.look().await)?;
                tokio::time::sleep(every).await;
            }
        }
        let screen = Screen::new(&context.terminal)?;
        loop {
            let all = connections.look().await;
            screen.draw(&all, &Undelivered::look(&context.opened))?;
            tokio::time::sleep(every).await;
        }
    };
    tokio::select! {
        () = context.shutdown.requested() => Ok(Exit::Done),
        ended = shown => ended,
    }
}

/// A terminal that is drawn on. Shows the cursor again when it goes.
struct Screen<'a>(&'a Terminal);

impl<'a> Screen<'a> {
    fn new(terminal: &'a Terminal) -> Result<Self, Failure> {
        let screen = Self(terminal);
        screen.write(|out| queue!(out, Hide, Clear(ClearType::All)))?;
        Ok(screen)
    }

    /// Draws over what was drawn before, line by line, so that nothing flickers.
    fn draw(&self, all: &[Known], alerts: &Undelivered) -> Result<(), Failure> {
        let display = Display::of_stdout();
        let now = time::now();
        let head = format!("{}  Ctrl-C ends\n\n", time::rfc3339(now));
        let lines = cut(head + &text(all, alerts, display, now), display);
        self.write(|out| {
            queue!(out, MoveTo(0, 0))?;
            for line in lines.lines() {
                out.extend_from_slice(line.as_bytes());
                queue!(out, Clear(ClearType::UntilNewLine))?;
                out.extend_from_slice(b"\r\n");
            }
            queue!(out, Clear(ClearType::FromCursorDown))
        })
    }

    fn write(&self, fill: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = fill(&mut bytes);
        self.0.bytes(&bytes)
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // A terminal that is gone has no cursor.
        let _ = self.write(|out| queue!(out, Show));
    }
}

/// Cuts off what the terminal has no rows for: it would scroll, and the top would be lost.
fn cut(text: String, display: Display) -> String {
    let Some((_, rows)) = display.size else {
        return text;
    };
    let rows = usize::from(rows).saturating_sub(1);
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= rows {
        return text;
    }
    let shown = rows.saturating_sub(1);
    let hidden = lines.len() - shown;
    format!("{}\n({hidden} more lines)\n", lines[..shown].join("\n"))
}

fn no_terminal() -> Failure {
    Explained::new(
        Exit::Refused,
        "no-terminal",
        "There is no terminal to draw on.",
        "Run `status --watch` on a terminal, or add `--json` for one document a line.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::{Display, cut};

    #[test]
    fn what_has_no_room_is_counted() {
        let display = Display {
            size: Some((80, 4)),
            ..Display::PLAIN
        };
        assert_eq!(cut("1\n2\n3\n".to_owned(), display), "1\n2\n3\n");
        assert_eq!(
            cut("1\n2\n3\n4\n5\n".to_owned(), display),
            "1\n2\n(3 more lines)\n"
        );
        assert_eq!(cut("1\n2\n".to_owned(), Display::PLAIN), "1\n2\n");
    }
}
