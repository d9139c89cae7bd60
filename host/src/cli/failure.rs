//! Why a verb did not do as asked: always with a cause and a cure.

use std::io;

use super::exit::Exit;

/// Why a verb ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that a person or a program is to be told.
    Explained(Box<Explained>),
    /// The reader of our output went away: nobody is left to be told.
    BrokenPipe,
}

/// A failure with its explanation. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// The exit code that stands for it.
    pub(crate) exit: Exit,
    /// The machine code: stable, open set.
    pub(crate) code: String,
    /// What happened.
    pub(crate) summary: String,
    /// Why, most likely; empty where the summary says it.
    pub(crate) cause: String,
    /// What to do about it.
    pub(crate) remedy: String,
    /// The facts that it rests on.
    pub(crate) evidence: Vec<String>,
    /// The offending line of a file with a caret, ready to print.
    pub(crate) excerpt: Option<String>,
    /// The earliest moment, in Unix milliseconds, at which the same can go better.
    pub(crate) retry_at: Option<u64>,
}

impl Explained {
    /// Explains what happened and what to do about it.
    pub(crate) fn new(
        exit: Exit,
        code: &str,
        summary: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            summary: summary.into(),
            cause: String::new(),
            remedy: remedy.into(),
            evidence: Vec::new(),
            excerpt: None,
            retry_at: None,
        }
    }

    /// Adds why it happened.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    /// Adds a fact.
    pub(crate) fn seen(mut self, fact: impl Into<String>) -> Self {
        self.evidence.push(fact.into());
        self
    }
}

impl Failure {
    /// Explains a file that could not be read or written.
    pub(crate) fn file(action: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Explained::new(
            Exit::Refused,
            "file",
            format!("Cannot {action} {}: {error}.", path.display()),
            "Check the path and the permissions of the file and its folder.",
        )
        .into()
    }

    /// Returns the explanation, for a report on several connections.
    pub(crate) fn explained(self) -> Box<Explained> {
        match self {
            Self::Explained(explained) => explained,
            Self::BrokenPipe => Box::new(Explained::new(
                Exit::Done,
                "output-closed",
                "The reader of the output went away.",
                "",
            )),
        }
    }

    /// Returns the exit code that stands for it. A broken pipe is no failure of ours: `procore-auth status | head -1` is fine.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Explained(explained) => explained.exit,
            Self::BrokenPipe => Exit::Done,
        }
    }
}

impl From<Explained> for Failure {
    fn from(explained: Explained) -> Self {
        Self::Explained(Box::new(explained))
    }
}
