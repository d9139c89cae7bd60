//! `procore-auth status --watch`: the status again and again. On a terminal it is drawn in place, as JSON it is a document a line.
//!
//! The connections are opened once. A look reads the store and sends nothing; it takes no lock, so that nobody waits for it.

use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};

use textwrap::core::display_width;

use super::display::{self, Display};
use super::summary::{summary, worst_first};
use super::suspension::Suspension;
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
        let mut suspension = Suspension::listen();
        let screen = Screen::new(&context.terminal)?;
        loop {
            let all = connections.look().await;
            screen.draw(all, &Undelivered::look(&context.opened))?;
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = suspension.requested() => {
                    screen.leave()?;
                    Suspension::take_place();
                    screen.enter()?;
                }
            }
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
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&self) -> Result<(), Failure> {
        self.write(|out| queue!(out, Hide, Clear(ClearType::All)))
    }

    fn leave(&self) -> Result<(), Failure> {
        self.write(|out| queue!(out, Show))
    }

    /// Draws over what was drawn before, line by line, so that nothing flickers.
    fn draw(&self, all: Vec<Known>, alerts: &Undelivered) -> Result<(), Failure> {
        let lines = screenful(all, alerts, Display::of_stdout(), time::now());
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
        let _ = self.leave();
    }
}

/// Renders what the terminal has room for. Where that is not all, it begins with a summary, and the worst come first.
fn screenful(mut all: Vec<Known>, alerts: &Undelivered, display: Display, now: u64) -> String {
    let head = format!("{}  Ctrl-C ends\n\n", time::rfc3339(now));
    let whole = head.clone() + &text(&all, alerts, display, now);
    if fits(&whole, display) {
        return whole;
    }
    worst_first(&mut all);
    let summary = summary(&all, alerts, display);
    cut(
        &(summary + &head + &text(&all, alerts, display, now)),
        display,
    )
}

fn fits(text: &str, display: Display) -> bool {
    let Some((columns, rows)) = display.size else {
        return true;
    };
    let taken: usize = text.lines().map(|line| height(line, columns)).sum();
    taken <= room(rows)
}

/// The last row is where the cursor stands.
fn room(rows: u16) -> usize {
    usize::from(rows).saturating_sub(1)
}

/// Returns how many rows a line takes: the terminal breaks one that is too long, such as a link.
fn height(line: &str, columns: u16) -> usize {
    display_width(line).div_ceil(columns.into()).max(1)
}

/// Cuts off what the terminal has no rows for: it would scroll, and the top would be lost.
fn cut(text: &str, display: Display) -> String {
    let Some((columns, rows)) = display.size.filter(|_| !fits(text, display)) else {
        return text.to_owned();
    };
    let mut left = room(rows).saturating_sub(1);
    let shown = text.lines().take_while(|line| {
        let height = height(line, columns);
        let has_room = height <= left;
        left = left.saturating_sub(height);
        has_room
    });
    let shown: Vec<&str> = shown.collect();
    let hidden = text.lines().count() - shown.len();
    let shown: String = shown.iter().map(|line| format!("{line}\n")).collect();
    format!("{shown}({hidden} more lines)\n")
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
    use super::super::samples::{MINUTE, healthy, in_trouble, known};
    use super::{Display, Undelivered, cut, screenful};

    fn display(columns: u16, rows: u16) -> Display {
        Display {
            size: Some((columns, rows)),
            ..Display::PLAIN
        }
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let display = display(80, 4);
        assert_eq!(cut("1\n2\n3\n", display), "1\n2\n3\n");
        assert_eq!(cut("1\n2\n3\n4\n5\n", display), "1\n2\n(3 more lines)\n");
        assert_eq!(cut("1\n2\n", Display::PLAIN), "1\n2\n");
    }

    #[test]
    fn a_line_that_the_terminal_breaks_takes_several_rows() {
        let long = "x".repeat(21);
        let text = format!("1\n{long}\n3\n");
        // It takes three, and there are four and the cursor's.
        assert_eq!(cut(&text, display(10, 5)), "1\n(2 more lines)\n");
        assert_eq!(cut(&text, display(10, 6)), text);
    }

    #[test]
    fn the_one_in_trouble_shows_where_not_all_have_room() {
        let all = || {
            let well = (0..30).map(|number| known(&format!("well{number}"), Ok(healthy())));
            let last = known("zulu", Ok(in_trouble()));
            well.chain([last]).collect::<Vec<_>>()
        };
        for size in [(20, 5), (80, 24), (120, 10)] {
            let shown = screenful(
                all(),
                &Undelivered::none(),
                display(size.0, size.1),
                42 * MINUTE,
            );
            assert!(shown.contains("1 sign-in required:"), "{size:?}\n{shown}");
            assert!(shown.contains("zulu"), "{size:?}\n{shown}");
            assert!(shown.contains("30 healthy"), "{size:?}\n{shown}");
            assert!(shown.contains(" more lines)"), "{size:?}\n{shown}");
        }
        let whole = screenful(all(), &Undelivered::none(), display(200, 100), 42 * MINUTE);
        let place = |name: &str| whole.find(name).expect("shown");
        assert!(place("well0") < place("zulu"), "in their order\n{whole}");
    }
}
