//! Why nobody was signed in, where that is not Procore's doing.

use crate::cli::exit::Exit;
use crate::cli::failure::{Explained, Failure};
use crate::cli::open::Open;

pub(super) fn nothing_to_begin(open: &Open) -> Failure {
    Explained::new(
        Exit::Refused,
        "nothing-to-begin",
        format!(
            "{} is a service account: nobody signs in, so there is nothing to begin.",
            open.name
        ),
        format!(
            "Run `procore-auth login --connection {}` without --begin, or ask for a token directly: `procore-auth token`.",
            open.name
        ),
    )
    .into()
}

pub(super) fn unattended() -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "no-terminal",
        "Signing in needs a person, and there is no terminal.",
        "Run `procore-auth login` in a terminal. Without one: `--begin` prints the link and `--finish` takes the answer, \
         `--code-from -` reads the answer from a pipe, `--no-browser` waits for the callback.",
    )
    .into()
}

pub(super) fn timed_out() -> Failure {
    Explained::new(
        Exit::SignInRequired,
        "login-timeout",
        "Nobody signed in in time.",
        "Run `procore-auth login` again: the old link does not work any more.",
    )
    .into()
}

pub(super) fn no_answer() -> Failure {
    Explained::new(
        Exit::Refused,
        "no-answer",
        "The input ended without an answer.",
        "Give the address that the browser ended on, or the code that Procore showed, on a line of its own.",
    )
    .into()
}

pub(super) fn interrupted() -> Failure {
    Explained::new(
        Exit::Interrupted,
        "interrupted",
        "Stopped before anybody signed in.",
        "Run `procore-auth login` again.",
    )
    .into()
}
