//! Asks a person, where one sits there: each question with a word on what it is for, and never without a terminal.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crossterm::cursor::Show;
use inquire::error::InquireResult;
use inquire::{InquireError, Select};
use procore_auth_host::Secret;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::failure::{Explained, Failure};
use super::super::terminal::is_attended;
use super::line::{self, Line};

/// Who asks, and how often.
pub(super) struct Asker<'a> {
    context: &'a Context<'a>,
    is_attended: bool,
    asked: AtomicU32,
}

/// A question, and the flag that answers it.
pub(super) struct Question<'a> {
    /// What is asked for, in a word or two.
    pub(super) what: &'a str,
    /// One or two lines of plain words.
    pub(super) help: &'a str,
    /// Such as `--environment NAME`.
    pub(super) flag: &'a str,
}

/// One answer of several, as it is shown.
#[derive(Clone)]
pub(super) struct Choice<T> {
    pub(super) value: T,
    pub(super) label: String,
}

impl<T> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl<'a> Asker<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            is_attended: is_attended(),
            asked: AtomicU32::new(0),
        }
    }

    /// Returns how many questions were asked.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether somebody sits there.
    pub(super) fn is_attended(&self) -> bool {
        self.is_attended
    }

    /// Explains a question, and counts it. Without a terminal, the refusal names the flag.
    pub(super) fn begin(&self, question: &Question<'_>) -> Result<(), Failure> {
        if !self.is_attended {
            return Err(missing(question));
        }
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let help = textwrap::fill(question.help, Self::paragraph());
        self.context
            .terminal
            .note(format_args!("\n{number}. {}\n{help}", question.what));
        Ok(())
    }

    /// As wide as the terminal, up to what is read well.
    fn paragraph() -> textwrap::Options<'static> {
        const WIDEST: u16 = 100;
        let columns = crossterm::terminal::size().map_or(80, |(columns, _)| columns);
        textwrap::Options::new(usize::from(columns.clamp(20, WIDEST)))
            .initial_indent("   ")
            .subsequent_indent("   ")
    }

    /// Asks for one of several.
    pub(super) async fn choose<T: Clone + Send + 'static>(
        &self,
        question: &Question<'_>,
        choices: Vec<Choice<T>>,
        first: usize,
    ) -> Result<T, Failure> {
        self.begin(question)?;
        let message = format!("{}:", question.what);
        self.prompt(move || {
            Select::new(&message, choices)
                .with_starting_cursor(first)
                .with_help_message("arrow keys move, Enter takes")
                .prompt()
                .map(|choice| choice.value)
        })
        .await
    }

    /// Asks for a line that `check` accepts; its refusal is shown, and the question stays. Blanks around the answer are cut off.
    pub(super) async fn line(
        &self,
        question: &Question<'_>,
        default: Option<String>,
        check: impl Fn(&str) -> Result<(), String> + Clone + Send + 'static,
    ) -> Result<String, Failure> {
        self.begin(question)?;
        let line = Line {
            what: question.what.to_owned(),
            default,
            is_hidden: false,
        };
        self.prompt(move || line.read(check)).await
    }

    /// Asks for a secret, which is not shown. Enter alone answers with the one there is.
    pub(super) async fn secret(
        &self,
        question: &Question<'_>,
        default: Option<&Secret>,
    ) -> Result<Secret, Failure> {
        self.begin(question)?;
        let line = Line {
            what: question.what.to_owned(),
            default: default.map(|secret| secret.expose().to_owned()),
            is_hidden: true,
        };
        let check = |answer: &str| match answer {
            "" => Err("paste the client secret".to_owned()),
            _ => Ok(()),
        };
        self.prompt(move || line.read(check)).await.map(Secret::new)
    }

    /// Blocks a thread of its own. SIGTERM ends the wait, and leaves the terminal as it was.
    async fn prompt<T: Send + 'static>(
        &self,
        prompt: impl FnOnce() -> InquireResult<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let answered = tokio::task::spawn_blocking(prompt);
        tokio::select! {
            answer = answered => match answer {
                Ok(answer) => answer.map_err(|error| unanswered(&error)),
                Err(error) => Err(unanswered(&InquireError::IO(io::Error::other(error)))),
            },
            () = self.context.shutdown.requested() => {
                line::restore();
                // Where the terminal is gone, nothing is left to restore.
                let _ = crossterm::execute!(io::stderr(), Show);
                Err(stopped())
            }
        }
    }
}

fn unanswered(error: &InquireError) -> Failure {
    match error {
        InquireError::OperationCanceled | InquireError::OperationInterrupted => stopped(),
        error => Explained::new(
            Exit::Refused,
            "no-terminal",
            format!("The terminal cannot be asked: {error}."),
            "Answer by flags: `procore-auth init --help` lists them.",
        )
        .into(),
    }
}

/// Nothing was written yet: all questions but the last come first.
fn stopped() -> Failure {
    Explained::new(
        Exit::Interrupted,
        "interrupted",
        "Stopped before anything was written.",
        "Run `procore-auth init` again.",
    )
    .into()
}

fn missing(question: &Question<'_>) -> Failure {
    Explained::new(
        Exit::Refused,
        "init-incomplete",
        format!(
            "{} is not known, and there is no terminal to ask on.",
            question.what
        ),
        format!(
            "Give {}, or run `procore-auth init` in a terminal.",
            question.flag
        ),
    )
    .because(question.help)
    .into()
}
