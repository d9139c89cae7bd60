//! A line that a person types, with the keys that shells have: Ctrl-U clears it, Ctrl-W takes a word back, Ctrl-A and Ctrl-E go to its
//! ends. What is pasted comes in as text: a key that commands something types nothing.
//!
//! The line stays on one row, whatever its length: the part with the cursor is shown.

use std::io::{self, Write as _};

use crossterm::cursor::MoveToColumn;
use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, KeyCode, KeyEvent, KeyEventKind,
    KeyModifiers,
};
use crossterm::style::{Print, Stylize as _};
use crossterm::terminal::{Clear, ClearType, disable_raw_mode, enable_raw_mode};
use crossterm::{event, execute, terminal};
use inquire::InquireError;
use inquire::error::InquireResult;
use textwrap::core::display_width;
use tui_input::backend::crossterm::EventHandler as _;
use tui_input::{Input, InputRequest};

/// The columns that are typed in at the least, be the terminal narrower.
const LEAST_ROOM: usize = 10;

/// What is asked for.
pub(super) struct Line {
    pub(super) what: String,
    /// What Enter alone answers.
    pub(super) default: Option<String>,
    /// Whether nothing of it is shown.
    pub(super) is_hidden: bool,
}

/// What a key or something pasted came to.
enum Pressed {
    Edited,
    Enter,
    Stop,
}

/// A terminal that hands over each key as it is pressed.
struct Raw;

impl Line {
    /// Reads a line that `check` accepts; its refusal is shown, and the line stays. Blanks around it are cut off. Blocks the thread.
    pub(super) fn read(&self, check: impl Fn(&str) -> Result<(), String>) -> InquireResult<String> {
        let _raw = Raw::enter()?;
        let mut input = Input::default();
        loop {
            self.draw(&input)?;
            match pressed(&mut input, &event::read()?) {
                Pressed::Edited => {}
                Pressed::Stop => {
                    self.leave("")?;
                    return Err(InquireError::OperationInterrupted);
                }
                Pressed::Enter => {
                    let answer = self.answer(&input);
                    match check(&answer) {
                        Ok(()) => {
                            self.leave(if self.is_hidden { "****" } else { &answer })?;
                            return Ok(answer);
                        }
                        Err(refusal) => above(&format!("# {refusal}"))?,
                    }
                }
            }
        }
    }

    fn answer(&self, input: &Input) -> String {
        match (input.value().trim(), &self.default) {
            ("", Some(default)) => default.clone(),
            (typed, _) => typed.to_owned(),
        }
    }

    fn draw(&self, input: &Input) -> io::Result<()> {
        let hint = match &self.default {
            Some(default) if !self.is_hidden && input.value().is_empty() => format!(" ({default})"),
            _ => String::new(),
        };
        let before = format!("? {}:{hint} ", self.what);
        let room = columns().saturating_sub(display_width(&before) + 1);
        let (text, column) = match self.is_hidden {
            true => (String::new(), 0),
            false => visible(input, room.max(LEAST_ROOM)),
        };
        let column = display_width(&before) + column;
        execute!(
            io::stderr(),
            MoveToColumn(0),
            Clear(ClearType::CurrentLine),
            Print("?".green()),
            Print(&before[1..]),
            Print(text),
            MoveToColumn(u16::try_from(column).unwrap_or(u16::MAX))
        )
    }

    /// Leaves the answer on the screen.
    fn leave(&self, answer: &str) -> io::Result<()> {
        above(&format!("{} {}: {answer}", ">".green(), self.what))
    }
}

/// As wide as the terminal; some say that they have no columns.
fn columns() -> usize {
    let size = terminal::size().ok().map(|(columns, _)| columns);
    size.filter(|columns| *columns > 0).map_or(80, usize::from)
}

/// Prints a line in place of the one with the question.
fn above(line: &str) -> io::Result<()> {
    let mut screen = io::stderr();
    execute!(screen, MoveToColumn(0), Clear(ClearType::CurrentLine))?;
    write!(screen, "{line}\r\n")?;
    screen.flush()
}

fn pressed(input: &mut Input, event: &Event) -> Pressed {
    match event {
        Event::Paste(text) => {
            for letter in text.chars().filter(|letter| !letter.is_control()) {
                input.handle(InputRequest::InsertChar(letter));
            }
        }
        Event::Key(key) if key.kind != KeyEventKind::Release => match *key {
            KeyEvent {
                code: KeyCode::Enter,
                ..
            } => return Pressed::Enter,
            KeyEvent {
                code: KeyCode::Esc, ..
            } => return Pressed::Stop,
            KeyEvent {
                code: KeyCode::Char(letter),
                modifiers: KeyModifiers::CONTROL,
                ..
            } if matches!(letter, 'c' | 'j') || letter == 'd' && input.value().is_empty() => {
                return match letter {
                    'j' => Pressed::Enter,
                    _ => Pressed::Stop,
                };
            }
            _ => {
                input.handle_event(event);
            }
        },
        _ => {}
    }
    Pressed::Edited
}

/// Returns what of the text fits, with the cursor in it, and the column of the cursor there.
fn visible(input: &Input, room: usize) -> (String, usize) {
    let scrolled = input.visual_scroll(room);
    let (mut text, mut column) = (String::new(), 0);
    for letter in input.value().chars() {
        let width = display_width(letter.encode_utf8(&mut [0; 4]));
        if column >= scrolled && column + width <= scrolled + room {
            text.push(letter);
        }
        column += width;
    }
    (text, input.visual_cursor().saturating_sub(scrolled))
}

impl Raw {
    fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        let raw = Self;
        execute!(io::stderr(), EnableBracketedPaste)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Leaves the terminal as it was. Where it is gone, nothing is left to restore.
pub(super) fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stderr(), DisableBracketedPaste);
}

#[cfg(test)]
mod tests {
    use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

    use super::{Input, Pressed, pressed, visible};

    fn key(letter: char, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(letter), modifiers))
    }

    #[test]
    fn no_key_that_commands_types_its_letter() {
        for letter in 'a'..='z' {
            for modifiers in [KeyModifiers::CONTROL, KeyModifiers::ALT] {
                let mut input = Input::default();
                pressed(&mut input, &key(letter, modifiers));
                assert_eq!(input.value(), "", "{modifiers:?} {letter}");
            }
        }
        let mut input = Input::default();
        pressed(&mut input, &key('u', KeyModifiers::NONE));
        pressed(&mut input, &key('U', KeyModifiers::SHIFT));
        assert_eq!(input.value(), "uU");
    }

    #[test]
    fn the_line_is_cleared_and_a_word_taken_back() {
        let mut input = Input::from("http://a b");
        pressed(&mut input, &key('w', KeyModifiers::CONTROL));
        assert_eq!(input.value(), "http://a ");
        pressed(&mut input, &key('u', KeyModifiers::CONTROL));
        assert_eq!(input.value(), "");
    }

    #[test]
    fn what_is_pasted_is_text() {
        let mut input = Input::default();
        pressed(&mut input, &Event::Paste("a\u{15}b\r\n".to_owned()));
        assert_eq!(input.value(), "ab");
    }

    #[test]
    fn enter_answers_and_ctrl_c_stops() {
        let mut input = Input::from("a");
        let enter = Event::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE));
        assert!(matches!(pressed(&mut input, &enter), Pressed::Enter));
        let stop = key('c', KeyModifiers::CONTROL);
        assert!(matches!(pressed(&mut input, &stop), Pressed::Stop));
    }

    #[test]
    fn of_a_long_line_the_part_with_the_cursor_is_shown() {
        let input = Input::from("0123456789");
        assert_eq!(visible(&input, 20), ("0123456789".to_owned(), 10));
        let (text, column) = visible(&input, 4);
        assert!(
            "0123456789".ends_with(&text) && column <= 4,
            "{text:?} {column}"
        );
    }
}
